-- Unlinks and forgets: one account, or all that a user of yours has.
--
--   ringlink run forget.lua ACCOUNT [--yes]
--   ringlink run forget.lua --user 7 [--yes]
--
-- Ring is told first that the link is paused, so that it sends nothing any more; then tokens, identifiers and
-- events are wiped here. Only the user can take the app out of the Ring app: the last line tells them.
-- When Ring cannot be told, nothing is wiped, and it may be run again; --offline wipes all the same.

local client, args, progress = ...
local argparse = require "argparse"
local input = require "ringlink.cli.input"
local json = require "ringlink.json"

local parser = argparse("ringlink run forget.lua", "Unlinks and forgets an account, or all of a user's.")
parser:mutex(parser:argument("account", "Its id."):args("?"), parser:option("--user", "Your own id of the user."))
parser:flag("--yes", "Do not ask.")
parser:flag("--offline", "Do not tell Ring.")
local good, given = parser:pparse(args)
if good and not (given.account or given.user) then good, given = false, "name an account, or a user" end
if not good then
  io.stderr:write(parser:get_usage(), "\n", given, "\n")
  return 2
end

local accounts = {}
if given.account then
  accounts[1] = client:account(given.account)
else
  for account in client:accounts { user = given.user } do accounts[#accounts + 1] = account end
end

-- What is held about them, without any secret: to be looked at, or handed to whoever asked for it.
for _, account in ipairs(accounts) do
  local held, err = account:export()
  if not held then return nil, err end
  print(json.encode(held))
end

if accounts[1] and not given.yes then
  if not input.is_interactive() then
    io.stderr:write("nobody can be asked: say --yes\n")
    return 2
  end
  local answer, err = input.ask(("Forget %d for good? (yes/no) "):format(#accounts), true)
  if not answer then return nil, err end
  if answer ~= "yes" then return 2 end
end

-- not_found: somebody else was faster.
for i, account in ipairs(accounts) do
  progress(("%d of %d"):format(i, #accounts))
  local done, err = account:forget { notify = not given.offline }
  if not done and err.code ~= "not_found" then return nil, err end
end
if given.user then assert(client:forget_user(given.user)) end    -- what they have begun beside another's link
print(("%d forgotten; the app itself goes when its user removes it in the Ring app"):format(#accounts))
