-- the highest that is known, whether to raise it, channel. One that nobody knows any more begins
-- at the time, above all that were.
local stored = tonumber(redis.call('GET', KEYS[1]))
local known = tonumber(ARGV[1])
local epoch = math.max(stored or 0, known)
if epoch == 0 then epoch = now end
if ARGV[2] == '1' then epoch = math.max(epoch + 1, now) end
if epoch ~= stored then
  local written = string.format('%.0f', epoch)
  redis.call('SET', KEYS[1], written)
  redis.call('PUBLISH', ARGV[3], 'E' .. written)
end
return epoch
