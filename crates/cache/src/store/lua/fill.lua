-- token, value.., channel, name
if l ~= ARGV[1] then return 0 end
local full = keep(2)
if full then return full end
local told = w
revoke()
seal()
if told then redis.call('PUBLISH', ARGV[7], 'F' .. ARGV[8]) end
return 1
