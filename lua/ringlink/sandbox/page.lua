--- The page at /: plays the Ring user and shows what the sandbox saw.
--
-- Static: it holds no token and no state. Open the address the starter prints (`page_url`); its
-- fragment carries the control token, or paste the token into the page. Nothing is loaded from
-- elsewhere, and the content policy allows only this script and this style, by their digests.

local core = require "ringlink.core"
local script = require "ringlink.sandbox.page_script"
local style = require "ringlink.sandbox.page_style"

local page = {}

local BODY = [[
<header>
  <h1>Ring sandbox</h1>
  <p>You are the Ring user. Ring's clock: <span id="now">not read yet</span></p>
  <p id="said" role="status">Loading…</p>
  <noscript><p class="bad">This page needs JavaScript; the control plane under /_sandbox/ does not.</p></noscript>
</header>
<main>
  <section id="key" class="full" hidden aria-labelledby="key-title">
    <h2 id="key-title">Control token</h2>
    <p>Paste the token that was printed when the sandbox started, or open the printed address.</p>
    <form id="key-form" class="row">
      <label for="token">Token</label>
      <input id="token" type="password" autocomplete="off" spellcheck="false" required>
      <button class="main" type="submit">Use it</button>
    </form>
  </section>
  <section hidden aria-labelledby="install-title">
    <h2 id="install-title">Install the partner's app</h2>
    <div class="row"><label for="who">As</label>
      <select id="who"><option value="">a new Ring account</option></select></div>
    <div class="row">
      <label><input id="twice" type="checkbox"> deliver the code twice</label>
      <label><input id="at_once" type="checkbox"> redirect at once</label>
      <label><input id="silent" type="checkbox"> do not deliver the code</label>
    </div>
    <div class="row"><button id="install-now" type="button">Install the app</button></div>
    <div id="continue"></div>
  </section>
  <section hidden aria-labelledby="clock-title">
    <h2 id="clock-title">Clock and faults</h2>
    <div class="row" role="group" aria-label="Move Ring's clock">
      <button type="button" data-advance="10000">+ 10 s</button>
      <button type="button" data-advance="60000">+ 1 min</button>
      <button type="button" data-advance="600000">+ 10 min</button>
      <button type="button" data-advance="14400000">+ 4 h</button>
      <button type="button" data-advance="2592000000">+ 30 days</button>
    </div>
    <div class="row">
      <label>Next <input id="fault-count" type="number" min="1" value="1"></label>
      <label>calls of <select id="fault-call"><option value="*">anything</option><option>token</option>
        <option>refresh</option><option>me</option><option>confirm</option><option>complete</option>
        <option>devices</option></select></label>
      <label>get <select id="fault-kind"><option>401</option><option>403</option><option>404</option>
        <option>429</option>
        <option>500</option><option>503</option><option value="drop-before">no answer, not done</option>
        <option value="drop-after">no answer, done</option><option value="slow">8 s delay</option>
        <option value="html">an HTML body</option><option value="truncated">truncated JSON</option>
        <option value="cut">a broken-off body</option></select></label>
      <label><input id="fault-after" type="checkbox"> after processing</label>
    </div>
    <div class="row"><button id="order-fault" type="button">Order the fault</button>
      <button id="reset-now" type="button">Reset everything</button></div>
  </section>
  <section id="accounts-part" class="full" hidden aria-labelledby="accounts-title">
    <h2 id="accounts-title">Ring accounts</h2>
    <p id="accounts-none" class="quiet">None yet: install the app.</p>
    <div id="accounts"></div>
  </section>
  <section class="full" hidden aria-labelledby="webhooks-title">
    <h2 id="webhooks-title">Webhooks</h2>
    <p id="webhooks-none" class="quiet">None yet: they begin when a link is completed and a webhook URL is set.</p>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="webhooks-title"><table>
      <thead><tr><th scope="col">Event</th><th scope="col">State</th><th scope="col">Answers</th>
        <th scope="col">Account</th></tr></thead>
      <tbody id="webhooks"></tbody></table></div>
  </section>
  <section class="full" hidden aria-labelledby="requests-title">
    <h2 id="requests-title">Requests</h2>
    <p id="requests-none" class="quiet">None yet.</p>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="requests-title"><table>
      <thead><tr><th scope="col">No.</th><th scope="col">Call</th><th scope="col">Answer</th>
        <th scope="col">Request</th><th scope="col">Fault</th></tr></thead>
      <tbody id="requests"></tbody></table></div>
  </section>
</main>
]]

local function digest(text)
  local base64 = core.base64url(core.sha256(text)):gsub("-", "+"):gsub("_", "/")
  return "'sha256-" .. base64 .. "='"
end

page.html = table.concat {
  '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Ring sandbox</title>\n',
  '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
  '<link rel="icon" href="data:,">\n<style>', style, "</style></head>\n<body>\n", BODY,
  "<script>", script, "</script>\n</body></html>\n",
}

page.headers = {
  ["Content-Type"] = "text/html; charset=utf-8",
  ["Cache-Control"] = "no-store",
  ["Referrer-Policy"] = "no-referrer",
  ["X-Content-Type-Options"] = "nosniff",
  ["X-Frame-Options"] = "DENY",
  ["Cross-Origin-Opener-Policy"] = "same-origin",
  ["Content-Security-Policy"] = "default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; "
    .. "form-action 'none'; frame-ancestors 'none'; script-src " .. digest(script) .. "; style-src " .. digest(style),
}

return page
