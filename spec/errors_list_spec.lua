-- core.errors: the one list of codes, complete and documented.

local core = require "ringlink.core"

-- The codes that users rely on: the list may grow, names stay.
local PROMISED = [[invalid_request invalid_option invalid_nonce no_unclaimed_match link_expired link_in_future
  already_linked not_found vetoed configure_failed hook_failed confirm_outcome_unknown exchange_outcome_unknown
  refresh_outcome_unknown exchange_refused refresh_failed refresh_circuit_open relink_required unlinked
  invalid_transition unauthorized forbidden rate_limited device_unavailable ring_error bad_response
  response_too_large timeout connect dns tls network cancelled busy store_error store_busy
  store_belongs_elsewhere store_key store_corrupt signature event_too_old in_progress runtime_not_started
  foreign_coroutine not_here closed]]

local function by_code()
  local found = {}
  for _, entry in ipairs(core.errors) do
    assert.is_nil(found[entry.code])
    found[entry.code] = entry
  end
  return found
end

describe("errors", function()
  it("hold every promised code", function()
    local found = by_code()
    for code in PROMISED:gmatch("%S+") do assert.is_table(found[code], code) end
  end)

  it("describe each one", function()
    for _, entry in ipairs(core.errors) do
      for _, field in ipairs({ "code", "class", "meaning", "cause", "cure" }) do
        assert.is_string(entry[field])
        assert.is_true(#entry[field] > 0)
      end
      assert.is_truthy(entry.code:match("^[a-z_]+$"))
      assert.is_true(entry.class == "fatal" or entry.class == "retry")
    end
  end)

  it("know which are worth another try", function()
    local found = by_code()
    for _, code in ipairs({ "timeout", "connect", "dns", "network", "rate_limited", "busy" }) do
      assert.are.equal("retry", found[code].class)
    end
    for _, code in ipairs({ "invalid_request", "tls", "unlinked", "relink_required", "closed" }) do
      assert.are.equal("fatal", found[code].class)
    end
  end)
end)

describe("version", function()
  it("is three numbers", function()
    assert.is_truthy(core.version:match("^%d+%.%d+%.%d+$"))
  end)
end)
