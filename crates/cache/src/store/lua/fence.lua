-- token, length, channel, name
remove_fence(ARGV[1])
invalidate(true)
table.insert(fences, { ARGV[1], now + tonumber(ARGV[2]), tonumber(ARGV[2]) })
-- Told also where the fence itself finds no memory.
redis.call('PUBLISH', ARGV[3], 'I' .. ARGV[4])
local written = write_fences()
if type(written) == 'table' then return written end
if #fences == 1 then redis.call('HSET', key, 'a', 1) end
seal()
return c
