--- The pages people see: plain HTML that works without JavaScript, on a phone, with a screen reader.
--
-- Pure. A partner replaces pages by `pages = { name = function(view) return html end }` or by one
-- function(name, view); whatever such a function does not answer comes from here. A view is a flat
-- table of texts; everything filled in is escaped.

local html = require "ringlink.resty.html"
local icons = require "ringlink.resty.icons"
local reply = require "ringlink.resty.reply"
local style = require "ringlink.resty.style"

local M = {}

--- The content policy of pages made here.
M.POLICY = reply.policy(reply.digest(style), "img-src data:; ")       -- the empty icon
-- A partner's own page may bring style sheets, pictures and fonts of the same host.
local OWN_POLICY = reply.policy("'self' " .. reply.digest(style), "img-src 'self' data:; font-src 'self'; ")

local FRAME = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} – {label}</title>
<link rel="icon" href="data:,">
<style>{{style}}</style>
</head>
<body>
<div class="page {layout}">
<header class="brand">{brand}</header>
<main>
{{body}}
</main>
</div>
</body>
</html>
]]

local CARD = [[
<section class="card">
<div class="badge {tone}">{{icon}}</div>
<h1>{{heading}}</h1>
{{text}}
{{actions}}
{{note}}
</section>]]

local FORM = [[
<form method="post" action="{action}">
<input type="hidden" name="attempt" value="{attempt}">
<input type="hidden" name="csrf" value="{csrf}">
<button class="main">{button}</button>
</form>]]

local START_AGAIN = "<p>Open {label} in the Ring app and tap <strong>Sign In</strong> once more.</p>"

---@class ringlink.PageSpec
---@field title string
---@field heading string?  a template, where it is more than the title
---@field tone string?
---@field icon string
---@field text string      a template
---@field button string?   the form's: without one there is no form
---@field reopen string?   words of the link to the same attempt
---@field change string?   words of the link to `sign_out_url`
---@field leave string?    words of the link to `continue_url`
---@field note string?

---@type table<string, ringlink.PageSpec>
local PAGES = {
  confirm = { title = "Connect Ring?", heading = "Connect Ring to {{who}}?", icon = "link", button = "Connect",
    leave = "Not now",
    text = [[<p>You came from the Ring app. {label} will be able to use the devices you chose there.</p>
      {{other_user}}]],
    note = "You did not start this in the Ring app a moment ago? Then do not continue, and close this page." },
  linked = { title = "Ring is connected", icon = "check", tone = "good", leave = "Continue",
    text = "<p>Your Ring account is connected to {{who}}. You can go back to the Ring app.</p>" },
  already = { title = "Ring is already connected", icon = "check", tone = "good", leave = "Continue",
    text = "<p>This was done before; there is nothing left to do here. You can go back to the Ring app.</p>" },
  expired = { title = "This link has expired", icon = "clock", tone = "warn",
    text = "<p>For your safety it works only once, and for ten minutes.</p>" .. START_AGAIN },
  elsewhere = { title = "This link belongs to another browser", icon = "clock", tone = "warn",
    text = "<p>It was opened in another browser, or this one keeps no cookies; then allow them for this page.</p>"
      .. START_AGAIN },
  no_match = { title = "Ring is not ready yet", icon = "clock", tone = "warn", button = "Try again",
    leave = "Not now",
    text = "<p>Ring has not told us about your account yet. That usually takes a few seconds.</p>",
    note = "Still the same after a minute? Open {label} in the Ring app and tap Sign In once more." },
  held = { title = "This Ring account is connected already", icon = "person", tone = "warn",
    change = "Use another account", leave = "Go back",
    text = [[<p>It belongs to another account at {label}. Sign in with that one, or disconnect Ring there
      first.</p>]] },
  declined = { title = "Ring was not connected", icon = "alert", tone = "warn", leave = "Go back",
    text = "<p>{label} does not connect this account. Nothing was changed.</p>" },
  unfinished = { title = "Almost there", icon = "clock", tone = "warn", button = "Try again", leave = "Not now",
    text = "<p>Ring has agreed, but {label} could not finish setting things up. Nothing is lost.</p>" },
  again = { title = "Please connect once more", icon = "alert", tone = "warn", leave = "Go back",
    text = [[<p>Ring did not accept this connection.</p><p>Remove {label} in the Ring app, add it again, and follow
      the steps there.</p>]] },
  trouble = { title = "That did not work just now", icon = "alert", tone = "warn", button = "Try again",
    leave = "Not now", text = "<p>Nothing is lost. Please wait a moment and try again.</p>" },
  failed = { title = "Something went wrong here", icon = "alert", tone = "bad", leave = "Go back",
    text = "<p>This is our mistake, not yours, and it has been reported. Please try again later.</p>" },
  broken = { title = "This link is not complete", icon = "alert", tone = "warn", leave = "Go back",
    text = START_AGAIN },
  forged = { title = "This page is out of date", icon = "alert", tone = "warn", reopen = "Open it again",
    leave = "Go back", text = "<p>You may have signed in or out since it was opened. Nothing was changed.</p>" },
  sign_in = { title = "Please sign in first", icon = "person", reopen = "I have signed in", leave = "Go back",
    text = "<p>Sign in to {label}, then come back to this page.</p>" },
  busy = { title = "Too many tries", icon = "clock", tone = "warn", reopen = "Try again",
    text = "<p>Please wait a minute before you try again.</p>" },
}

local function who(view)
  return view.identifier and html.identity(view.identifier) or "your account"
end

local function link(url, words, class)
  if not url then return "" end
  return html.fill('<a class="{class}" href="{url}">{words}</a>', { url = url, words = words, class = class })
end

local function pieces(view)
  local other = link(view.sign_out_url, "Use another account", "other")
  return setmetatable({
    who = who(view), other_user = other ~= "" and "<p>" .. other .. "</p>" or "",
  }, { __index = view })
end

local function form(spec, view)
  if not (spec.button and view.csrf) then return nil end
  return html.fill(FORM, { action = view.action, attempt = view.attempt, csrf = view.csrf, button = spec.button })
end

-- The first of them is what most people want.
local function actions(spec, view)
  local parts = { form(spec, view) }
  local function add(url, words)
    if url and words then parts[#parts + 1] = link(url, words, #parts == 0 and "button main" or "button") end
  end
  add(view.reopen, spec.reopen)
  add(view.sign_out_url, spec.change)
  add(view.continue_url, spec.leave)
  return #parts > 0 and '<div class="actions">' .. table.concat(parts) .. "</div>" or ""
end

local function card(spec, view)
  local parts = pieces(view)
  return html.fill(CARD, {
    tone = spec.tone, icon = icons[spec.icon], heading = html.fill(spec.heading or html.escape(spec.title), parts),
    text = html.fill(spec.text, parts), actions = actions(spec, view),
    note = spec.note and '<p class="note">' .. html.fill(spec.note, parts) .. "</p>" or "",
  })
end

--- A whole page around a body made here.
---@param view { label: string }
---@param title string
---@param body string markup
---@param layout string? "wide"
---@return string
function M.frame(view, title, body, layout)
  return html.fill(FRAME, { title = title, label = view.label, brand = view.label, style = style, body = body,
    layout = layout })
end

--- A card with a heading and markup of the partner's, in the look of the other pages.
---@param view { label: string, title: string, body: string }
---@return string html
---@return string policy
function M.plain(view)
  local body = html.fill('<section class="card"><h1>{title}</h1>{{body}}</section>', view)
  return M.frame(view, view.title, body), M.POLICY
end

--- A page of this module.
---@param name string
---@param view table
---@return string
function M.own(name, view)
  local spec = PAGES[name]
  return M.frame(view, spec.title, card(spec, view))
end

local function partners(pages, name, view)
  if type(pages) == "function" then return pages(name, view) end
  local page = type(pages) == "table" and pages[name]
  return page and page(view)
end

--- The page of a name, the partner's when there is one. A partner's page that raises is reported and
--- replaced, so that nobody is left without an answer.
---@param name string
---@param view table flat: label, identifier, csrf, ...; `html_escape` is there for a partner's page
---@param options { pages: any, policy: string?, own: fun(view: table): string?, report: fun(problem: any)? }
---@return string html
---@return string policy
function M.render(name, view, options)
  local ok, page = true, nil
  view.name, view.html_escape = name, html.escape
  if options.pages then ok, page = pcall(partners, options.pages, name, view) end
  if not ok and options.report then options.report(page) end
  if ok and type(page) == "string" then return page, options.policy or OWN_POLICY end
  return (options.own or function() return M.own(name, view) end)(view), M.POLICY
end

return M
