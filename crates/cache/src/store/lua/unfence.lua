-- token, whether there is a value, value.., channel, name
local alone = remove_fence(ARGV[1]) and #fences == 0 and a
-- Before anything else is written: here a lack of memory is to be heard of.
local kept = alone and ARGV[2] == '1' and not keep(3)
write_fences()
if kept then revoke() else invalidate(true) end
seal()
redis.call('PUBLISH', ARGV[8], 'I' .. ARGV[9])
return { c, kept and 1 or 0 }
