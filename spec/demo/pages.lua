--- The partner's pages: plain HTML that works without scripts, on a phone and with a screen reader.
--
-- Pure. Everything that is not written here is escaped. The style's hash stands in the CSP (web.lua).

local pages = {}

pages.STYLE = [[
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0; padding: 1.5rem 1rem; }
main { max-width: 26rem; margin: 0 auto; }
h1 { font-size: 1.5rem; line-height: 1.25; }
label { display: block; margin-top: 1rem; font-weight: 600; }
input, button { font: inherit; width: 100%; box-sizing: border-box; min-height: 2.75rem; }
input { margin-top: .25rem; padding: 0 .75rem; border: 1px solid #767676; border-radius: .4rem; }
button { margin-top: 1.5rem; border: 0; border-radius: .4rem; background: #0b57a4; color: #fff; cursor: pointer; }
:focus-visible { outline: 3px solid #e8a200; outline-offset: 2px; }
.alert { margin: 1rem 0; padding: .5rem .75rem; border-left: .3rem solid #b3261e; }
]]

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape(text)
  return (tostring(text):gsub("[&<>\"']", ESCAPES))
end

-- Fills {name} from values, escaped; {{name}} takes ready markup made here.
local function fill(template, values)
  local filled = template:gsub("{({?)(%w+)}?}", function(ready, name)
    return ready == "" and escape(values[name]) or values[name]
  end)
  return filled
end

local function page(title, body, values)
  return fill([[<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – Demo Partner</title>
<style>{{style}}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{{body}}
</main>
</body>
</html>
]], { title = title, style = pages.STYLE, body = fill(body, values) })
end

local SIGN_IN = [[
<p>Ring sent you here to link your Ring account. Sign in first.</p>
{{alert}}
<form method="post" action="/sign-in">
<input type="hidden" name="csrf" value="{csrf}">
<label for="email">E-mail</label>
<input id="email" name="email" type="email" autocomplete="username" required value="{email}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Sign in</button>
</form>]]

local CONNECT = [[
<p>You are signed in as {identifier}.</p>
<p>Link the Ring account you came from? Demo Partner will see the devices you chose in the Ring app.</p>
<form method="post" action="/connect">
<input type="hidden" name="csrf" value="{csrf}">
<button>Link my Ring account</button>
</form>]]

local function alert(text)
  return text and fill('<p class="alert" role="alert">{text}</p>', { text = text }) or ""
end

---@param values table `{csrf, email, problem}`
---@return string
function pages.sign_in(values)
  return page("Sign in", SIGN_IN, { csrf = values.csrf, email = values.email or "", alert = alert(values.problem) })
end

---@param values table `{csrf, identifier}`
---@return string
function pages.connect(values) return page("Link your Ring account", CONNECT, values) end

---@param links table[] `{identifier, state}`
---@return string
function pages.linked(links)
  local rows = {}
  for i, link in ipairs(links) do rows[i] = fill("<li>{identifier}: {state}</li>", link) end
  local list = #rows > 0 and "<ul>{{rows}}</ul>" or "<p>No Ring account is linked.</p>"
  return page("Your Ring accounts", list, { rows = table.concat(rows) })
end

--- A page that says one thing.
---@param title string
---@param text string
---@return string
function pages.message(title, text) return page(title, "<p>{text}</p>", { text = text }) end

return pages
