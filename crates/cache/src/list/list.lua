-- One list: KEYS[1] its known members, KEYS[2] what is known of it. The same decisions as index.rs,
-- name by name; tests hold them against each other.
local Z, H = KEYS[1], KEYS[2]
local op, desc = ARGV[1], ARGV[3] == 'd'
local bound, lease_ms, fence_ms, life_ms =
  tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local call = redis.call
local RANGE, RANK = 'ZRANGE', 'ZRANK'
if desc then RANGE, RANK = 'ZREVRANGE', 'ZREVRANK' end

local now
if ARGV[2] == '' then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
else
  now = tonumber(ARGV[2])
end

-- `..` and tostring() round from 15 digits on.
local function text(number) return string.format('%.0f', number) end

-- === state ===

local function packed(bytes)
  if bytes then return cmsgpack.unpack(bytes) end
  return {}
end
local stored = call('HMGET', H, 'known', 'leases', 'log', 'changes', 'count', 'pending', 'dies', 'members')
local known, leases, log, pending = packed(stored[1]), packed(stored[2]), packed(stored[3]), packed(stored[6])
local changes, count, dies = tonumber(stored[4] or 0), tonumber(stored[5] or nil), tonumber(stored[7] or nil)
local members = call('ZCARD', Z)
local dirty = false

-- Redis may have evicted one of the two.
if members ~= tonumber(stored[8] or 0) then
  call('DEL', Z)
  known, members, dirty = {}, 0, true
end

local function save()
  if not dirty then return end
  members = call('ZCARD', Z)
  local ends = dies or 0
  for _, one in ipairs(pending) do ends = math.max(ends, one[2]) end
  if ends == 0 then
    call('DEL', Z, H)
    return
  end
  call('HSET', H, 'known', cmsgpack.pack(known), 'leases', cmsgpack.pack(leases),
    'log', cmsgpack.pack(log), 'changes', text(changes), 'pending', cmsgpack.pack(pending),
    'members', text(members))
  if count then call('HSET', H, 'count', text(count)) else call('HDEL', H, 'count') end
  if dies then call('HSET', H, 'dies', text(dies)) else call('HDEL', H, 'dies') end
  call('PEXPIREAT', H, text(ends))
  call('PEXPIREAT', Z, text(ends))
end

-- === positions: { score, member }; false is the head or the end ===

local function position(score, member)
  if score == '' then return false end
  return { tonumber(score), member }
end

-- `<` of strings follows the server's locale.
local function bytes_before(a, b)
  for at = 1, math.min(#a, #b) do
    local x, y = string.byte(a, at), string.byte(b, at)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function same(a, b)
  if not a or not b then return a == b end
  return a[1] == b[1] and a[2] == b[2]
end

local function before(a, b)
  if a[1] ~= b[1] then return (a[1] < b[1]) ~= desc end
  if a[2] == b[2] then return false end
  return bytes_before(a[2], b[2]) ~= desc
end

-- How many members stand at or before a position.
local function upto(at)
  local score = call('ZSCORE', Z, at[2])
  if score and tonumber(score) == at[1] then return call(RANK, Z, at[2]) + 1 end
  local s = text(at[1])
  local low
  if desc then low = call('ZCOUNT', Z, '(' .. s, '+inf') else low = call('ZCOUNT', Z, '-inf', '(' .. s) end
  local high = low + call('ZCOUNT', Z, s, s)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local member = call(RANGE, Z, middle, middle)[1]
    if before({ at[1], member }, at) then low = middle + 1 else high = middle end
  end
  return low
end

local function first_behind(from) return from and upto(from) or 0 end
local function last_until(to) return to and upto(to) or call('ZCARD', Z) end

local function drop_ranks(first, stop)
  if first >= stop then return end
  if desc then call('ZREMRANGEBYRANK', Z, -stop, -first - 1)
  else call('ZREMRANGEBYRANK', Z, first, stop - 1) end
end

-- === known parts: { from, to } ===

local function at_most(a, b) -- of two `from`
  if not a then return true end
  if not b then return false end
  return not before(b, a)
end

local function find(at)
  for i, span in ipairs(known) do
    if (not span[1] or before(span[1], at)) and (not span[2] or not before(span[2], at)) then return i end
  end
end

local function whole() return #known == 1 and not known[1][1] and not known[1][2] end

local function add(from, to)
  local rest = {}
  local function apart(a_to, b_from) return a_to and b_from and before(a_to, b_from) end
  for _, span in ipairs(known) do
    if apart(span[2], from) or apart(to, span[1]) then
      rest[#rest + 1] = span
    else
      if at_most(span[1], from) then from = span[1] end
      if not to or not span[2] then to = false
      elseif before(to, span[2]) then to = span[2] end
    end
  end
  local place = 1
  while rest[place] and at_most(rest[place][1], from) do place = place + 1 end
  table.insert(rest, place, { from, to })
  known = rest
end

local function cut(at)
  local i = find(at)
  if not i then return end
  local from, to = known[i][1], known[i][2]
  table.remove(known, i)
  local first, stop = first_behind(from), upto(at)
  if not same(to, at) then table.insert(known, i, { at, to }) end
  if stop > first then
    local last = call(RANGE, Z, stop - 1, stop - 1, 'WITHSCORES')
    table.insert(known, i, { from, { tonumber(last[2]), last[1] } })
  end
end

local function trim()
  while #known > @SPANS@ do
    local span = table.remove(known)
    drop_ranks(first_behind(span[1]), last_until(span[2]))
  end
  local length = call('ZCARD', Z)
  if length <= bound then return end
  if whole() then
    count = nil
    if #pending == 0 then count = length end
  end
  drop_ranks(bound, length)
  local tail = call(RANGE, Z, bound - 1, bound - 1, 'WITHSCORES')
  local last = { tonumber(tail[2]), tail[1] }
  local rest = {}
  for _, span in ipairs(known) do
    if not span[2] or not before(span[2], last) then span[2] = last end
    if not span[1] or before(span[1], last) then rest[#rest + 1] = span end
  end
  known = rest
end

-- === changes: { member, score or false, doubt } ===

local function apply(change)
  local member, score, doubt = change[1], change[2], change[3]
  local old = call('ZSCORE', Z, member)
  if doubt then
    call('ZREM', Z, member)
    if old then cut({ tonumber(old), member }) end
    if score then cut({ score, member }) end
  elseif score and find({ score, member }) then
    call('ZADD', Z, text(score), member)
  elseif old then
    call('ZREM', Z, member)
  end
end

local function alter(member, score, doubt)
  local change = { member, score, doubt }
  apply(change)
  changes, dirty = changes + 1, true
  if #leases > 0 then
    if #log == @LOG@ then table.remove(log, 1) end
    log[#log + 1] = change
  end
end

-- Another one writes the member, who learns of this.
local function contest(member)
  local any = false
  for _, one in ipairs(pending) do
    if one[3] == member then one[5], any, dirty = true, true, true end
  end
  return any
end

local function lose(lost)
  contest(lost[3])
  count = nil
  alter(lost[3], lost[4], true)
end

-- === time and leases: { token, until, from, whether of the count, changes before, waited for } ===

local function lives(till) return till > now and till - now <= @LONGEST@ end
local function hold(length) return now + math.min(length, @LONGEST@) end

local function void()
  call('DEL', Z)
  known, leases, log, count, dies, dirty = {}, {}, {}, nil, nil, true
end

local function forget_log()
  if #leases == 0 and #log > 0 then log, dirty = {}, true end
end

local function keep_leases(which)
  local rest = {}
  for _, lease in ipairs(leases) do
    if which(lease) then rest[#rest + 1] = lease else dirty = true end
  end
  leases = rest
end

local function tidy()
  if dies and dies <= now then void() end
  keep_leases(function(lease) return lives(lease[2]) end)
  local at = 1
  while pending[at] do
    if lives(pending[at][2]) then at = at + 1 else lose(table.remove(pending, at)) at = 1 end
  end
  forget_log()
end

-- 'granted', 'alone', or 'busy' and the time that is left.
local function lease(token, counting, from)
  for _, one in ipairs(leases) do
    if one[4] == counting and (counting or same(one[3], from)) then
      if not one[6] then one[6], dirty = true, true end
      return 'busy', math.max(one[2] - now, 0)
    end
  end
  if #leases >= @LEASES@ then return 'alone', 0 end
  dirty, dies = true, dies or now + life_ms
  leases[#leases + 1] = { token, hold(lease_ms), from, counting, changes, false }
  return 'granted', 0
end

local function take(token)
  for i, one in ipairs(leases) do
    if one[1] == token then
      dirty = true
      return table.remove(leases, i)
    end
  end
end

local function tell(one)
  if one and one[6] then call('PUBLISH', ARGV[8], ARGV[9]) end
end

-- items, whether they are all that was asked for, whether nothing is behind them, where the rest begins
local function view(after, limit)
  for _, span in ipairs(known) do
    local continues
    if not after then continues = not span[1]
    else continues = at_most(span[1], after) and (not span[2] or before(after, span[2])) end
    if continues then
      local first, stop = first_behind(after), last_until(span[2])
      local n = math.min(stop - first, limit)
      local items = {}
      if n > 0 then items = call(RANGE, Z, first, first + n - 1, 'WITHSCORES') end
      local ended = not span[2] and stop - first <= limit
      if n == limit or ended then return items, true, ended, false end
      return items, false, false, span[2]
    end
  end
  return {}, false, false, after
end

local function answer(state, left, items, all, ended, from)
  local head = { state, left, all and 1 or 0, ended and 1 or 0, from and text(from[1]) or '', from and from[2] or '' }
  head[7] = items
  return head
end

-- === what is asked ===

local ask = {}

function ask.page()
  local token, after, limit = ARGV[10], position(ARGV[11], ARGV[12]), tonumber(ARGV[13])
  local items, all, ended, from = view(after, limit)
  local state, left = 'hit', 0
  if not all then state, left = lease(token, false, from) end
  return answer(state, left, items, all, ended, from)
end

function ask.fill()
  local token, ended, after, limit = ARGV[10], ARGV[11] == '1', position(ARGV[12], ARGV[13]), tonumber(ARGV[14])
  local one = take(token)
  local kept = one and not one[4] and changes - one[5] <= #log and (ended or #ARGV > 14)
  if kept then
    local from, to = one[3], false
    if not ended then to = position(ARGV[#ARGV - 1], ARGV[#ARGV]) end
    drop_ranks(first_behind(from), last_until(to))
    for first = 15, #ARGV, 1000 do
      call('ZADD', Z, unpack(ARGV, first, math.min(first + 999, #ARGV)))
    end
    add(from, to)
    for at = #log - (changes - one[5]) + 1, #log do apply(log[at]) end
    trim()
  end
  tell(one)
  forget_log()
  return answer(kept and 'kept' or 'refused', 0, view(after, limit))
end

function ask.release()
  tell(take(ARGV[10]))
  forget_log()
  return 1
end

function ask.count()
  if whole() then return { 'known', call('ZCARD', Z) } end
  if count then return { 'known', text(count) } end
  if #pending > 0 then return { 'alone', 0 } end
  return { lease(ARGV[10], true, false) }
end

function ask.counted()
  local one = take(ARGV[10])
  local kept = one and one[4] and one[5] == changes
  if kept then count = tonumber(ARGV[11]) end
  tell(one)
  forget_log()
  return kept and 1 or 0
end

function ask.rank()
  local score = call('ZSCORE', Z, ARGV[10])
  if not score then return whole() and -1 or -2 end
  local first = known[1]
  if not first or first[1] then return -2 end
  if first[2] and before(first[2], { tonumber(score), ARGV[10] }) then return -2 end
  return call(RANK, Z, ARGV[10])
end

function ask.change()
  local member, score = ARGV[10], tonumber(ARGV[11]) or false
  local contested = contest(member)
  count = nil
  alter(member, score, contested)
  trim()
  return 1
end

function ask.begin()
  local token, member, score = ARGV[10], ARGV[11], tonumber(ARGV[12]) or false
  if #pending >= @PENDING@ then lose(table.remove(pending, 1)) end
  keep_leases(function(one) return not one[4] end)
  forget_log()
  local contested = contest(member)
  pending[#pending + 1], dirty = { token, hold(fence_ms), member, score, contested }, true
  return 1
end

function ask.settle()
  local token, member, score, how = ARGV[10], ARGV[11], tonumber(ARGV[12]) or false, ARGV[13]
  local begun
  for i, one in ipairs(pending) do
    if one[1] == token then
      begun, dirty = table.remove(pending, i), true
      break
    end
  end
  if how == 'nothing' then
    -- as it was
  elseif how ~= 'unknown' and begun and not begun[5] then
    if count then count = math.max(count + tonumber(how), 0) end
    alter(member, score, false)
  else
    contest(member)
    count = nil
    alter(member, score, true)
  end
  trim()
  return 1
end

function ask.invalidate()
  void()
  return 1
end

tidy()
local answered = ask[op]()
save()
return answered
