--- What the homepage shows: each link of the signed-in user with what can be done about it.
--
-- Pure. Dates are UTC and written so that nobody mistakes the month.

local html = require "ringlink.resty.html"
local icons = require "ringlink.resty.icons"
local pages = require "ringlink.resty.pages"

local M = {}

local MONTHS = { "January", "February", "March", "April", "May", "June", "July", "August", "September",
  "October", "November", "December" }

local CARD = [[
<section class="card" aria-labelledby="{id}">
<h2 id="{id}">{heading}</h2>
<p><span class="state {tone}">{state}</span></p>
<p>{{says}}{{since}}</p>
{{actions}}
</section>]]

local BUTTON = [[
<form method="post" action="{action}">
<input type="hidden" name="csrf" value="{csrf}">
<input type="hidden" name="do" value="{operation}">
<button class="{class}"{{about}}>{words}</button>
</form>]]

local EMPTY = [[
<section class="card">
<div class="badge">{{icon}}</div>
<h1>Ring is not connected</h1>
<p>Open {label} in the Ring app and tap <strong>Sign In</strong>; you will come back here by itself.</p>
</section>]]

local FORGET = [[
<section class="card">
<div class="badge warn">{{icon}}</div>
<h1>Disconnect Ring?</h1>
<p>{label} will lose its access to your Ring devices and delete what it keeps about them. To connect again you
start in the Ring app.</p>
<p>In the Ring app {label} may stay listed until you remove it there.</p>
<div class="actions">
{{button}}
<a class="button" href="{action}">Keep it</a>
</div>
</section>]]

local HEAD = [[
<section class="card"><h1>Ring and {label}</h1><p>Signed in as {{who}}.</p>{{problem}}</section>]]

--- What a link's state means for its user: words (markup, with {label}), colour, what can be done.
---@type table<string, { state: string, tone: string, says: string, is_over: boolean?, operations: string[] }>
M.STATES = {
  completed = { state = "Connected", tone = "good", says = "The connection works.",
    operations = { "pause", "forget" } },
  paused = { state = "Paused", tone = "warn", says = "Ring sends nothing to {label} until you resume.",
    operations = { "resume", "forget" } },
  pending = { state = "Being set up", tone = "warn", operations = { "forget" },
    says = "This is not finished yet, and we keep trying. You can also open {label} in the Ring app and tap "
      .. "<strong>Sign In</strong> once more." },
  relink = { state = "Needs your attention", tone = "bad", is_over = true,
    says = "Ring has ended the connection. Remove {label} in the Ring app and add it again.",
    operations = { "forget" } },
}

local BUTTONS = {
  pause = { words = "Pause", class = "" }, resume = { words = "Resume", class = "main" },
  forget = { words = "Disconnect", class = "danger" },
  forget_now = { words = "Yes, disconnect", class = "danger" },
}

local function button(view, link, operation, id)
  local spec = BUTTONS[operation]
  return html.fill(BUTTON, { action = view.action, csrf = link.csrf, operation = operation, class = spec.class,
    words = spec.words, about = id and html.fill(' aria-describedby="{id}"', { id = id }) or "" })
end

local function date(ms)
  local t = os.date("!*t", math.floor(ms / 1000))
  return ("%d %s %d"):format(t.day, MONTHS[t.month], t.year)
end

local function since(spec, link)
  if spec.is_over or not link.linked_ms then return "" end
  return html.fill(" Connected since {date}.", { date = date(link.linked_ms) })
end

-- The name that the Ring app shows, where it is not the one above.
local function shown_as(view, link)
  if not link.identifier or link.identifier == view.identifier then return "" end
  return " The Ring app shows it as " .. html.identity(link.identifier) .. "."
end

local function card(view, link, number)
  local spec, buttons, id = M.STATES[link.state], {}, "link-" .. number
  for i, operation in ipairs(spec.operations) do buttons[i] = button(view, link, operation, id) end
  return html.fill(CARD, { id = id, tone = spec.tone, state = spec.state, says = html.fill(spec.says, view),
    heading = #view.links > 1 and "Ring account " .. number or "Your Ring account",
    since = since(spec, link) .. shown_as(view, link),
    actions = '<div class="actions row">' .. table.concat(buttons) .. "</div>" })
end

--- The page with every link.
---@param view { label: string, action: string, identifier: string?, links: table[], problem: string? }
---@return string html
function M.home(view)
  if #view.links == 0 and not view.problem then
    return pages.frame(view, "Ring is not connected", html.fill(EMPTY, { label = view.label, icon = icons.link }))
  end
  local parts = { html.fill(HEAD, { label = view.label,
    who = view.identifier and html.identity(view.identifier) or "this account",
    problem = view.problem and html.fill('<p class="alert" role="alert">{problem}</p>', view) or "" }) }
  for i, link in ipairs(view.links) do parts[#parts + 1] = card(view, link, i) end
  return pages.frame(view, "Your Ring connection", table.concat(parts, "\n"))
end

--- The question before a link is forgotten.
---@param view { label: string, action: string, link: { csrf: string } }
---@return string html
function M.forget(view)
  return pages.frame(view, "Disconnect Ring?", html.fill(FORGET, { label = view.label, action = view.action,
    icon = icons.alert, button = button(view, view.link, "forget_now") }))
end

return M
