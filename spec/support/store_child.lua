-- A process of its own with an SQLite store, for specs on several at once and on sudden ends.
-- store_child.lua MODE PATH NAME COUNT. Says a line for each thing it does.

local core = require "ringlink.core"
local stores = require "support.stores"

local mode, path, name, count = arg[1], arg[2], arg[3], tonumber(arg[4])
local store = stores.sqlite(path, { busy_ms = 60000 })

local function say(line)
  io.write(line, "\n")
  io.flush()
end

local modes = {}

-- Adds to one row that others add to as well, and puts rows of its own.
function modes.count()
  for i = 1, count do
    assert(store:put_if(name .. "/" .. i, { state = "unclaimed" }, 0))
    repeat
      local row, version = store:get("sum")
      row.n = row.n + 1
    until store:put_if("sum", row, version)
  end
  say("done")
end

-- Puts rows until it is killed; says each that is stored.
function modes.put()
  for i = 1, count do
    assert(store:put_if(("%s/%06d"):format(name, i), { state = "unclaimed", i = i }, 0))
    say("stored " .. i)
  end
end

-- Who gets the lease says so, and keeps it.
function modes.lease()
  local taken, remaining_ms = store:lease("l", name, count)
  say(taken and "taken" or "waits " .. remaining_ms)
  if taken then core.sleep_ms(60000) end
end

function modes.remember()
  say(store:remember("nonce", "n", core.now_ms() + count) and "new" or "known")
end

function modes.take()
  local got = {}
  repeat
    local events = store:event_take(name, 3)
    for _, event in ipairs(events) do
      got[#got + 1] = event.id
      store:event_done(event.id)
    end
  until #events == 0
  say("took " .. table.concat(got, " "))
end

-- Only tells how opening ended.
function modes.open()
  local ok, err = pcall(store.get, store, "k")
  say(ok and "opened" or tostring(err))
end

modes[mode]()
