-- keep a stale value, channel, name
invalidate(ARGV[1] == '1')
seal()
redis.call('PUBLISH', ARGV[2], 'I' .. ARGV[3])
return c
