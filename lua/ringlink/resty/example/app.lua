--- A small partner's own side: its users, and who is signed in. nginx.conf beside it calls it.
--
-- Users stand in a file, a line each: e-mail:hash, as `openssl passwd -6` writes hashes. Sessions are
-- entries of a lua_shared_dict, under random cookies.

local core = require "ringlink.core"
local ffi = require "ffi"
local resty = require "ringlink.resty"

ffi.cdef "char *crypt(const char *key, const char *salt);"
local crypt = ffi.load("libcrypt.so.1")
local app, hashes = {}, {}

local SESSION_S = 1800
local FORM = [[%s<form method="post"><input type="hidden" name="check" value="%s">
<label>E-mail <input name="email" type="email" value="%s" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<div class="actions"><button class="main">Sign in</button></div></form>]]
local WRONG = '<p class="alert" role="alert">This e-mail and password do not belong together.</p>'

function app.read_users(path)
  for line in io.lines(path) do hashes[line:match("^[^:]+")] = line:match(":(.+)$") end
end

local function set_cookie(name, value, more)
  ngx.header["Set-Cookie"] = ("__Host-%s=%s; Path=/; Secure; HttpOnly; %s"):format(name, value, more)
end

--- Who is signed in, or else where to sign in; ringlink's pages ask this.
function app.authenticate(return_to)
  local email = ngx.shared.sessions:get(resty.cookie("__Host-session") or "")
  if email then return { id = email, identifier = email, session = resty.cookie("__Host-session") } end
  return nil, "/sign-in?next=" .. ngx.escape_uri(return_to)
end

local function knows(email, password)
  local hash = hashes[email] or "$6$nobody$"             -- takes as long for somebody unknown
  return ffi.string(crypt.crypt(password, hash)) == hash
end

--- The sign-in. Its form counts only with the cookie that came with it, so that no other site can sign a
--- visitor in as somebody else; and it sends the browser to this host only.
function app.sign_in()
  local fields = ngx.req.get_method() == "POST" and resty.form() or {}
  local is_own = fields.check and fields.check == resty.cookie("__Host-check")
  if is_own and knows(fields.email or "", fields.password or "") then
    local session, back = core.base64url(core.random(24)), ngx.req.get_uri_args().next
    ngx.shared.sessions:set(session, fields.email, SESSION_S)
    set_cookie("session", session, "SameSite=Lax; Max-Age=" .. SESSION_S)
    return ngx.redirect(resty.is_local_path(back) and back or "/", 303)
  end
  local check = resty.cookie("__Host-check") or core.base64url(core.random(24))     -- other tabs may have the form
  set_cookie("check", check, "SameSite=Strict")
  resty.page { label = "Demo Partner", title = "Sign in",
    body = FORM:format(is_own and WRONG or "", resty.escape(check), resty.escape(fields.email or "")) }
end

return app
