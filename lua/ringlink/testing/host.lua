--- What a strict Ring needs from a process that hosts it without nginx: time, and whoever it sends to.
--
-- Owns the offset of Ring's clock from the time it is given (control's operation `clock`).

local M = {}

--- A host, as control.lua and ring.lua want one.
---@param time { now_ms: function, sleep_ms: function, background: function }
---@param send fun(request: table): table?, string?
---@return table
function M.new(time, send)
  local host, offset_ms = { send = send, sleep_ms = time.sleep_ms, background = time.background }, 0

  function host.now_ms() return time.now_ms() + offset_ms end

  function host.clock_offset_ms() return offset_ms end

  function host.move_clock(ms) offset_ms = ms end

  -- Whoever wants what is due takes it.
  function host.deliver() end

  function host.send_all(requests)
    local results = {}
    for i, request in ipairs(requests) do
      local answer, problem = send(request)
      results[i] = { status = answer and answer.status, problem = problem }
    end
    return results
  end

  return host
end

return M
