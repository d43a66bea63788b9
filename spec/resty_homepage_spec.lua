--- The homepage as a handler: one's own links, and nobody else's.
local answers = require "support.answers"
local core = require "ringlink.core"
local grants = require "ringlink.grants"
local homepage = require "ringlink.resty.homepage"
local offline = require "support.offline"
local visits = require "support.visits"

describe("the App Homepage URL", function()
  local app, ring, user, options, tab
  before_each(function()
    app = visits.app()
    ring = answers.serve(app.client)
    user = { id = "user-1", identifier = "user@partner.example.com" }
    options = { label = "Demo", authenticate = function()
      if user then return user end
      return nil, "/sign-in"
    end }
    tab = visits.browser(app, homepage, options, "/ring/home")
  end)

  local function grant(state, account, owner)
    return offline.grant(app.client, { account = account or "ring-1", state = state, user = owner or "user-1" })
  end

  local function field_of(page, operation)
    local token = page.body:match('name="csrf" value="([^"]*)">\n<input type="hidden" name="do" value="' .. operation
      .. '"')
    return { csrf = token, ["do"] = operation }
  end

  local function do_it(operation)
    return tab:post(field_of(tab:get(), operation))
  end

  it("shows what is linked and what is not", function()
    assert.equal("Ring is not connected", visits.heading(tab:get()))
    grant("completed")
    local page = tab:get()
    assert.equal(200, page.status)
    assert.truthy(page.body:find(">Connected<", 1, true))
    assert.equal("no-store", page.headers["Cache-Control"])
  end)

  it("sends whoever is not signed in to the sign-in", function()
    user = nil
    assert.equal("/sign-in", tab:get().headers.Location)
    assert.equal("/sign-in", tab:post({ csrf = "x", ["do"] = "pause" }).headers.Location)
  end)

  it("pauses and resumes", function()
    local key = grant("completed")
    assert.equal(303, do_it("pause").status)
    assert.equal(1, ring:count("pause"))
    assert.equal("awaiting", app.client.store:get(key).state)
    assert.truthy(tab:get().body:find(">Paused<", 1, true))
    assert.equal(303, do_it("resume").status)
    assert.equal("completed", app.client.store:get(key).state)
    assert.equal("/ring/home", do_it("pause").headers.Location)
  end)

  it("does not take its user's word for what this service has to set up", function()
    local key = grant("completed")
    local resume = field_of(tab:get(), "pause")
    resume["do"] = "resume"
    grants.update(app.client, key, function()            -- as after a step that said later
      return { state = "awaiting", flags = core.link_flags.confirmed, stopped = "provision" }
    end)
    assert.truthy(tab:get().body:find(">Being set up<", 1, true))
    assert.equal(400, tab:post(resume).status)
    assert.equal("awaiting", app.client.store:get(key).state)
    assert.equal(0, ring:count("complete"))
  end)

  it("does not let one user use up the partner's rate at Ring", function()
    grant("completed")
    options.limits = { act = { each = { count = 2, window_s = 10 } } }
    local token = field_of(tab:get(), "pause").csrf
    local function pause() return tab:post({ csrf = token, ["do"] = "pause" }) end
    pause() pause()
    assert.equal("Too many tries", visits.heading(pause()))
    assert.equal(429, pause().status)
    assert.equal(2, ring:count("pause"))
    app.client.clock.advance(10000)
    assert.equal(303, pause().status)
  end)

  it("forgets after asking once more", function()
    local key = grant("completed")
    local asked = do_it("forget")
    assert.equal("Disconnect Ring?", visits.heading(asked))
    assert.truthy(app.client.store:get(key))
    assert.equal(303, tab:post(field_of(asked, "forget_now")).status)
    assert.is_nil(app.client.store:get(key))
    assert.equal(1, ring:count("pause"), "Ring is told first")
    assert.equal("Ring is not connected", visits.heading(tab:get()))
  end)

  it("shows and does nothing about somebody else's link", function()
    local key = grant("completed", "ring-2", "user-2")
    assert.equal("Ring is not connected", visits.heading(tab:get()))
    user = { id = "user-2" }
    local theirs = field_of(tab:get(), "forget")
    theirs["do"] = "forget_now"
    user = { id = "user-1" }
    grant("completed")
    assert.equal(403, tab:post(theirs).status)
    assert.truthy(app.client.store:get(key))
  end)

  it("acts on the very link whose button was pressed", function()
    local keys = { grant("completed", "ring-1"), grant("completed", "ring-2") }
    local page, tokens = tab:get(), {}
    for token in page.body:gmatch('name="csrf" value="([^"]*)">\n<input type="hidden" name="do" value="pause"') do
      tokens[#tokens + 1] = token
    end
    tab:post({ csrf = tokens[2], ["do"] = "pause" })
    tab:post({ csrf = tokens[2], ["do"] = "pause" })
    local paused = 0
    for _, key in ipairs(keys) do paused = paused + (app.client.store:get(key).state == "awaiting" and 1 or 0) end
    assert.equal(1, paused)
    tab:post({ csrf = tokens[1], ["do"] = "pause" })
    for _, key in ipairs(keys) do assert.equal("awaiting", app.client.store:get(key).state) end
  end)

  it("does nothing for a forged form", function()
    local key = grant("completed")
    local good = field_of(tab:get(), "pause")
    for _, fields in ipairs { {}, { ["do"] = "pause" }, { csrf = "x", ["do"] = "pause" },
      { csrf = good.csrf:sub(1, -2), ["do"] = "pause" } } do
      assert.equal(403, tab:post(fields).status)
    end
    assert.equal(403, tab:post(good, { ["Sec-Fetch-Site"] = "cross-site" }).status)
    good["do"] = "explode"
    assert.equal(400, tab:post(good).status)
    assert.equal("completed", app.client.store:get(key).state)
    assert.same({}, ring.calls)
  end)

  it("says when it did not work, and shows how things stand", function()
    grant("completed")
    app.client.options.max_attempts = 1
    ring.on.pause = function() return { error = "connect", sent = false } end
    local page = do_it("pause")
    assert.equal(503, page.status)
    assert.truthy(page.body:find('role="alert"', 1, true))
    assert.truthy(page.body:find(">Connected<", 1, true))
  end)

  it("shows a link that has to be made anew, and one that is not finished", function()
    grant("relink", "ring-1")
    grant("matched", "ring-2")
    local page = tab:get()
    assert.truthy(page.body:find(">Needs your attention<", 1, true) and page.body:find(">Being set up<", 1, true))
  end)

  it("takes GET, HEAD and POST", function()
    assert.equal(200, tab:send({ method = "HEAD" }).status)
    assert.equal(405, tab:send({ method = "DELETE" }).status)
  end)
end)
