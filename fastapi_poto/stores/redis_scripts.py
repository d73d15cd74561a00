"""What `RedisStore` has Redis do in one step, in Lua.

A record is a hash. A hash cannot be empty, a record can: each has the field NUL, which no record can name. Its value
is empty, or the time in milliseconds that nothing prolongs the record past, or `!` for a name that is barred.
"""

import hashlib

ALIVE = "\0"
BARRED = b"!"

TOO_MANY, NO_RECORD, NO_INTEGER = -2, -1, -3

# ARGV: 1 whether to create; lives in ms or '': 2 of a record that is there, 3 of one that is made, 4 its limit;
# 5 most fields or -1; then the script's own.
_BEGIN = """
local key, max = KEYS[1], tonumber(ARGV[5])
local alive = redis.call('HGET', key, '\\0')
if alive == '!' then return -1 end
local made = not alive
if made and ARGV[1] ~= '1' then return -1 end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function room(field)
  return max < 0 or redis.call('HEXISTS', key, field) == 1 or (made and 0 or redis.call('HLEN', key) - 1) < max
end
local function finish()
  local life = ARGV[made and 3 or 2]
  if made then
    redis.call('HSET', key, '\\0', ARGV[4] == '' and '' or string.format('%.0f', now() + ARGV[4]))
  elseif life ~= '' and alive ~= '' then
    life = string.format('%.0f', math.min(life, alive - now()))
  end
  if life ~= '' then redis.call('PEXPIRE', key, life) end
end
"""

# The number of fields to set, these with their values, and fields to remove.
_WRITE = """
local sets = tonumber(ARGV[6])
if max >= 0 then
  local before = made and 0 or redis.call('HLEN', key) - 1
  local after = before
  for i = 7, 6 + 2 * sets, 2 do
    if redis.call('HEXISTS', key, ARGV[i]) == 0 then after = after + 1 end
  end
  for i = 7 + 2 * sets, #ARGV do
    if redis.call('HEXISTS', key, ARGV[i]) == 1 then after = after - 1 end
  end
  if after > max and after > before then return -2 end
end
for i = 7, 6 + 2 * sets, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
for i = 7 + 2 * sets, #ARGV do redis.call('HDEL', key, ARGV[i]) end
finish()
return 1
"""

# The field and the amount. The sum comes back as text: a Lua number has only 53 bits.
_ADD = """
if not room(ARGV[6]) then return -2 end
local sum = redis.pcall('HINCRBY', key, ARGV[6], ARGV[7])
if type(sum) == 'table' then
  if string.find(sum.err, 'integer') or string.find(sum.err, 'overflow') then return -3 end
  return sum
end
finish()
return redis.call('HGET', key, ARGV[6])
"""

# The field, '1' and the old value or '0' and '', the same for the new one.
_SWAP = """
local value = redis.call('HGET', key, ARGV[6])
if ARGV[7] == '1' then
  if value ~= ARGV[8] then return 0 end
elseif value then return 0 end
if ARGV[9] == '1' then
  if not room(ARGV[6]) then return -2 end
  redis.call('HSET', key, ARGV[6], ARGV[10])
else redis.call('HDEL', key, ARGV[6]) end
finish()
return 1
"""

# For how many ms to bar the name, or ''.
_DELETE = """
local key = KEYS[1]
local alive = redis.call('HGET', key, '\\0')
if alive ~= '!' or ARGV[1] ~= '' then redis.call('DEL', key) end
if ARGV[1] ~= '' then
  redis.call('HSET', key, '\\0', '!')
  redis.call('PEXPIRE', key, ARGV[1])
end
return alive and alive ~= '!' and 1 or 0
"""

# The field NUL, the ms that are left, and Redis's time.
_LIFE = """
local time = redis.call('TIME')
return {redis.call('HGET', KEYS[1], '\\0'), redis.call('PTTL', KEYS[1]), time[1], time[2]}
"""


def known(text: str) -> str:
    """The digest of a script, by which it is asked for."""
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    SCRIPTS[digest] = text
    return digest


SCRIPTS: dict[str, str] = {}
"""By the digests that Redis knows them by."""

WRITE, ADD, SWAP, DELETE, LIFE = map(known, (_BEGIN + _WRITE, _BEGIN + _ADD, _BEGIN + _SWAP, _DELETE, _LIFE))
