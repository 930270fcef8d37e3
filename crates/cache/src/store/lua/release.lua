-- token, channel, name
if l ~= ARGV[1] then return 0 end
local told = w
revoke()
seal()
if told then redis.call('PUBLISH', ARGV[2], 'R' .. ARGV[3]) end
return 1
