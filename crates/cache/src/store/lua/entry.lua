-- The entry as it stands now; `now` comes from before. What its hash holds:
--   v value, none where it is known that there is none; x its end, y its whole life, s the stale
--     part of that, d what loading it took (microseconds), i invalidated
--   l lease, u its end, g its length, w someone waits for its holder
--   f fences as "token end length;" each, a no other write since the first of them
--   c copies that readers know of, k the time up to which one may live
-- Times are milliseconds of Redis' clock. Each goes with its length: what has more left than that
-- was written before the clock went back. A value and a lease then count as over, which costs a
-- load; a fence begins anew, which costs waiting. The key's own expiry only tidies up.
local key = KEYS[1]
local h = redis.call('HMGET', key, 'x', 'y', 's', 'd', 'i', 'l', 'u', 'g', 'w', 'f', 'a', 'c', 'k')
local x, s, d, i = tonumber(h[1]), tonumber(h[3]) or 0, tonumber(h[4]) or 0, h[5]
local l, u, w = h[6], tonumber(h[7]), h[9]
local a, c, k = h[11], tonumber(h[12]) or 0, tonumber(h[13]) or 0
local fences = {}

local function over(till, length)
  return not till or till <= now or till - now > (tonumber(length) or 0)
end

local function drop()
  redis.call('HDEL', key, 'v', 'x', 'y', 's', 'd', 'i')
  x, i = nil, false
end

local function revoke()
  redis.call('HDEL', key, 'l', 'u', 'g', 'w')
  l, w = false, false
end

local function write_fences()
  if #fences == 0 then
    redis.call('HDEL', key, 'f', 'a')
    return
  end
  local packed = {}
  for n, fence in ipairs(fences) do
    packed[n] = string.format('%s %.0f %.0f;', fence[1], fence[2], fence[3])
  end
  redis.call('HSET', key, 'f', table.concat(packed))
end

-- Whether there was one.
local function remove_fence(token)
  for n, fence in ipairs(fences) do
    if fence[1] == token then
      table.remove(fences, n)
      return true
    end
  end
  return false
end

-- Works without memory to spare, for Redis refuses a script its first write alone, and this one only
-- deletes.
local function invalidate(keep)
  revoke()
  if #fences > 0 and a then
    redis.call('HDEL', key, 'a')
    a = false
  end
  if not x then return end
  local till = math.min(x, now + s)
  if keep and till > now then
    redis.call('HSET', key, 'i', 1, 'x', till)
    x, i = till, '1'
  else
    drop()
  end
end

-- A value in arguments from `at` on: whether there is one, the value, fresh, stale, load. An error
-- where there is no memory for it; then nothing has changed.
local function keep(at)
  local stale = tonumber(ARGV[at + 3])
  local life = tonumber(ARGV[at + 2]) + stale
  if life <= 0 then
    if x then drop() end
    return
  end
  local till = now + life
  local fields = { 'x', till, 'y', life, 's', stale, 'd', ARGV[at + 4] }
  if ARGV[at] == '1' then
    table.insert(fields, 'v')
    table.insert(fields, ARGV[at + 1])
  end
  local set = redis.pcall('HSET', key, unpack(fields))
  if type(set) == 'table' then return set end
  redis.call('HDEL', key, 'i', ARGV[at] == '1' and 'i' or 'v')
  x, i = till, false
end

-- To be called after a change.
local function seal()
  local last = math.max(x or now, l and u or now, k)
  for _, fence in ipairs(fences) do last = math.max(last, fence[2]) end
  redis.call('PEXPIRE', key, last - now)
end

if x and over(x, h[2]) then drop() end
if l and over(u, h[8]) then revoke() end
if h[10] then
  local changed = false
  for token, till, length in string.gmatch(h[10], '(%d+) (%d+) (%d+);') do
    till, length = tonumber(till), tonumber(length)
    if till > now then
      if till - now > length then till, changed = now + length, true end
      table.insert(fences, { token, till, length })
    end
  end
  if changed or #fences == 0 then write_fences() end
  if changed then seal() end
end
if c > 0 and k <= now then
  redis.call('HDEL', key, 'c', 'k')
  c, k = 0, 0
end
