--- Ring's webhooks: verified over the raw body, stored, answered, and only then acted on.
--
-- What the partner's hooks do, and how long it takes, never holds up the answer: Ring waits for five
-- seconds, takes 4xx for the end and stops calling an endpoint that answers it often (contract 9).

local apps = require "ringlink.resty.apps"
local check = require "ringlink.check"
local errors = require "ringlink.errors"
local reply = require "ringlink.resty.reply"
local webhook = require "ringlink.webhook"

local M = { name = "webhook" }

local BODY_BYTES_MAX = 4 * 1024 * 1024     -- what is read at all; what is kept is less
local RETRY_AFTER = { ["Retry-After"] = "5" }

local function answer(app, status, outcome)
  app.tally:add("webhooks|" .. outcome)
  return reply.json(status, { status = outcome }, status >= 500 and RETRY_AFTER or nil)
end

local function refused(app, err)
  if err.code ~= "signature" then apps.note_failure(app, "webhook", err) end
  return answer(app, webhook.status_of(err), err.code)
end

--- Acts on a stored event, as a task.
---@param app_name string
---@param id string
function M.act(app_name, id)
  local app = apps.get(app_name)
  local done, err = errors.catch(webhook.act_on, app.client, id)
  if not done and err.code == "in_progress" then return end     -- another worker is at it
  app.tally:add("webhooks|" .. (done or "put_off"))
  if not done then apps.note_failure(app, "webhook", err) end
end

--- Answers Ring's post.
---@param app ringlink.App
---@param request ringlink.Request
---@param options { app: string? }?
---@return ringlink.Reply
function M.handle(app, request, options)
  check.options("webhook", options, { "app" })
  if request.method ~= "POST" then return reply.method_not_allowed("POST") end
  local body, problem = request:body(BODY_BYTES_MAX)
  if problem then return refused(app, problem) end
  if not body then return answer(app, 413, "too_large") end
  local state, id = errors.catch(webhook.accept, app.client, body, request:header("X-Signature"))
  if not state then return refused(app, id) end
  if state == "done" or state == "forgotten" then return answer(app, 200, "duplicate") end
  local accepted = answer(app, 200, state == "new" and "accepted" or "duplicate")
  accepted.after = { M.act, app.name, id }
  return accepted
end

--- Answers when handling raised: it is our own trouble, so Ring may deliver again.
---@param app ringlink.App
---@param problem any
---@return ringlink.Reply
function M.failed(app, problem)
  return answer(app, 503, errors.is(problem) and problem.code or "internal_error")
end

return M
