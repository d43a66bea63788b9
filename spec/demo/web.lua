--- The little of HTTP that the partner's backend needs from nginx: reading forms, answering safely.
--
-- Every answer forbids caching, framing, sniffing and foreign resources, and sends no Referer:
-- Ring's redirect carries a nonce in its URL.
-- luacheck: globals ngx

local pages = require "demo.pages"
local core = require "ringlink.core"

local web = {}

local FIELDS_MAX = 20
local STYLE_HASH = ngx.encode_base64(core.sha256(pages.STYLE))
local HEADERS = {
  ["Cache-Control"] = "no-store",
  ["Content-Security-Policy"] = "default-src 'none'; style-src 'sha256-" .. STYLE_HASH
    .. "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  ["Referrer-Policy"] = "no-referrer",
  ["X-Content-Type-Options"] = "nosniff",
}

-- A field that came twice, or without a value, is no field.
local function texts_of(fields)
  local texts = {}
  for name, value in pairs(fields or {}) do
    if type(value) == "string" then texts[name] = value end
  end
  return texts
end

---@return string body raw; nginx's buffer holds the largest one allowed
function web.body()
  ngx.req.read_body()
  return ngx.req.get_body_data() or ""
end

---@return table<string, string>
function web.form()
  ngx.req.read_body()
  return texts_of(ngx.req.get_post_args(FIELDS_MAX))
end

---@return table<string, string>
function web.query() return texts_of(ngx.req.get_uri_args(FIELDS_MAX)) end

---@param name string
---@return string|nil
function web.cookie(name) return ngx.var["cookie_" .. name] end

--- Sets a cookie that scripts cannot read; over https (a tunnel in front of us) nothing else carries it.
---@param name string
---@param value string
---@param life_s integer
function web.set_cookie(name, value, life_s)
  local secure = ngx.var.http_x_forwarded_proto == "https" and "; Secure" or ""
  ngx.header["Set-Cookie"] = ("%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%s"):format(
    name, value, life_s, secure)
end

---@param status integer
---@param kind string media type
---@param body string
function web.answer(status, kind, body)
  ngx.status = status
  for name, value in pairs(HEADERS) do ngx.header[name] = value end
  ngx.header["Content-Type"] = kind
  ngx.header["Content-Length"] = #body
  ngx.print(body)
end

---@param status integer
---@param html string
function web.html(status, html) web.answer(status, "text/html; charset=utf-8", html) end

---@param status integer
---@param text string ready JSON
function web.json(status, text) web.answer(status, "application/json", text) end

--- Sends the browser on by GET, without the query it came with.
---@param path string
function web.see(path)
  ngx.header["Location"] = path
  web.answer(303, "text/plain", "")
end

return web
