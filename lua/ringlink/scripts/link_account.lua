-- Links one account, and shows how far it is.
--
--   ringlink run link_account.lua [--input FILE]
--
-- The input, a file or standard input, is JSON: what the browser brought to your Account Link URL, and who is
-- signed in there. With the code that came to your Token Exchange URL, that is exchanged first; the code alone
-- is exchanged, and the link waits for the rest.
--
--   {"nonce": "...", "time": "1760000000000", "user": "7", "identifier": "user@partner.example.com"}
--   {"code": "..."}
--
-- Run again with the same input it does nothing twice, and goes on where it was interrupted.

local client, args, progress = ...
local argparse = require "argparse"
local json = require "ringlink.json"

local parser = argparse("ringlink run link_account.lua", "Links one account.")
parser:option("--input", "Where the JSON is; `-` is standard input.", "-"):argname("FILE")
local good, given = parser:pparse(args)
if not good then
  io.stderr:write(parser:get_usage(), "\n", given, "\n")
  return 2
end

local file = given.input == "-" and io.stdin or assert(io.open(given.input, "rb"))
local wanted = json.decode_table(file:read("*a"))
if not wanted then
  io.stderr:write("the input is no JSON object: nonce, time, user and identifier, or code\n")
  return 2
end

-- Each is told once it is stored. progress() shows a line on terminals, and nothing in pipes.
client:on("exchanged", function(account) progress("exchanged: " .. account.id) end)
client:on("matched", function(link) progress("matched: " .. link.account.id) end)
client:on("awaiting", function() progress("Ring has confirmed it") end)

-- Your own part goes here, between Ring's confirmation and the completion. It may run again after a crash: do it
-- so that twice is as good as once. `return false, reason` stops the link until the next run.
client:on("configure", function(link)
  progress("configuring user " .. link.user)
  return true
end)

if wanted.code then
  local account, err = client:exchange(wanted.code)
  if not account then return nil, err end
  if not wanted.nonce then return print(account.id, account:state()) end
end

-- wait_s: the user may come here before another process of yours has exchanged the code.
local link, err = client:link { nonce = wanted.nonce, time = wanted.time, user = wanted.user,
  account_identifier = wanted.identifier, wait_s = wanted.code and 0 or 10 }
if not link then return nil, err end
print(link.account.id, link.status)
