-- Answers that are lost after the request was read (design "Ambiguity"): a kept connection that dies,
-- a 429 or 5xx that hides what was done. Nothing is sent but by an attempt of ringlink's own, the
-- error says that the outcome is open, and the link ends right.

local world = require "support.world"

for _, http in ipairs { "HTTP/1.1", "HTTP/2" } do
  local w

  describe(("kept connection closed, %s #network"):format(http), function()
    local client, clock

    setup(function() w = world.start { http2 = http == "HTTP/2" } end)
    teardown(function() w:stop() end)
    before_each(function()
      w:reset()
      client, clock = w:quick_client()
      w:linked(client)                       -- the connection is warm from here on
      clock.advance(1000)
    end)

    -- Each step is met alone: what it takes to get there, what is called, what it is called in
    -- errors, and in the journal.
    local STEPS = {
      {
        call = "token", stage = "exchange",
        prepare = function(self)
          self.install = w:install()
          self.account = client:account(self.install.account)
        end,
        act = function(self) return client:exchange(self.install.code) end,
        state = "unclaimed",
      },
      {
        call = "confirm", stage = "confirm",
        prepare = function(self)
          self.account, self.install = w:unclaimed(client)
          self.claim = assert(client:match { nonce = self.install.nonce, time = self.install.time })
        end,
        act = function(self)
          return client:confirm(self.claim, { user = "user-1", account_identifier = "user@partner.example.com" })
        end,
        state = "awaiting",
      },
      {
        call = "complete", stage = "complete",
        prepare = function(self)
          self.account, self.install = w:unclaimed(client)
          local claim = assert(client:match { nonce = self.install.nonce, time = self.install.time })
          assert(client:confirm(claim, { user = "user-1" }))
        end,
        act = function(self) return client:complete(self.account) end,
        state = "completed",
      },
    }

    -- The journal since `from`, of one call.
    local function since(from, call)
      local rows = {}
      for _, row in ipairs(w:journal(call)) do
        if row.n > from then rows[#rows + 1] = row end
      end
      return rows
    end

    local function meet(step, drop, count)
      local self = {}
      step.prepare(self)
      self.from = w:state().requests
      self.warm = w:journal()[self.from].connection
      w:fault { call = step.call, drop = drop, count = count }
      self.attempts = w:attempts(client, step.stage)
      self.value, self.err = step.act(self)
      self.rows = since(self.from, step.call)
      return self
    end

    for _, step in ipairs(STEPS) do
      for _, drop in ipairs { "before", "after" } do
        it(("%s, lost %s processing: one request an attempt, and the first went over the warm connection")
          :format(step.call, drop), function()
          local met = meet(step, drop)
          assert.equal(2, #met.rows)
          assert.equal(2, met.attempts.n)
          assert.equal(met.warm, met.rows[1].connection)
          assert.not_equal(met.warm, met.rows[2].connection)
          assert.equal(drop == "after", met.rows[1].processed)
          assert.is_true(met.rows[1].dropped)
          if step.call == "token" and drop == "after" then
            assert.equal("exchange_outcome_unknown", met.err.code)
            assert.is_true(met.err.ambiguous)
          else
            assert.is_nil(met.err)
            assert.equal(step.state, met.account:state())
          end
        end)
      end

      it(("%s, lost every time: ambiguous is told, and the requests are as many as the attempts")
        :format(step.call), function()
        local met = meet(step, "before", "always")
        assert.is_nil(met.value)
        assert.equal("network", met.err.code)
        assert.equal(step.stage, met.err.stage)
        assert.is_true(met.err.ambiguous)
        assert.is_true(met.err.retryable)
        assert.equal(met.attempts.n, #met.rows)
        assert.equal(met.attempts.n, met.err.attempts)
        assert.equal(step.call == "token" and 2 or 5, #met.rows)
      end)

      it(("%s, not one attempt more than max_attempts = 1 allows"):format(step.call), function()
        client, clock = w:quick_client { max_attempts = 1 }
        w:linked(client)
        clock.advance(1000)
        local met = meet(step, "after")
        assert.is_nil(met.value)
        assert.equal("network", met.err.code)
        assert.is_true(met.err.ambiguous)
        assert.equal(1, #met.rows)
        assert.equal(met.warm, met.rows[1].connection)
      end)
    end

    it("the whole link ends right with the POST's and the PATCH's answer lost", function()
      local _, install = w:unclaimed(client)
      w:fault { call = "confirm", drop = "after" }
      w:fault { call = "complete", drop = "after" }
      local link = assert(client:link(w.redirect_of(install)))
      assert.equal("completed", link.status)
      assert.equal("completed", w:status(install.account))
      assert.is_table(link.account:get("/v1/devices"))
    end)
  end)
end
