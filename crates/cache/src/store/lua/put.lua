-- value.., channel, name
local kept = #fences == 0 and not keep(1)
if kept then revoke() else invalidate(true) end
seal()
redis.call('PUBLISH', ARGV[6], 'I' .. ARGV[7])
return { c, kept and 1 or 0 }
