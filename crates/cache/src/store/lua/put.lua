-- value.., channel, name
invalidate(true)
local kept = #fences == 0 and not keep(1)
seal()
redis.call('PUBLISH', ARGV[6], 'I' .. ARGV[7])
return { c, kept and 1 or 0 }
