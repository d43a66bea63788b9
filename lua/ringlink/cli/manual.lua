--- What the shell takes: every command with its arguments, options, explanation and examples.
--
-- Nothing is done here. An example is a line for the shell that works as it stands, with the environment's
-- credentials, a store, and the files it names; the specs run each.

local core = require "ringlink.core"

local M = {}

M.description = "Links Ring accounts to your users, and keeps the links alive."

M.epilog = [[
Settings come from flags, else the environment, else the config file: --config,
or $XDG_CONFIG_HOME/ringlink/config, or ~/.config/ringlink/config, with lines
like `store = sqlite:PATH`. Each has one name: --api-url, RINGLINK_API_URL and
`api_url = ...` are the same. The app's own are RING_CLIENT_ID,
RING_CLIENT_SECRET and RING_HMAC_KEY. Secrets are no flags' values: a flag says
env:NAME or file:PATH. `ringlink doctor` shows what is set and where it comes
from.

Exit status: 0 done, 1 refused by Ring, 2 usage or settings, 3 network (later it
may work), 4 the user must link again, 5 this machine (store, hook, script), 130
interrupted.]]

local HOOKS = { "--hooks", arg = "FILE", text = "a Lua file that is given the client and sets its hooks." }
local INPUT = { "--input", arg = "FILE", text = "where it is read from; `-` is standard input." }

---@class ringlink.cli.Command
---@field name string
---@field summary string
---@field about string
---@field arguments table[]?
---@field options table[]?
---@field examples string[]
---@field without_client boolean?

---@type ringlink.cli.Command[]
M.commands = {
  { name = "exchange", summary = "Exchange an authorization code for an account's tokens",
    about = [[
Reads the code from --input, $RINGLINK_CODE, standard input or the terminal,
which does not show it: the code alone, an address with `?code=`, or JSON
{"code", "code_verifier", "redirect_uri"}.]],
    options = { INPUT, HOOKS },
    examples = { 'printf %s "$CODE" | ringlink exchange', "ringlink exchange --input code.txt --json" } },

  { name = "link", summary = "Link an exchanged account to one of your users",
    about = [[
Reads nonce and time from --input, standard input or the terminal, which does
not show them: the address that Ring sent the browser to, its query, or JSON
{"nonce", "time", "user", "account_identifier"}. Match, confirm, configure and
complete follow; repeating it goes on where it ended.]],
    options = {
      { "--user", arg = "ID", text = "your own id of the user." },
      { "--identifier", arg = "TEXT", text = "what the Ring user sees, masked: an e-mail address, say." },
      { "--unmasked", text = "send the identifier as it is." },
      { "--from", arg = "TEXT", text = "who asked, for the audit hook." },
      { "--wait", arg = "SECONDS", number = true, text = "wait for an exchange that is not done yet." },
      INPUT, HOOKS },
    examples = {
      "ringlink link --user 7 --identifier user@partner.example.com --input redirect.txt",
      'printf %s "$REDIRECT" | ringlink link --user 7 --wait 5 --hooks hooks.lua',
    } },

  { name = "accounts", summary = "List accounts and their states",
    about = [[
One line an account; with an id only that one: id, state (after a `+` that of a
newer grant), user, identifier, when it was linked and last refreshed (UTC). On
a terminal a header stands above; scripts take --json.]],
    arguments = { { "account", optional = true, text = "its id." } },
    options = {
      { "--state", arg = "STATE", choices = core.link_states, text = "only those in this state:" },
      { "--user", arg = "ID", text = "only those of your user." } },
    examples = { "ringlink accounts", "ringlink accounts --state completed --json",
      'ringlink accounts "$ACCOUNT"', "ringlink accounts --user 7" } },

  { name = "work", summary = "Do what is due: refreshes, unfinished links, stored webhooks",
    about = [[
Does everything that is due now, and tells when to come back; --watch goes on
until a signal.]],
    options = {
      { "--watch", text = "go on, waiting until something is due." },
      { "--limit", arg = "N", number = true, text = "at most so many of each kind at once (100)." }, HOOKS },
    examples = { "ringlink work", "ringlink work --hooks hooks.lua --json",
      "ringlink work --watch" } },

  { name = "refresh", summary = "Refresh an account's tokens",
    about = "Refreshes when it is time; --force does it now, also for one that must be linked again.",
    arguments = { { "account", text = "its id." } },
    options = { { "--force", text = "now, whatever the time." } },
    examples = { 'ringlink refresh "$ACCOUNT"', 'ringlink refresh "$ACCOUNT" --force --json' } },

  { name = "request", summary = "Make a call in a Ring user's name",
    about = "Prints the body as it came; with --json the status, headers and body in one object.",
    arguments = { { "method", text = "GET, POST, ..." },
      { "path", text = "begins with /; each segment percent-encoded." } },
    options = {
      { "--account", arg = "ID", required = true, text = "in whose name." },
      { "--query", arg = "NAME=VALUE", many = true, text = "a value of the query." },
      { "--header", arg = "'NAME: VALUE'", many = true, text = "a header line." },
      { "--data", arg = "FILE", text = "the body; `-` is standard input." },
      { "--output", arg = "FILE", text = "where the body goes." },
      { "--follow", text = "follow redirects, without the access token." },
      { "--retry", text = "repeat it after failures, although it is no GET or HEAD." } },
    examples = { 'ringlink request GET /v1/devices --account "$ACCOUNT" --query include=status',
      'ringlink request GET /v1/users/me --account "$ACCOUNT" --json',
      'ringlink request GET /v1/devices --account "$ACCOUNT" --output devices.json' } },

  { name = "webhook", summary = "Verify a webhook, or act on it",
    about = [[
Verifies the raw body in --input or standard input against its X-Signature, and
prints the event. With --process it is stored and acted on, and hooks run, once
however often it comes.]],
    options = {
      { "--signature", arg = "TEXT", required = true, text = "the header X-Signature, sha256=..." },
      { "--process", text = "store it and act on it." }, INPUT, HOOKS },
    examples = { 'ringlink webhook --signature "$SIGNATURE" --input body.json',
      'ringlink webhook --signature "$SIGNATURE" --process --hooks hooks.lua <body.json' } },

  { name = "forget", summary = "Forget an account, or all of a user's",
    about = [[
Wipes tokens, events and identifiers, and leaves a keyed hash so that nothing in
flight brings them back. Asks on a terminal; elsewhere --yes is needed.]],
    arguments = { { "account", optional = true, text = "its id." } },
    options = {
      { "--user", arg = "ID", text = "all accounts of this user of yours." },
      { "--notify", text = "first set Ring's status to awaiting." },
      { "--yes", text = "do not ask." } },
    examples = { 'ringlink forget "$ACCOUNT" --notify --yes', "ringlink forget --user 7 --yes --json" } },

  { name = "reseal", summary = "Seal the store under its newest key",
    about = "After a new store_key was put before the old one. Interrupted, it is simply called again.",
    examples = { "ringlink reseal" } },

  { name = "nonce", summary = "Compute the nonce Ring would sign", without_client = true,
    about = "Needs hmac_key only.",
    options = {
      { "--time", arg = "MS", required = true, text = "the redirect's time." },
      { "--account", arg = "ID", required = true, text = "the Account ID." } },
    examples = { "ringlink nonce --time 1760000000000 --account ava1.ring.account.EXAMPLE" } },

  { name = "mask", summary = "Mask identifiers as Ring shows them", without_client = true,
    about = "Those given, or each line of standard input.",
    arguments = { { "identifier", many = true, text = "an e-mail address, a phone number, a name." } },
    examples = { "ringlink mask user@partner.example.com", "ringlink mask <identifiers.txt" } },

  { name = "doctor", summary = "Check everything, and say what to do about it", without_client = true,
    about = [[
Shows every setting and where it comes from, and checks the installation, files,
credentials, the store, name resolution, TLS and the clock. The exit status is
that of the first thing that is wrong.]],
    options = { { "--offline", text = "make no connection." } },
    examples = { "ringlink doctor", "ringlink doctor --offline --json" } },

  { name = "run", summary = "Run a linking script, with a client ready",
    about = [[
The script is Lua; it begins with `local client, args, progress = ...` and runs
inside ringlink's loop, so that ringlink.spawn and ringlink.sleep work. What it
raises, or returns as `nil, err`, decides the exit status; a number that it
returns is one. progress(text) shows a line while it works.]],
    arguments = { { "script", text = "the file; what follows is the script's own." },
      { "args", many = true, text = "the script's arguments." } },
    examples = { "ringlink run script.lua", "ringlink run script.lua --its-own option" } },

  { name = "sandbox", summary = "Run a strict Ring on this machine", without_client = true,
    about = [[
Starts a Ring to try things with, on 127.0.0.1 only, and stops it at Ctrl-C. It
needs nginx with its Lua module. --save writes a config file for it, so that
`ringlink --config FILE ...` talks to it.]],
    options = {
      { "--port", arg = "N", number = true, text = "its port; free ones are found otherwise." },
      { "--tls", text = "with a throw-away certificate." },
      { "--save", arg = "FILE", text = "writes the settings that reach it, for --config." },
      { "--token-exchange-url", arg = "URL", text = "yours, on this machine." },
      { "--account-link-url", arg = "URL", text = "yours." },
      { "--webhook-url", arg = "URL", text = "yours." } },
    examples = { "ringlink sandbox --tls --save sandbox.conf" } },

  { name = "completion", summary = "Print a completion script for a shell", without_client = true,
    about = "For bash: put the line below into ~/.bashrc.",
    arguments = { { "shell", choices = { "bash", "zsh", "fish" }, text = "which one." } },
    examples = { "source <(ringlink completion bash)" } },
}

return M
