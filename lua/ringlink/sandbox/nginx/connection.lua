--- Closing the connection of the present request without an answer.
--
-- HTTP/1: nginx's own 444. HTTP/2: 444 would only reset the stream, while a kept connection that
-- dies takes all its streams along; so its socket is shut down underneath nginx, which then sees
-- the end of the connection and cleans up. The socket is found by its two ports.
-- luacheck: globals ngx

local ffi = require "ffi"

local connection = {}

local DESCRIPTORS_MAX = 1024
local AF_INET = 2
local SHUT_RDWR = 2

ffi.cdef [[
  struct ringlink_sockaddr_in { uint16_t family; uint16_t port; uint8_t rest[124]; };
  int getpeername(int, struct ringlink_sockaddr_in *, unsigned int *);
  int getsockname(int, struct ringlink_sockaddr_in *, unsigned int *);
  int shutdown(int, int);
]]

local function port_of(call, descriptor)
  local address = ffi.new "struct ringlink_sockaddr_in"
  local length = ffi.new("unsigned int[1]", ffi.sizeof(address))
  if call(descriptor, address, length) ~= 0 or address.family ~= AF_INET then return nil end
  local network = ffi.cast("uint8_t *", ffi.cast("void *", address)) + 2
  return network[0] * 256 + network[1]
end

local function find(remote_port, local_port)
  for descriptor = 3, DESCRIPTORS_MAX do
    if port_of(ffi.C.getpeername, descriptor) == remote_port
        and port_of(ffi.C.getsockname, descriptor) == local_port then
      return descriptor
    end
  end
  return nil
end

--- Shuts the socket of the present request's connection down.
function connection.shut()
  local descriptor = find(tonumber(ngx.var.remote_port), tonumber(ngx.var.server_port))
  if descriptor then ffi.C.shutdown(descriptor, SHUT_RDWR) end
end

--- Ends the request and its connection; does not return.
function connection.drop()
  if ngx.req.http_version() == 2 then connection.shut() end
  return ngx.exit(444)
end

return connection
