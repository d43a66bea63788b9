--- A person at a terminal: bash inside tmux, in the directory of a stage (support/cli.lua).
--
--   local t = terminal.open(stage)
--   t:type("ringlink exchange")  t:key("Enter")  t:wait_for("not shown")
--   t:paste(code)                            -- what nobody may read in a command line
--   terminal.close_all()

local children = require "support.child"
local shell = require "support.shell"

local M = {}

local Terminal = {}
Terminal.__index = Terminal

local opened = {}

local function tmux(self, words)
  return shell.run(("tmux -S %s/socket -f /dev/null %s"):format(self.directory, words))
end

--- Opens a terminal of 100 columns and waits for its prompt.
function M.open(stage)
  local self = setmetatable({ directory = shell.make_directory() }, Terminal)
  opened[#opened + 1] = self
  tmux(self, "new-session -d -s one -x 100 -y 40 " .. shell.quote(("cd %s && . ./environment && "
    .. "PS1='ready> ' exec bash --norc --noprofile -i"):format(stage.directory)))
  tmux(self, "pipe-pane -t one " .. shell.quote(("cat >>%s/output"):format(self.directory)))
  self:wait_for("^ready>")
  return self
end

--- Types text as it is.
function Terminal:type(text)
  tmux(self, "send-keys -t one -l " .. shell.quote(text))
end

--- Presses a key: "Enter", "C-c".
function Terminal:key(name)
  tmux(self, "send-keys -t one " .. name)
end

--- Types a line.
function Terminal:line(text)
  self:type(text)
  self:key("Enter")
end

--- Types text that must not be in any command line, and Enter.
function Terminal:paste(text)
  shell.write(self.directory .. "/input", text .. "\n")
  tmux(self, ("load-buffer %s/input"):format(self.directory))
  tmux(self, "paste-buffer -d -t one")
end

--- What is on the screen, without empty lines below.
function Terminal:screen()
  return (tmux(self, "capture-pane -p -J -t one"):gsub("%s+$", "\n"))
end

--- All that was ever written to the terminal, once a text is among it.
function Terminal:written(text)
  return children.wait_until(text .. " among what was written", function()
    local all = shell.succeeds("test -e " .. self.directory .. "/output") and shell.read(self.directory .. "/output")
    return all and all:find(text, 1, true) and all
  end)
end

--- Waits until the screen shows a pattern, and returns the screen.
function Terminal:wait_for(pattern)
  return children.wait_until(function() return pattern .. " on the screen:\n" .. self:screen() end, function()
    local screen = self:screen()
    return screen:find(pattern) and screen
  end)
end

--- Ends the terminals and whatever runs in them.
function M.close_all()
  for _, self in ipairs(opened) do
    tmux(self, "kill-server")
    shell.remove_directory(self.directory)
  end
  opened = {}
end

return M
