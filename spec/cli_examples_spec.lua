-- Every example in the help of `ringlink`, and in the README's section about it, is run as it stands.

local children = require "support.child"
local cli = require "support.cli"
local config = require "ringlink.cli.config"
local core = require "ringlink.core"
local json = require "ringlink.json"
local manual = require "ringlink.cli.manual"
local planted = require "support.planted"
local readme = require "support.readme"
local world = require "support.world"

-- These go on until Ctrl-C: what they say first, and how they end then.
local ENDLESS = {
  ["ringlink work --watch"] = { says = "^nothing was due", status = 130 },
  ["ringlink sandbox --tls --save sandbox.conf"] = { says = "^api_url .*\n.*Ctrl%-C\n", status = 0 },
}
local SILENT = { ['ringlink request GET /v1/devices --account "$ACCOUNT" --output devices.json'] = true,
  ["source <(ringlink completion bash)"] = true }

local HOOKS = "local client = ...\nclient:on('configure', function(link) return link.user == '7' end)\n"
local SCRIPT = "local client, args = ...\n"
  .. "for account in client:accounts {} do print(account.id) end\nprint(#args, 'arguments')\n"

describe("the examples of ringlink --help #network #ownstore", function()
  local w, stage

  local function put_webhook(account)
    local body = json.encode { meta = { version = "1.1", time = os.date("!%Y-%m-%dT%H:%M:%SZ"), request_id = "r-1",
      account_id = account }, data = { id = "d-1", type = "motion_detected" } }
    stage:write("body.json", body)
    return core.hmac_key({ planted.hmac_key }):sign(body)
  end

  -- An account linked without an identifier, one to be linked, a code to be exchanged, and all files that an
  -- example names. The examples follow each other in the order of the help: what is forgotten is forgotten last.
  setup(function()
    w = world.start { limits = { per_s = false } }
    stage = cli.stage(cli.settings(w))
    local linked, waiting, fresh = stage:exchanged(w), stage:exchanged(w), w:install()
    assert.equal(0, stage:run({ "link", "--user", "7", input = cli.redirect_text(linked) }).status)
    stage:write("code.txt", fresh.code .. "\n")
    stage:write("redirect.txt", cli.redirect_text(waiting) .. "\n")
    stage:write("identifiers.txt", "user@partner.example.com\n")
    stage:write("hooks.lua", HOOKS)
    stage:write("script.lua", SCRIPT)
    stage:set { ACCOUNT = linked.account, CODE = fresh.code, REDIRECT = cli.redirect_text(waiting),
      SIGNATURE = put_webhook(linked.account) }
  end)
  after_each(children.stop_all)
  teardown(function()
    cli.stop_all()
    w:stop()
  end)

  local function run_endless(line, expected)
    local child = stage:start(line)
    children.wait_until(child:about("its first words"), function() return child:output():find(expected.says) end)
    child:signal("INT")
    assert.equal(expected.status, (child:wait()))
  end

  local function run(line)
    if ENDLESS[line] then return run_endless(line, ENDLESS[line]) end
    local done = stage:shell(line)
    assert.equal(0, done.status, done.said)
    assert.equal("", done.err)
    assert.equal(SILENT[line] == nil, #done.out > 0, "what it says")
  end

  for _, command in ipairs(manual.commands) do
    for _, line in ipairs(command.examples) do
      it("work: " .. line, function() run(line) end)
    end
  end

  local section = readme.text():match("\n## The shell\n(.-)\n## ")

  it("go with the README's script, which runs", function()
    local text = section:match("```lua\n(.-)```")
    local account = stage:linked(w)
    stage:write("readme.lua", text)
    local done = stage:run { "run", "readme.lua" }
    assert.same({ 0, account .. "\t2\n", "" }, { done.status, done.out, done.err })
  end)

  it("go with the README's config file, which is one", function()
    local found = assert(config.parse(section:match("```\n(#.-)```")))
    assert.same({ "file:/etc/ringlink/key" }, found.store_key.values)
  end)

  it("are those of the README", function()
    local known, count = {}, 0
    for _, command in ipairs(manual.commands) do
      for _, line in ipairs(command.examples) do known[line] = true end
    end
    for block in section:gmatch("```sh\n(.-)```") do
      for line in block:gmatch("[^\n]+") do
        line = line:gsub("%s+#.*$", "")
        if line:find("ringlink", 1, true) then
          assert.is_true(known[line], "an example of the README that no help has: " .. line)
          count = count + 1
        end
      end
    end
    assert.is_true(count > 10)
  end)
end)
