--- What a partner's process tells of itself, a line for each thing it does, and where it dies.
--
--   watched.tell_pairs(client)           -- stored FINGERPRINT: a refresh token is durable
--   watched.tell_leases(client)          -- holds NAME, frees NAME; waits: another has the lease
--   watched.tell_losses(client)          -- reported CODE: a link is lost
--   watched.steps(client, 3, { "put_if" })    -- dies at the third step; 0: tells the steps; nil: neither
--
-- Each stands before the ones that came earlier: steps come last, so that what is done is told first.

local partner = require "support.partner"

local M = {}

--- A line on the output, at once.
function M.say(line)
  io.write(line, "\n")
  io.flush()
end

local function kind_of(lease)
  return lease:match("^%a+")
end

local function name_of(lease)
  return kind_of(lease) .. "/" .. lease:match("%x*$")
end

--- Tells each refresh token that the store has taken, by its fingerprint.
function M.tell_pairs(client)
  local put_if, told = client.store.put_if, {}
  client.store.put_if = function(self, key, row, ...)
    local written, problem = put_if(self, key, row, ...)
    local token = written and row.refresh and client.vault:open(key, "refresh", row.refresh)
    if token and not told[token] then
      told[token] = true
      M.say("stored " .. partner.fingerprint(token))
    end
    return written, problem
  end
end

--- Tells the leases it takes and gives back, and each time that it has to wait for one.
function M.tell_leases(client)
  local lease, release = client.store.lease, client.store.release
  client.store.lease = function(self, key, ...)
    local taken, remaining_ms = lease(self, key, ...)
    M.say(taken and "holds " .. name_of(key) or "waits")
    return taken, remaining_ms
  end
  client.store.release = function(self, key, ...)
    M.say("frees " .. name_of(key))
    return release(self, key, ...)
  end
end

--- Tells the links that are lost.
function M.tell_losses(client)
  local function tell(_, err) M.say("reported " .. err.code) end
  client:on("failed", tell)
  client:on("relink_required", tell)
end

local function stepper(last)
  local n = 0
  return function(name)
    n = n + 1
    if n == last then
      M.say(("killed at %d: %s"):format(n, name))
      os.execute("kill -9 $PPID")
    elseif last == 0 then
      M.say("step " .. name)
    end
  end
end

local OBJECTS = {
  put_if = function(key, row) return type(row) == "table" and row.state or key end,
  remember = function(kind) return kind end,
  lease = kind_of,
  release = kind_of,
}

local function around(store, name, step)
  local method = store[name]
  store[name] = function(self, ...)
    local what = OBJECTS[name](...)
    step(("before %s of %s"):format(name, what))
    local done, more = method(self, ...)
    step(("after %s of %s"):format(name, what))
    return done, more
  end
end

--- Counts the steps: before and after each call of these methods of the store, and in `configure`.
function M.steps(client, last, names)
  local step = stepper(last)
  for _, name in ipairs(names) do around(client.store, name, step) end
  client:on("configure", function() step("in configure") end)
end

return M
