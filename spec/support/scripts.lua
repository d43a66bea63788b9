--- What the ready scripts need: themselves, and a partner's earlier code with tokens of its own.
--
--   local earlier = scripts.earlier(w)
--   local line = earlier:linked("7")         -- { account, user, refresh_token }: linked without ringlink's store
--   stage:run(scripts.words("migrate", "tokens.jsonl"))

local shell = require "support.shell"

local M = {}

local Earlier = {}
Earlier.__index = Earlier

local HERE = shell.here()

--- The words of `ringlink run SCRIPT ...`.
---@param name string
function M.words(name, ...)
  return { "run", ("%s/lua/ringlink/scripts/%s.lua"):format(HERE, name), ... }
end

--- Code that obtains tokens and keeps them to itself: a client whose store dies with it.
function M.earlier(w)
  return setmetatable({ w = w, client = w:client { store = "memory" } }, Earlier)
end

local function line_of(self, account, user)
  local entry = assert(self.client:account(account.id):grant())
  return { account = account.id, user = user,
    refresh_token = self.client.vault:open(entry.key, "refresh", entry.row.refresh) }
end

--- A linked account, as a line of the file.
function Earlier:linked(user)
  return line_of(self, self.w:linked(self.client, user).account, user)
end

--- One whose user never came to sign in; and their install.
function Earlier:unclaimed(user)
  local account, install = self.w:unclaimed(self.client)
  return line_of(self, account, user), install
end

return M
