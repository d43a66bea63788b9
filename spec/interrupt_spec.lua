-- Signals in a plain process: a refresh that has begun is stored before the process may go.

local children = require "support.child"
local world = require "support.world"

describe("a process that is interrupted #network #ownstore", function()
  local w, install

  setup(function() w = world.start { limits = { per_s = false } } end)
  teardown(function() w:stop() end)
  before_each(function()
    w:reset()
    install = w:install()
  end)
  after_each(children.stop_all)

  local function start(mode)
    return children.start("spec/support/client_child.lua",
      { mode, w.ring.api_url, w.ring.ca_file, input = { install.code, install.nonce, install.time } })
  end

  -- Waits until a call has reached Ring and, with `processed`, been done there.
  local function wait_for_call(call, processed)
    children.wait_until(call .. " at Ring", function()
      local row = w:journal(call)[1]
      return row and (row.processed or not processed)
    end)
  end

  local function assert_new_token_in_use()
    local refreshes, devices = w:journal("refresh"), w:journal("devices")
    assert.equal(1, #refreshes)
    assert.equal(1, #devices)
    assert.equal(200, devices[1].status)
    assert.equal(w:state().integrations[1].access_token, devices[1].bearer)
  end

  for _, mode in ipairs { "refresh", "refresh_in_task" } do
    it("by SIGINT in a " .. mode .. " has the new pair and goes on with it", function()
      w:fault { call = "refresh", delay_ms = 300, after = true }
      local child = start(mode)
      wait_for_call("refresh", true)
      child:signal("INT")
      local status, said = child:wait()
      assert.equal("refreshing\nstored\ninterrupted!\nnew token\n2 devices\nend\n", said)
      assert.equal(0, status)
      assert_new_token_in_use()
    end)
  end

  it("by SIGINT while another process has the lease stops waiting for it, and refreshes later", function()
    local child = start("leased")
    child:wait_for("waiting")
    child:signal("INT")
    local status, said = child:wait()
    assert.equal("waiting\ninterrupted!\nstored\nnew token\nend\n", said)
    assert.equal(0, status)
    assert.equal(1, w:count("refresh"))
  end)

  it("by SIGTERM while another process has the lease ends at once", function()
    local child = start("leased")
    child:wait_for("waiting")
    child:signal("TERM")
    local status, said = child:wait()
    assert.equal("waiting\n", said)
    assert.equal(128 + 15, status)
    assert.equal(0, w:count("refresh"))
  end)

  it("by SIGINT before Ring has the refresh waits for it too", function()
    w:fault { call = "refresh", delay_ms = 300 }
    local child = start("refresh")
    wait_for_call("refresh")
    child:signal("INT")
    local _, said = child:wait()
    assert.equal("refreshing\nstored\ninterrupted!\nnew token\n2 devices\nend\n", said)
    assert_new_token_in_use()
  end)

  it("by SIGTERM in a refresh ends by it, once the new pair is stored", function()
    w:fault { call = "refresh", delay_ms = 300, after = true }
    local child = start("refresh")
    wait_for_call("refresh", true)
    child:signal("TERM")
    local status, said = child:wait()
    assert.equal("refreshing\nstored\n", said)
    assert.equal(128 + 15, status)
    assert.equal(200, w:journal("refresh")[1].status)
  end)

  for _, mode in ipairs { "get", "get_in_task" } do
    it("by SIGINT while it waits for an answer stops waiting in a " .. mode, function()
      w:fault { call = "devices", delay_ms = 60000 }
      local child = start(mode)
      wait_for_call("devices")
      child:signal("INT")
      local status, said = child:wait()
      assert.equal("asking\ninterrupted!\ncompleted\nend\n", said)
      assert.equal(0, status)
      assert.is_nil(w:journal("devices")[1].status)
    end)
  end

  it("by SIGINT while the partner configures can take the link up again", function()
    local child = start("link_in_task")
    child:wait_for("configuring")
    child:signal("INT")
    local status, said = child:wait()
    assert.equal("configuring\ninterrupted!\ncompleted\nend\n", said)
    assert.equal(0, status)
    assert.equal(1, w:count("confirm"))
  end)

  it("by SIGTERM while it waits for an answer ends at once", function()
    w:fault { call = "devices", delay_ms = 60000 }
    local child = start("get")
    wait_for_call("devices")
    child:signal("TERM")
    local status, said = child:wait()
    assert.equal("asking\n", said)
    assert.equal(128 + 15, status)
    assert.is_nil(w:journal("devices")[1].status)
  end)

  it("by SIGINT between two attempts stops waiting", function()
    w:fault { call = "devices", status = 503, retry_after = 30 }
    local child = start("get")
    children.wait_until("a first answer", function()
      local row = w:journal("devices")[1]
      return row and row.status
    end)
    child:signal("INT")
    local status, said = child:wait()
    assert.equal("asking\ninterrupted!\ncompleted\nend\n", said)
    assert.equal(0, status)
    assert.equal(1, w:count("devices"))
  end)
end)
