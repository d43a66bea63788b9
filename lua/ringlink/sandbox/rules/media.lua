--- Images, clips and live sessions (contract 10).
--
-- An image download answers 303 to a pre-signed address on the same port under another host name,
-- which refuses an Authorization header, as real pre-signed hosts do. Pure.

local core = require "ringlink.core"
local devices = require "ringlink.sandbox.rules.devices"
local reply = require "ringlink.sandbox.rules.reply"
local text = require "ringlink.sandbox.rules.text"

local media = {}

local SIGNED_LIFETIME_MS = 5 * 60 * 1000
local SDP = "application/sdp"
-- The smallest things that are what they say: a 1x1 GIF, an empty MP4.
local IMAGE = { "image/gif", "GIF89a\1\0\1\0\128\0\0\0\0\0\255\255\255,\0\0\0\0\1\0\1\0\0\2\2D\1\0;" }
local VIDEO_TYPE, VIDEO_HEAD = "video/mp4", "\0\0\0\24ftypisom\0\0\2\0isomiso2"
local VIDEO_REST = "\0\0\0\0free"                -- a box that goes on to the end
local EARLY_S = 5

local function find_online(ring, visit)
  local one, refused = devices.find(ring, visit)
  if not one then return nil, refused end
  if one.online then return one end
  return nil, reply.error(ring, 503, "Device Unavailable", "the device is offline")
end

-- As long as the variant says; each of its lines is another, so that a part of it tells where it was.
local function video(ring)
  local bytes = ring.variant.video_bytes
  if not ring.clip or #ring.clip[2] ~= bytes then
    local pieces = { VIDEO_HEAD, VIDEO_REST }
    for i = 1, math.ceil((bytes - #VIDEO_HEAD - #VIDEO_REST) / 16) do pieces[i + 2] = ("%015x\n"):format(i) end
    ring.clip = { VIDEO_TYPE, table.concat(pieces):sub(1, bytes) }
  end
  return ring.clip
end

local function presigned(ring, content, now_ms)
  local key = core.base64url(ring.random(24))
  ring.presigned[key] = { content = content, until_ms = now_ms + SIGNED_LIFETIME_MS }
  return reply.bytes(303, "text/plain", "", { Location = ring.settings.media_url .. "/media/" .. key })
end

-- POST /v1/devices/{id}/media/image/download
function media.image(ring, visit, now_ms)
  local one, refused = find_online(ring, visit)
  if not one then return refused end
  return presigned(ring, IMAGE, now_ms)
end

-- bytes=4-7, bytes=4- and bytes=-4 (RFC 9110 section 14.1.2); nil: nothing of it is there.
local function bounds(header, size)
  local first, last = header:match("^bytes=(%d*)%-(%d*)$")
  first, last = tonumber(first), tonumber(last)
  if not first and last and last > 0 then return math.max(size - last, 0), size - 1 end
  if not first or first >= size or (last and last < first) then return nil end
  return first, math.min(last or size - 1, size - 1)
end

local function ranged(ring, content, header)
  local bytes = content[2]
  local first, last = bounds(header, #bytes)
  if not first then
    local refusal = reply.error(ring, 416, "Range Not Satisfiable")
    refusal.headers["Content-Range"] = ("bytes */%d"):format(#bytes)
    return refusal
  end
  local range = ("bytes %d-%d/%d"):format(first, last, #bytes)
  return reply.bytes(206, content[1], bytes:sub(first + 1, last + 1), { ["Content-Range"] = range })
end

local function too_early(ring)
  local refusal = reply.error(ring, 425, "Too Early", "the recording is not ready yet")
  refusal.headers["Retry-After"] = ("%d"):format(EARLY_S)
  return refusal
end

-- POST /v1/devices/{id}/media/video/download
function media.video(ring, visit, now_ms)
  local one, refused = find_online(ring, visit)
  if not one then return refused end
  if ring.variant.video == "early" then return too_early(ring) end
  local clip, range = video(ring), visit.request.headers["range"]
  if ring.variant.video == "redirect" then return presigned(ring, clip, now_ms) end
  if range then return ranged(ring, clip, range) end
  return reply.bytes(200, clip[1], clip[2])
end

-- GET /media/{key}: the signature is in the URL, so any other credential is a mistake.
function media.fetch(ring, visit, now_ms)
  local signed = ring.presigned[visit.params.key]
  if visit.request.headers["authorization"] then
    return reply.bytes(400, "text/plain", "only one auth mechanism is allowed\n")
  end
  if not signed or now_ms > signed.until_ms then return reply.bytes(403, "text/plain", "expired or unknown\n") end
  local range = visit.request.headers["range"]
  if range then return ranged(ring, signed.content, range) end
  return reply.bytes(200, signed.content[1], signed.content[2])
end

-- The forms in which a server may name what it made (RFC 9110 section 10.2.2).
local LOCATIONS = {
  path = function(_, visit, session) return visit.request.path .. "/" .. session end,
  name = function(_, _, session) return "sessions/" .. session end,
  absolute = function(ring, visit, session)
    local scheme = ring.settings.media_url:match("^%a+")
    return ("%s://%s%s/%s"):format(scheme, visit.request.headers.host, visit.request.path, session)
  end,
  elsewhere = function(ring, visit, session) return ring.settings.media_url .. visit.request.path .. "/" .. session end,
}

-- POST /v1/devices/{id}/media/streaming/whep/sessions
function media.whep_open(ring, visit)
  local one, refused = find_online(ring, visit)
  if not one then return refused end
  if text.media_type(visit.request.headers["content-type"]) ~= SDP then
    return reply.error(ring, 415, "Unsupported Media Type", "the body must be " .. SDP)
  end
  local session = ring:uuid()
  ring.sessions[session] = visit.grant
  local location = LOCATIONS[ring.variant.whep_location](ring, visit, session)
  return reply.bytes(201, SDP, "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", { Location = location })
end

-- DELETE /v1/devices/{id}/media/streaming/whep/sessions/{session}
function media.whep_close(ring, visit)
  local one, refused = devices.find(ring, visit)
  if not one then return refused end
  if ring.sessions[visit.params.session] ~= visit.grant then
    return reply.error(ring, 404, "Not Found", "no such session")
  end
  ring.sessions[visit.params.session] = nil
  return reply.bytes(204, SDP, "")
end

return media
