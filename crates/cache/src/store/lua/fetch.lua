-- token, lease, early, copies, how long for
local fresh = x and not i and math.max(x - s - now, 0) or 0
local early = fresh * 1000 < d * tonumber(ARGV[3])
local other = l and l ~= ARGV[1]

local function answer(kind, left)
  if not x then return { kind, left } end
  return { kind, left, fresh, d, i and 1 or 0, redis.call('HGET', key, 'v') }
end

if tonumber(ARGV[4]) > 0 then
  c, k = math.max(c, tonumber(ARGV[4])), math.max(k, now + tonumber(ARGV[5]))
  redis.call('HSET', key, 'c', c, 'k', k)
  seal()
end
if #fences > 0 then return answer(3, 0) end
if fresh > 0 and (other or not early) then return answer(0, 0) end
if other then
  if not w then redis.call('HSET', key, 'w', 1) end
  return answer(2, u - now)
end
l, u = ARGV[1], now + tonumber(ARGV[2])
redis.call('HSET', key, 'l', l, 'u', u, 'g', ARGV[2])
seal()
return answer(1, 0)
