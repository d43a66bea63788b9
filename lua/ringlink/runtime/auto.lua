--- The runtime that looks anew at every call where it was made: in a coroutine of cqueues that is the
--- runtime, else the loop, in a task of it or blocking.
--
-- So one client may be asked by the main program first and then inside the event loop, or in neither. It
-- has connections, and an open file, for each of the two that it was used in.

local external = require "ringlink.runtime.external"

local M = {}

-- cqueues counts only where the program itself has loaded it.
local function in_cqueues()
  local cqueues = package.loaded["cqueues"]
  if type(cqueues) ~= "table" then return nil, false end
  local controller, is_direct = cqueues.running()
  return controller, is_direct
end

-- A coroutine that cqueues did not start, but that runs inside of one that it did, is nobody's.
local function choose(loop, is_task)
  local own = external.of_current_task()
  if own then return own end
  local controller, is_direct = in_cqueues()
  if controller and (is_direct or not is_task()) then
    return external.new(require("ringlink.runtime.cqueues").any)
  end
  return loop
end

-- A thing of which each runtime has one of its own, opened where it is first needed. What somebody else
-- made, such as a test, is one and the same everywhere.
local function part_of(self, rt, open)
  if type(self) ~= "table" or not self.parts then return self end
  if self.parts[rt] or not open then return self.parts[rt] end
  local part, code, detail = open(rt, self.config)
  self.parts[rt] = part
  return part, code, detail
end

local function parts_of(self, loop)
  return type(self) == "table" and self.parts or { [loop] = self }
end

local function open_one(self, rt, open)
  local part, code, detail = part_of(self, rt, open)
  if not part then return nil, code, detail end
  return self
end

---@class ringlink.AutoTransport
local Transport = {}
Transport.__index = Transport

local function open_transport(rt, config) return rt.open_transport(config) end

--- Starts a request in the connections of the runtime that the caller is in.
---@param request table
---@return integer? ticket
---@return string? code
---@return string? detail
function Transport:start(request)
  local part, code, detail = part_of(self, self.here(), open_transport)
  if not part then return nil, code, detail end
  return part:start(request)
end

--- The one in which a request that was just started is, for whoever asks for it elsewhere later.
---@return userdata
function Transport:part_here()
  return (part_of(self, self.here()))
end

--- The counts of all of them.
---@return table
function Transport:stats()
  local sum = {}
  for _, part in pairs(self.parts) do
    for name, count in pairs(part:stats()) do sum[name] = (sum[name] or 0) + count end
  end
  return sum
end

local function carried(here, loop)
  local store = {}
  local function open_file(rt, config) return rt.store.open(config) end

  function store.open(config)
    return open_one({ config = config, parts = {} }, here(), open_file)
  end

  function store.run(db, job)
    local rt = here()
    local part, code, detail = part_of(db, rt, open_file)
    if not part then return { error = code, detail = detail, sqlite_code = 0 } end
    return rt.store.run(part, job)
  end

  function store.scrub(db)
    local rt = here()
    local part = part_of(db, rt, open_file)
    return part ~= nil and rt.store.scrub(part)
  end

  function store.close(db)
    for rt, part in pairs(parts_of(db, loop)) do rt.store.close(part) end
    if type(db) == "table" then db.parts = {} end
  end

  return store
end

--- A client's runtime.
---@param loop ringlink.Runtime
---@param is_task fun(): boolean whether the caller is a task of the loop
---@return ringlink.Runtime
function M.new(loop, is_task)
  local function here() return choose(loop, is_task) end
  local function of_task(task) return task.board and task.board.runtime or loop end
  local function part(transport) return part_of(transport, here()) end
  return {
    name = "auto",
    open_transport = function(config)
      local self = setmetatable({ config = config, parts = {}, here = here }, Transport)
      return open_one(self, here(), open_transport)
    end,
    drop_transport = function(transport)
      for rt, one in pairs(parts_of(transport, loop)) do rt.drop_transport(one) end
    end,
    admit = function(transport) if part(transport) then here().admit(part(transport)) end end,
    await = function(transport, ticket) return here().await(part(transport), ticket) end,
    spawn = function(...) return here().spawn(...) end,
    critical = function(...) return here().critical(...) end,
    join = function(task) return of_task(task).join(task) end,
    sleep = function(seconds) here().sleep(seconds) end,
    check_may_wait = function() here().check_may_wait() end,
    hold = function() if here().hold then here().hold() end end,
    release = function() if here().release then here().release() end end,
    visit = function() return here().visit() end,
    store = carried(here, loop), limiter = loop.limiter,
  }
end

return M
