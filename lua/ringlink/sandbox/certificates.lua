--- A throw-away CA and a server certificate, made by the openssl command at each start.
--
-- Kinds: "ok" (localhost and 127.0.0.1) · "wrong_name" (another name) · "expired" · "untrusted" (signed
-- by a CA other than the one in ca.pem). Keys lie under the instance's 0700 directory and go with it;
-- the CA's key is removed as soon as the certificate is signed.

local process = require "ringlink.sandbox.process"

local certificates = {}

local CONFIG = [[
[req]
distinguished_name = name
prompt = no
[name]
CN = ringlink sandbox
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = %s
]]

local NAMES = {
  ok = "DNS:localhost, IP:127.0.0.1", wrong_name = "DNS:wrong.name.example",
  expired = "DNS:localhost, IP:127.0.0.1", untrusted = "DNS:localhost, IP:127.0.0.1",
}

local function key(path)
  return process.line("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
end

local function authority(directory, name)
  local base = directory .. "/" .. name
  return key(base .. ".key") .. " && " .. process.line("openssl", "req", "-x509", "-new", "-sha256", "-days", "7",
    "-key", base .. ".key", "-out", base .. ".pem", "-config", directory .. "/openssl.cnf", "-extensions", "ca",
    "-subj", "/CN=ringlink sandbox " .. name)
end

local function server(directory, signer, days)
  local base = directory .. "/server"
  local signer_base = directory .. "/" .. signer
  return table.concat({
    key(base .. ".key"),
    process.line("openssl", "req", "-new", "-key", base .. ".key", "-out", base .. ".csr",
      "-config", directory .. "/openssl.cnf"),
    process.line("openssl", "x509", "-req", "-sha256", "-days", days, "-in", base .. ".csr", "-out", base .. ".pem",
      "-CA", signer_base .. ".pem", "-CAkey", signer_base .. ".key", "-set_serial", "2",
      "-extfile", directory .. "/openssl.cnf", "-extensions", "server"),
  }, " && ")
end

---@param kind any
---@return boolean
function certificates.known(kind)
  return NAMES[kind] ~= nil
end

--- Makes the certificates.
---@param directory string exists, private
---@param kind "ok"|"wrong_name"|"expired"|"untrusted"
---@return table|nil files `{ca, certificate, key}`
---@return string|nil problem
function certificates.make(directory, kind)
  local ok, problem = process.write(directory .. "/openssl.cnf", CONFIG:format(NAMES[kind]))
  if not ok then return nil, problem end
  local signer = kind == "untrusted" and "other" or "ca"
  local commands = { authority(directory, "ca"), server(directory, signer, kind == "expired" and "-1" or "7") }
  if signer == "other" then table.insert(commands, 2, authority(directory, "other")) end
  ok, problem = process.run("umask 077 && " .. table.concat(commands, " && "))
  if not ok then return nil, "openssl failed: " .. problem end
  os.remove(directory .. "/ca.key")
  os.remove(directory .. "/other.key")
  return { ca = directory .. "/ca.pem", certificate = directory .. "/server.pem", key = directory .. "/server.key" }
end

return certificates
