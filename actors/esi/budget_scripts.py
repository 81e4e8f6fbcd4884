"""The Redis scripts of the budget: each runs atomically and uses the clock of Redis."""

from typing import Final

_SPENT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)

-- Members: "way:5:id" (in flight), "spent:2:id" or "others:7:id"; score: when they expire.
-- Returns the tokens that are spent, and those when each request in flight costs what is usual.
local function spent(usual)
  local entries = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  local total, likely, in_flight, parts = 0, 0, 0, {}
  for i = 1, #entries, 2 do
    local kind, tokens = string.match(entries[i], '^(%a+):(%d+):')
    tokens = tonumber(tokens)
    total = total + tokens
    parts[#parts + 1] = {tokens, tonumber(entries[i + 1])}
    if kind == 'way' then
      in_flight = in_flight + 1
      tokens = usual
    end
    likely = likely + tokens
  end
  return total, likely, in_flight, parts
end
"""

RESERVE: Final = (
    _SPENT
    + """
local id, tokens, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local hold, soon, usual = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local longest, paused = 0, 0
for i = 3, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left > longest then longest, paused = left, i - 2 end
end
if paused > 0 then return {longest, paused, redis.call('GET', KEYS[paused + 2])} end
if tokens == 0 then return {0, 0, ''} end

local total, likely, in_flight, parts = spent(usual)
local missing = total + tokens - limit
local is_soon = missing > 0 and likely + tokens <= limit
if in_flight > 0 and (is_soon or redis.call('EXISTS', KEYS[2]) == 0) then
  return {soon, 0, ''}
end
for _, part in ipairs(parts) do
  if missing <= 0 then break end
  missing = missing - part[1]
  if missing <= 0 then return {math.max(part[2] - now, 1), 0, ''} end
end
redis.call('ZADD', KEYS[1], now + hold, 'way:' .. tokens .. ':' .. id)
redis.call('PEXPIRE', KEYS[1], hold)
return {0, 0, ''}
"""
)

CHARGE: Final = (
    _SPENT
    + """
local id, reserved, tokens, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local window, remaining, usual = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local known = redis.call('ZREM', KEYS[1], 'way:' .. reserved .. ':' .. id)
redis.call('ZADD', KEYS[1], now + window, 'spent:' .. tokens .. ':' .. id)
if remaining >= 0 then
  if known == 1 then redis.call('SET', KEYS[2], 1, 'PX', window) end
  local _, likely = spent(usual)
  local others = limit - likely - remaining
  if others > 0 then
    redis.call('ZADD', KEYS[1], now + window, 'others:' .. others .. ':' .. id)
  end
end
if redis.call('PTTL', KEYS[1]) < window then redis.call('PEXPIRE', KEYS[1], window) end
return 0
"""
)

PAUSE: Final = """
local left = redis.call('PTTL', KEYS[1])
if left < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1]) end
return left <= 0 and 1 or 0
"""
