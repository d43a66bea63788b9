--- Ring's endpoints that linking needs, and what Ring's errors mean (contract 3 to 8).
--
-- Each function makes one call and returns what Ring said, or an error object. Deciding what to do
-- about it belongs to the flows.

local core = require "ringlink.core"
local errors = require "ringlink.errors"
local http = require "ringlink.http"
local json = require "ringlink.json"
local sinks = require "ringlink.sink"
local url = require "ringlink.url"

local M = {}

local TOKEN_BYTES_MAX = 16384
local TOKEN_ANSWER_BYTES_MAX = 256 * 1024        -- no option: an answer cut off here is a pair lost
local INTEGRATIONS = "/v1/accounts/me/app-integrations"

-- Errors --------------------------------------------------------------------------------------

local BY_TITLE = {
  ["invalid nonce"] = "invalid_nonce",
  ["missing required fields"] = "invalid_request",
  ["invalid status transition"] = "invalid_transition",
  ["device unavailable"] = "device_unavailable",
}

local BY_STATUS = {
  [401] = "unauthorized", [403] = "forbidden", [404] = "not_found", [416] = "range_not_satisfiable",
  [425] = "too_early", [429] = "rate_limited",
}

-- What a refused token call means; without a title it was no OAuth server that answered.
local REFUSED = { exchange = "exchange_refused", refresh = "refresh_failed" }

local function code_of_token(response, stage, title)
  local refused = response.status >= 300 and not M.is_doubtful(response.status)
  if not refused then return nil end
  return title and REFUSED[stage] or "bad_response"
end

local function code_of(response, title)
  local by_title = title and BY_TITLE[title:lower()]
  local titled = by_title and (response.status == 400 or response.status == 503)
  return titled and by_title or BY_STATUS[response.status] or "ring_error"
end

-- What is no trouble of Ring's will be answered the same once more.
local LASTING = "the same again is answered the same: check what was sent, api_url and proxies in between; "
  .. "quote ring_id to Ring"

--- The error object for an answer that is not 2xx.
---@param response ringlink.Response
---@param stage string
---@param of_token boolean? the answer is the token endpoint's
---@return ringlink.Error
function M.error(response, stage, of_token)
  local body = errors.first(response.json)
  local title = errors.scrub(body.title)
  local code = of_token and code_of_token(response, stage, title) or code_of(response, title)
  local fields = {
    stage = stage, status = response.status, title = title, ring_id = errors.scrub(body.id),
    attempts = response.attempts, ambiguous = response.ambiguous or nil,
    retry_after = response.retry_after_ms and response.retry_after_ms / 1000 or nil,
    said = errors.said(response.status, title, errors.scrub(body.detail)),
  }
  if code == "ring_error" and not M.is_doubtful(response.status) then
    fields.retryable, fields.cure = false, LASTING
  end
  return errors.new(code, fields)
end

--- Whether an answer may hide that Ring has done what was asked.
---@param status integer?
---@return boolean
function M.is_doubtful(status)
  return status ~= nil and (status >= 500 or status == 429 or status == 408)
end

-- Answers that cannot be used ---------------------------------------------------------------

-- In words of ours: nothing of a body that may hold a secret is quoted.
local function flaw_of(response)
  if response.body == "" then return "an empty body" end
  local kind = response.headers["content-type"]
  local _, problem = json.decode_table(response.body)
  if response.json ~= nil or kind and kind:find("json", 1, true) then return "unusable JSON: " .. problem end
  return "no JSON but " .. (errors.scrub(kind) or "a body without Content-Type")
end

-- As `accept` of a call: what is wrong goes along, as the detail of its error.
local function has_json_table(response)
  if type(response.json) == "table" then return true end
  response.detail = errors.said(response.status, flaw_of(response))
  return false
end

-- Tokens --------------------------------------------------------------------------------------

local function token_text(value)
  return type(value) == "string" and #value > 0 and #value <= TOKEN_BYTES_MAX
    and not value:find("[^\33-\126]")
end

local function usable_tokens(response)
  local answer = response.json
  if not has_json_table(response) or not token_text(answer.access_token) then return false end
  local kind = answer.token_type
  if kind ~= nil and (type(kind) ~= "string" or kind:lower() ~= "bearer") then return false end
  return answer.refresh_token == nil or token_text(answer.refresh_token)
end

local function usable_pair(response)
  return usable_tokens(response) and response.json.refresh_token ~= nil
end

local function read_tokens(client, response)
  local answer = response.json
  local obtained_ms, expires_ms, doubtful = core.token_times(answer.expires_in, client.clock.now_ms())
  if doubtful then
    client.log("warn", "expires_in was missing or absurd; a safe lifetime is assumed",
      { lifetime_s = (expires_ms - obtained_ms) / 1000 })
  end
  return {
    access_token = answer.access_token, refresh_token = answer.refresh_token,
    scope = type(answer.scope) == "string" and errors.scrub(answer.scope) or nil,
    obtained_ms = obtained_ms, expires_ms = expires_ms,
    ring_date_ms = core.http_date_ms(response.headers.date, client.clock.now_ms()) or obtained_ms,
  }
end

local function token_call(client, form, secret, spec)
  form.client_id, form.client_secret = client.options.client_id, secret:reveal()
  return http.call(client, {
    stage = spec.stage, kind = "token", method = "POST",
    url = client.options.oauth_url .. "/oauth/token",
    headers = { "Content-Type: application/x-www-form-urlencoded", "Accept: application/json" },
    body = url.form(form), deadline_ms = spec.deadline_ms, response_bytes_max = TOKEN_ANSWER_BYTES_MAX,
    accept = spec.need_refresh and usable_pair or usable_tokens,
  })
end

--- Asks for tokens. With several client secrets the older ones are tried when Ring does not know
--- the newest.
---@param client ringlink.Client
---@param form table<string, string> grant_type and what belongs to it
---@param spec { stage: string, deadline_ms: integer?, need_refresh: boolean }
---@return table? tokens access_token, refresh_token?, scope?, obtained_ms, expires_ms, ring_date_ms
---@return ringlink.Error? err `title` is OAuth's error; `ambiguous` when an answer may be lost
function M.token(client, form, spec)
  local maybe, err = false, nil
  spec.deadline_ms = spec.deadline_ms or http.deadline(client)
  for _, secret in ipairs(client.options.client_secret) do
    local response, problem = token_call(client, form, secret, spec)
    err = problem
    if not response then break end
    if sinks.is_success(response) then return read_tokens(client, response) end
    maybe = maybe or response.maybe_before or M.is_doubtful(response.status)
    err = M.error(response, spec.stage, true)
    if err.title ~= "invalid_client" then break end
  end
  err.ambiguous = err.ambiguous or maybe or nil
  return nil, err
end

-- Calls with an access token ------------------------------------------------------------------

local function api_call(client, access, call)
  call.url = client.options.api_url .. call.path
  call.headers = { "Authorization: Bearer " .. access:reveal(), "Accept: application/json" }
  if call.json then
    call.headers[#call.headers + 1] = "Content-Type: application/json"
    call.body = assert(json.encode(call.json))
  end
  return http.call(client, call)
end

local function ask(client, access, call)
  local response, err = api_call(client, access, call)
  if not response then return nil, err end
  if not sinks.is_success(response) then return nil, M.error(response, call.stage) end
  return response
end

--- GET /v1/users/me (contract 5).
---@param client ringlink.Client
---@param access userdata secret
---@param deadline_ms integer?
---@return table? data `id` and `attributes`
---@return ringlink.Error?
function M.me(client, access, deadline_ms)
  local response, err = ask(client, access, { stage = "identify", kind = "safe", method = "GET",
    path = "/v1/users/me", deadline_ms = deadline_ms, accept = has_json_table })
  if not response then return nil, err end
  local data = response.json.data
  if type(data) ~= "table" or type(data.id) ~= "string" or data.id == "" then
    return errors.fail("bad_response", { stage = "identify", status = response.status,
      attempts = response.attempts, detail = errors.said(response.status, "no data.id that is text") })
  end
  return data
end

local function status_of(body)
  local wrapped = type(body.data) == "table" and type(body.data.attributes) == "table"
  local fields = wrapped and body.data.attributes or body
  local function text(name) return type(fields[name]) == "string" and fields[name] or nil end
  return { status = text("status"), account_identifier = text("account_identifier"),
    updated_at = text("updated_at") }
end

local function integration_call(client, access, spec)
  local response, err = ask(client, access, { stage = spec.stage, kind = "link",
    method = spec.method, path = INTEGRATIONS, json = spec.fields,
    deadline_ms = spec.deadline_ms, accept = has_json_table })
  if not response then return nil, err end
  local answer = status_of(response.json)
  answer.maybe_before = response.maybe_before
  return answer
end

--- POST app-integrations: confirms the link (contract 7).
---@param client ringlink.Client
---@param access userdata secret
---@param fields { nonce: string, account_identifier: string? }
---@param deadline_ms integer? monotonic
---@return { status: string?, account_identifier: string? }?
---@return ringlink.Error?
function M.confirm(client, access, fields, deadline_ms)
  return integration_call(client, access, { stage = "confirm", method = "POST", fields = fields,
    deadline_ms = deadline_ms })
end

--- PATCH app-integrations: status and identifier (contract 7).
---@param client ringlink.Client
---@param access userdata secret
---@param fields { status: string?, account_identifier: string? }
---@param stage string
---@return { status: string?, account_identifier: string?, updated_at: string? }?
---@return ringlink.Error?
function M.patch(client, access, fields, stage)
  return integration_call(client, access, { stage = stage, method = "PATCH", fields = fields })
end

--- Whether the token can read devices, which it can only after a POST that worked.
---@param client ringlink.Client
---@param access userdata secret
---@return boolean? readable
---@return ringlink.Error? err when it cannot be told
function M.can_read_devices(client, access)
  local response, err = ask(client, access, { stage = "settle", kind = "safe", method = "GET",
    path = "/v1/devices", accept = has_json_table })
  if response then return true end
  if err.code == "forbidden" or err.code == "not_found" then return false end
  return nil, err
end

--- Any call in a user's name.
---@param client ringlink.Client
---@param access userdata secret
---@param call table a ringlink.Call without url
---@return ringlink.Response?
---@return ringlink.Error?
function M.request(client, access, call)
  local headers = { "Authorization: Bearer " .. access:reveal() }
  for _, header in ipairs(call.extra_headers) do headers[#headers + 1] = header end
  return http.call(client, {
    stage = "request", kind = call.kind, method = call.method, url = call.url, headers = headers,
    body = call.body, timeout_ms = call.timeout_ms, deadline_ms = call.deadline_ms, sink = call.sink,
  })
end

return M
