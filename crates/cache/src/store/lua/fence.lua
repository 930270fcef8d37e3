-- token, length, channel, name
remove_fence(ARGV[1])
invalidate(true)
table.insert(fences, { ARGV[1], now + tonumber(ARGV[2]), tonumber(ARGV[2]) })
write_fences()
if #fences == 1 then redis.call('HSET', key, 'a', 1) end
seal()
redis.call('PUBLISH', ARGV[3], 'I' .. ARGV[4])
return c
