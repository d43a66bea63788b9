-- Contract 7 and 8: what each of Ring's errors becomes, and in which order its calls are allowed.

local cjson = require "cjson"
local world = require "support.world"

local w

describe("lifecycle #network", function()
  local client, clock

  setup(function() w = world.start() end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    client, clock = w:quick_client()
  end)

  local function link_meets(fault)
    w:fault(fault)
    local account, install = w:unclaimed(client)
    local link, err = client:link(w.redirect_of(install))
    assert.is_nil(link)
    return err, account, install
  end

  -- The POST's refusals -------------------------------------------------------------------------

  it("Invalid Nonce: the claim is given back", function()
    local err, account = link_meets { call = "confirm", status = 400, title = "Invalid Nonce" }
    assert.equal("invalid_nonce", err.code)
    assert.equal("confirm", err.stage)
    assert.equal(400, err.status)
    assert.equal("Invalid Nonce", err.title)
    assert.is_nil(err.ambiguous)
    assert.is_false(err.retryable)
    assert.equal("unclaimed", account:state())
    assert.is_nil(account:info().user)
    assert.equal(1, w:count("confirm"))
  end)

  it("tells after every definite refusal of the POST that the nonce is spent", function()
    for _, status in ipairs { 400, 403, 409 } do
      local err = link_meets { call = "confirm", status = status }
      assert.truthy(err.message:find(("(HTTP %d, "):format(status), 1, true), err.message)
      assert.truthy(err.message:find(": the nonce is spent: let the user tap Sign In in the Ring app again", 1, true))
    end
  end)

  it("Invalid Nonce, as Ring itself says it of a nonce it never gave", function()
    local account = w:unclaimed(client)
    local time = ("%d"):format(clock.now_ms())
    local nonce = require("ringlink").nonce(world.hmac_key, time, account.id)
    local _, err = client:link { nonce = nonce, time = time, user = "user-1" }
    assert.equal("invalid_nonce", err.code)
    assert.equal("unclaimed", account:state())
  end)

  it("Missing Required Fields: the claim is given back", function()
    local err, account = link_meets { call = "confirm", status = 400, title = "Missing Required Fields" }
    assert.equal("invalid_request", err.code)
    assert.equal("confirm", err.stage)
    assert.equal("Missing Required Fields", err.title)
    assert.equal("unclaimed", account:state())
  end)

  it("Not Found: no integration for this token, the grant has failed", function()
    local err, account, install = link_meets { call = "confirm", status = 404 }
    assert.equal("not_found", err.code)
    assert.equal(404, err.status)
    assert.equal("Not Found", err.title)
    assert.equal("failed", account:state())
    local before = #w:journal()
    assert.equal("not_found", select(2, client:link(w.redirect_of(install))).code)
    assert.equal("not_found", select(2, account:get("/v1/devices")).code)
    assert.equal(before, #w:journal())
  end)

  it("Not Found, as Ring itself says it of a removed integration", function()
    local account, install = w:unclaimed(client)
    assert(w.ring:control("unlink", { account = account.id, keep_tokens = true }))
    local _, err = client:link(w.redirect_of(install))
    assert.equal("not_found", err.code)
    assert.equal("failed", account:state())
  end)

  it("Out of Scope Access on the POST: a refusal like others", function()
    local err, account = link_meets { call = "confirm", status = 403 }
    assert.equal("forbidden", err.code)
    assert.equal("Out of Scope Access", err.title)
    assert.equal("unclaimed", account:state())
  end)

  -- The PATCH's refusals ------------------------------------------------------------------------

  it("Invalid Status Transition: awaiting stays, and link goes on from there", function()
    local err, account, install = link_meets { call = "complete", status = 400, title = "Invalid Status Transition" }
    assert.equal("invalid_transition", err.code)
    assert.equal("complete", err.stage)
    assert.equal(400, err.status)
    assert.is_nil(err.ambiguous)
    assert.equal("awaiting", account:state())
    assert.equal("completed", assert(client:link(w.redirect_of(install))).status)
    assert.equal(1, w:count("confirm"))
  end)

  it("Missing Required Fields on the PATCH: awaiting stays", function()
    local err, account = link_meets { call = "complete", status = 400, title = "Missing Required Fields" }
    assert.equal("invalid_request", err.code)
    assert.equal("complete", err.stage)
    assert.equal("awaiting", account:state())
    assert.equal("completed", assert(client:complete(account)).status)
  end)

  it("Not Found on the PATCH: the grant has failed", function()
    local err, account = link_meets { call = "complete", status = 404 }
    assert.equal("not_found", err.code)
    assert.equal("complete", err.stage)
    assert.equal("failed", account:state())
  end)

  it("does not repeat by itself what Ring refused", function()
    local _, account = link_meets { call = "complete", status = 403 }
    w:pass_time(clock, 3600000)
    assert(client:work())
    assert.equal("awaiting", account:state())
    assert.equal(1, w:count("complete"))
  end)

  -- The order of the calls ----------------------------------------------------------------------

  it("PATCH before POST is refused by Ring, and never sent by ringlink", function()
    local account, install = w:unclaimed(client)
    local answer, err = account:request { method = "PATCH", path = "/v1/accounts/me/app-integrations",
      json = { status = "completed" } }
    assert.is_nil(answer)
    assert.equal("invalid_transition", err.code)
    assert.equal("pending", w:status(account.id))
    for _, call in ipairs { "complete", "update" } do
      assert.equal("invalid_transition", select(2, client[call](client, account, { account_identifier = "x" })).code)
    end
    assert.equal(1, w:count("complete"))
    assert.equal(0, w:count("update"))
    assert.equal("completed", assert(client:link(w.redirect_of(install))).status)
  end)

  it("a PATCH that Ring accepts before the POST gives no devices (awaiting at the redirect)", function()
    assert(w.ring:control("variant", { awaiting = "redirect" }))
    local account = w:unclaimed(client)
    w:sign_in_again(account.id)
    assert(account:request { method = "PATCH", path = "/v1/accounts/me/app-integrations",
      json = { status = "completed" } })
    local _, err = account:get("/v1/devices")
    assert.equal("forbidden", err.code)
    assert.equal("unclaimed", account:state())
  end)

  it("devices are closed before the POST, open while awaiting", function()
    local account, install = w:unclaimed(client)
    assert.equal("Out of Scope Access", select(2, account:get("/v1/devices")).title)
    local claim = assert(client:match { nonce = install.nonce, time = install.time })
    assert(client:confirm(claim, { user = "user-1" }))
    assert.is_table(account:get("/v1/devices"))
    assert.equal("awaiting", w:status(account.id))
  end)

  it("sends the POST the nonce as received, and the PATCH the status alone", function()
    local _, install = w:unclaimed(client)
    assert(client:link(w.redirect_of(install)))
    local post, patch = w:journal("confirm")[1], w:journal("complete")[1]
    assert.equal("POST", post.method)
    assert.equal("PATCH", patch.method)
    assert.equal("/v1/accounts/me/app-integrations", post.path)
    assert.equal(post.path, patch.path)
    assert.is_string(post.nonce)
    assert.is_nil(patch.nonce)
  end)

  it("says what is missing when the link was removed, failed or must be made anew", function()
    local link = w:linked(client)
    assert(w.ring:control("unlink", { account = link.account.id }))
    local _, err = client:update(link.account, { status = "awaiting" })
    assert.equal("relink_required", err.code)
    assert.equal("relink", link.account:state())
    assert.equal("relink_required", select(2, client:complete(link.account)).code)
    assert.equal("relink_required", select(2, link.account:get("/v1/devices")).code)
  end)

  -- The access token on the way -----------------------------------------------------------------

  for _, call in ipairs { "confirm", "complete" } do
    it(("a 401 at %s: refresh once, then the call again"):format(call), function()
      w:fault { call = call, status = 401 }
      assert.equal("completed", w:linked(client).status)
      assert.equal(1, w:count("refresh"))
      assert.equal(2, w:count(call))
    end)

    it(("a 401 at %s that stays: unauthorized, and the link can be taken up"):format(call), function()
      local err, account, install = link_meets { call = call, status = 401, count = 2 }
      assert.equal("unauthorized", err.code)
      assert.equal(call, err.stage)
      assert.truthy(err.message:find("the same call may be repeated", 1, true), err.message)
      assert.equal(call == "confirm" and "confirming" or "awaiting", account:state())
      assert.equal("completed", assert(client:link(w.redirect_of(install))).status)
    end)

    it(("tokens revoked before %s: relink_required, whatever the step"):format(call), function()
      local account, install = w:unclaimed(client)
      local reached = call == "confirm" and "before_confirm" or "before_complete"
      client:on(reached, function() assert(w.ring:control("expire", { account = account.id, tokens = "both" })) end)
      local _, err = client:link(w.redirect_of(install))
      assert.equal("relink_required", err.code)
      assert.equal("refresh", err.stage)
      assert.is_nil(err.ambiguous)
      assert.is_false(err.retryable)
      assert.equal("relink", account:state())
    end)
  end

  -- What an error carries -----------------------------------------------------------------------

  it("carries Ring's id of the error, to be quoted", function()
    local err = link_meets { call = "confirm", status = 400, title = "Invalid Nonce" }
    assert.truthy(err.ring_id:match("^%x+%-%x+%-%x+%-%x+%-%x+$"))
    assert.equal(36, #err.ring_id)
  end)

  it("lets no token, code, nonce or secret into errors and logs", function()
    local account, install = w:unclaimed(client)
    local access = assert(account:access_token()):reveal()
    for _, secret in ipairs { install.nonce, install.code, access, world.client_secret, world.hmac_key } do
      w:fault { call = "confirm", status = 400, title = "Bad " .. secret, detail = "said " .. secret }
      local _, err = client:link(w.redirect_of(w:sign_in_again(account.id)))
      local seen = tostring(err) .. tostring(err.title)
      for _, line in ipairs(w.log) do
        seen = seen .. line.message .. cjson.encode(line.fields or {})
      end
      assert.is_nil(seen:find(secret, 1, true))
    end
  end)

  it("makes sense of errors that are not JSON, truncated, or of another shape", function()
    for _, fault in ipairs {
      { body = "html" }, { body = "empty" }, { body = "truncated" }, { body = "raw", raw = '{"errors":[]}' },
      { body = "raw", raw = '{"errors":"no"}' }, { body = "raw", raw = "null" }, { body = "raw", raw = '[1,2' },
      { body = "raw", raw = '{"errors":[{"title":7,"detail":{},"id":[]}]}' },
    } do
      fault.call, fault.status = "confirm", 400
      local err, account = link_meets(fault)
      assert.equal("ring_error", err.code)
      assert.equal(400, err.status)
      assert.is_nil(err.title)
      assert.is_false(err.retryable)
      assert.equal("unclaimed", account:state())
    end
  end)

  it("names the known calls' other errors by their status", function()
    local link = w:linked(client)
    for status, code in pairs { [400] = "ring_error", [403] = "forbidden", [404] = "not_found",
      [429] = "rate_limited", [500] = "ring_error", [503] = "ring_error" } do
      w:fault { call = "devices", status = status, count = 5 }
      local _, err = link.account:get("/v1/devices")
      assert.equal(code, err.code)
      assert.equal(status, err.status)
      assert.equal(status >= 429, err.retryable)
      local sent = status >= 429 and 5 or 1
      assert.equal(sent, err.attempts)
      for _ = 1, 5 - sent do link.account:get("/v1/devices") end
    end
  end)

  it("does not repeat when the device is unavailable", function()
    local link = w:linked(client)
    w:fault { call = "devices", status = 503, title = "Device Unavailable" }
    local _, err = link.account:get("/v1/devices")
    assert.equal("device_unavailable", err.code)
    assert.equal(1, w:count("devices"))
  end)

  it("answers unknown paths with forbidden", function()
    local link = w:linked(client)
    local _, err = link.account:get("/v1/nonsense")
    assert.equal("forbidden", err.code)
    assert.equal(403, err.status)
  end)

  it("refuses DELETE to a one-way app, as Ring does", function()
    local link = w:linked(client)
    local _, err = link.account:request { method = "DELETE", path = "/v1/accounts/me/app-integrations" }
    assert.equal("forbidden", err.code)
    assert.equal("completed", w:status(link.account.id))
  end)
end)
