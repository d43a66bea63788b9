--- Answers as plain tables: `{status, headers, cookies, body}`, each with the headers that keep it out
--- of caches, frames, Referers and other origins.
--
-- Pure; http.lua writes them. No header of an answer is made from anything but this project's texts,
-- encoded paths and checked addresses.

local core = require "ringlink.core"
local json = require "ringlink.json"

local M = {}

---@class ringlink.Reply
---@field status integer
---@field headers table<string, string>
---@field cookies string[]?  values of Set-Cookie
---@field body string
---@field after table?       a function and its values, to be called once the answer is sent

local function with_headers(status, kind, body, more)
  local headers = {
    ["Content-Type"] = kind, ["Cache-Control"] = "no-store", ["Referrer-Policy"] = "no-referrer",
    ["X-Content-Type-Options"] = "nosniff",
  }
  for name, value in pairs(more or {}) do headers[name] = value end
  return { status = status, headers = headers, body = body }
end

--- The source expression by which a content policy allows an inline style.
---@param text string
---@return string
function M.digest(text)
  local base64 = core.base64url(core.sha256(text)):gsub("-", "+"):gsub("_", "/")
  return "'sha256-" .. base64 .. "='"
end

--- A content policy that allows nothing but a style, and forms to this host.
---@param style_sources string
---@param more string? further directives, each ended by a semicolon
---@return string
function M.policy(style_sources, more)
  return ("default-src 'none'; style-src %s; %sform-action 'self'; base-uri 'none'; frame-ancestors 'none'")
    :format(style_sources, more or "")
end

--- A page.
---@param status integer
---@param html string
---@param policy string
---@return ringlink.Reply
function M.page(status, html, policy)
  return with_headers(status, "text/html; charset=utf-8", html, {
    ["Content-Security-Policy"] = policy, ["X-Frame-Options"] = "DENY",
    ["Cross-Origin-Opener-Policy"] = "same-origin", ["Cross-Origin-Resource-Policy"] = "same-origin",
    ["X-Robots-Tag"] = "noindex",
  })
end

--- A small JSON object.
---@param status integer
---@param value table
---@param more table<string, string>? further headers
---@return ringlink.Reply
function M.json(status, value, more)
  return with_headers(status, "application/json", assert(json.encode(value)), more)
end

--- Plain text.
---@param status integer
---@param text string
---@param more table<string, string>?
---@return ringlink.Reply
function M.text(status, text, more)
  return with_headers(status, "text/plain; charset=utf-8", text, more)
end

--- Sends the browser on, by GET and without the query it came with.
---@param address string checked or encoded
---@return ringlink.Reply
function M.see(address)
  return M.text(303, "", { Location = address })
end

--- This address takes other methods.
---@param allowed string like "GET, POST"
---@return ringlink.Reply
function M.method_not_allowed(allowed)
  return M.text(405, "method not allowed\n", { Allow = allowed })
end

return M
