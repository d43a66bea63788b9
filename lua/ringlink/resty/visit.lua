--- A browser's visit: what account_link.lua and homepage.lua share about answering people.

local apps = require "ringlink.resty.apps"
local errors = require "ringlink.errors"
local gate = require "ringlink.resty.gate"
local outcomes = require "ringlink.resty.outcomes"
local pages = require "ringlink.resty.pages"
local reply = require "ringlink.resty.reply"

local M = {}

local LABEL = "this service"

---@class ringlink.Visit
---@field app ringlink.App
---@field request ringlink.Request
---@field options table    the handler's
---@field own table<string, fun(view: table): string>  pages of the handler's own

local function report(visit, name)
  return function(problem)
    visit.app.client.log("error", "a page of the partner's failed",
      { page = name, cause = errors.describe_trace(problem) })
  end
end

local function add_common(view, options)
  view.label, view.continue_url = options.label or LABEL, options.continue_url
end

-- A function is told where the next user should come back to.
local function sign_out_url(visit, view)
  local url = visit.options.sign_out_url
  if type(url) ~= "function" then return url end
  return url(view.reopen or visit.request.path)
end

--- Answers with a page.
---@param visit ringlink.Visit
---@param name string
---@param view table?
---@return ringlink.Reply
function M.page(visit, name, view)
  view = view or {}
  add_common(view, visit.options)
  view.action, view.sign_out_url = visit.request.path, sign_out_url(visit, view)
  visit.app.tally:add("pages|" .. name)
  return reply.page(view.status or outcomes.STATUS[name], pages.render(name, view, {
    pages = visit.options.pages, policy = visit.options.policy, own = visit.own[name], report = report(visit, name) }))
end

--- Counts one try of somebody's and says whether it may go on.
---@param visit ringlink.Visit
---@param what string names the limit
---@param limits table see gate.lua
---@param who string
---@return boolean
function M.pass(visit, what, limits, who)
  local app = visit.app
  return gate.pass(app.board, app.client.clock.monotonic_ms(), app.name .. "/" .. what, limits, who)
end

--- Whether a page of another site made the browser send this. Browsers that say nothing of it are held
--- back by SameSite cookies and the form's token.
---@param visit ringlink.Visit
---@return boolean
function M.is_foreign(visit)
  local site = visit.request:header("Sec-Fetch-Site")
  return site ~= nil and site ~= "same-origin" and site ~= "none"
end

--- The answer when handling raised.
---@param what string which handler, for the status page
---@param app ringlink.App
---@param problem any
---@param options table
---@return ringlink.Reply
function M.failed(what, app, problem, options)
  local view, name = {}, "failed"
  add_common(view, options)
  if errors.is(problem) then
    apps.note_failure(app, what, problem)
    if problem.retryable then name = "trouble" end
  end
  return reply.page(outcomes.STATUS[name], pages.render(name, view, {}))
end

return M
