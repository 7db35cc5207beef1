'use strict';

// The scripts on the index of a user: a hash with a field for each session, named by its id. A value has the times at
// which the entry was made and last asserted and at which it ends (0: never), in ms since 1970 by Redis's clock; the
// login that made it; and a mark if the session must not live: it was destroyed, or exceeds a limit. Field expiry (Redis
// 7.4, Valkey 9) removes what has ended; elsewhere the key lives as long as its last entry, and readers remove the
// others. All reply with an array of strings.

const { createHash } = require('node:crypto');

/** The field with the earliest authentication that new sessions may have. */
const FENCE = "'\\0fence'";

const COMMON = `local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local left = redis.call('PTTL', key)
local function parse(value)
  local made, asserted, ends, login, mark = string.match(value, '^(%d+) (%d+) (%d+) (%S+)(.*)$')
  return tonumber(made) or now, tonumber(asserted) or now, tonumber(ends) or 0, login or '-', mark or ''
end
local function expire(field, ends, life)
  local hasFieldExpiry = true
  if ends > 0 then
    local reply = redis.pcall('HPEXPIREAT', key, string.format('%.0f', ends), 'FIELDS', 1, field)
    hasFieldExpiry = not (type(reply) == 'table' and reply.err)
  end
  if life == 0 then
    if left >= 0 then redis.call('PERSIST', key) end
  elseif (left >= 0 and left < life) or (left == -2 and not hasFieldExpiry) then
    redis.call('PEXPIRE', key, string.format('%.0f', life))
  end
end
local function put(field, value, ends, life)
  redis.call('HSET', key, field, value)
  expire(field, ends, life)
end
local function format(made, asserted, ends, login, mark)
  return string.format('%.0f %.0f %.0f %s%s', made, asserted, ends, login, mark)
end
`;

/**
 * Asserts the entry of a session. Arguments: id, life in ms (0: endless), the maximum number of sessions (0: none), what
 * to do beyond it, when the user has authenticated ('': not known), the login ('': the session exists), and ids of
 * entries that do not count.
 *
 * Replies `added`, and the entries of sessions to destroy, as ids and values; `evicted` if this session must not live;
 * `full`, and the other entries, if it was not added since there are too many; or `fenced`. Another login under the
 * same id removes the mark; the same one does not, as the script may have to be sent again.
 */
const ASSERT = `${COMMON}
local id, life, most, mode, login = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[6]
local reply = {'added'}
local made, before, owner, mark, _ = now, 0, '-', ''
local value = redis.call('HGET', key, id)
if value then
  made, _, before, owner, mark = parse(value)
  if mark ~= '' then
    if login == '' or login == owner or mode == 'again' then return {'evicted'} end
    made = now
  end
end
if not value or mark ~= '' then
  local fence = ARGV[5] ~= '' and redis.call('HGET', key, ${FENCE})
  if fence and tonumber(ARGV[5]) < tonumber(fence) then return {'fenced'} end
  if most > 0 then
    local ignored, others = {}, {}
    for at = 7, #ARGV do ignored[ARGV[at]] = true end
    local all = redis.call('HGETALL', key)
    for at = 1, #all, 2 do
      local field, value = all[at], all[at + 1]
      local made, asserted, ends, owner, mark = parse(value)
      if field ~= ${FENCE} and field ~= id and not ignored[field] and (ends == 0 or ends > now) then
        if mark ~= '' then
          reply[#reply + 1] = field
          reply[#reply + 1] = value
        else
          others[#others + 1] =
            {field = field, value = value, made = made, asserted = asserted, ends = ends, owner = owner}
        end
      end
    end
    if #others >= most then
      if mode ~= 'evict' then
        reply = {'full'}
        for _, entry in ipairs(others) do
          reply[#reply + 1] = entry.field
          reply[#reply + 1] = entry.value
        end
        return reply
      end
      table.sort(others, function(one, other)
        if one.made ~= other.made then return one.made < other.made end
        return one.field < other.field
      end)
      for at = 1, #others - most + 1 do
        local entry = others[at]
        local value = format(entry.made, entry.asserted, entry.ends, entry.owner, ' evicted')
        put(entry.field, value, entry.ends, left)
        reply[#reply + 1] = entry.field
        reply[#reply + 1] = value
      end
    end
  end
end
local ends = life > 0 and now + life or 0
-- Another process may count on a later end.
if value and ends > 0 and (before == 0 or before > ends) then ends = before end
put(id, format(made, now, ends, login ~= '' and login or owner, ''), ends, ends > 0 and ends - now or 0)
return reply`;

/** Adds the entry of a session that exists. Arguments: id, life in ms (0: endless). Replies `present` if it has one. */
const ADD = `${COMMON}
local id, life = ARGV[1], tonumber(ARGV[2])
local ends = life > 0 and now + life or 0
if redis.call('HSETNX', key, id, format(now, now, ends, '-', '')) == 0 then return {'present'} end
expire(id, ends, life)
return {'added'}`;

/** Reads entries. Arguments: cursor, count. Replies with the next cursor, then ids and values. */
const READ = `local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local reply = {page[1]}
for at = 1, #page[2], 2 do
  if page[2][at] ~= ${FENCE} then
    reply[#reply + 1] = page[2][at]
    reply[#reply + 1] = page[2][at + 1]
  end
end
return reply`;

/** Reads the entry of a session. Argument: id. Replies with its value, or with nothing. */
const READ_ONE = `return {redis.call('HGET', KEYS[1], ARGV[1]) or nil}`;

/**
 * Drops entries that are unchanged, and asserted that long ago. Marks the others, if their sessions were destroyed.
 * Arguments: ms, the mark or nothing, then ids and values.
 */
const DROP = `${COMMON}
for at = 3, #ARGV, 2 do
  local field, value = ARGV[at], ARGV[at + 1]
  if redis.call('HGET', key, field) == value then
    local made, asserted, ends, login, mark = parse(value)
    if asserted + tonumber(ARGV[1]) <= now then redis.call('HDEL', key, field)
    elseif mark == '' and ARGV[2] ~= '' then
      put(field, format(made, asserted, ends, login, ARGV[2]), ends, left)
    end
  end
end
return {}`;

/** Sets the fence. Arguments: the earliest authentication in ms since 1970, how long the fence lasts in ms. */
const SET_FENCE = `${COMMON}
local value, life = ARGV[1], tonumber(ARGV[2])
local before = redis.call('HGET', key, ${FENCE})
if before and tonumber(before) > tonumber(value) then value = before end
put(${FENCE}, value, now + life, life)
return {}`;

/** @param {string} text */
const script = (text) => ({ text, sha1: createHash('sha1').update(text).digest('hex') });

module.exports = {
  ADD: script(ADD),
  ASSERT: script(ASSERT),
  READ: script(READ),
  READ_ONE: script(READ_ONE),
  DROP: script(DROP),
  SET_FENCE: script(SET_FENCE),
};
