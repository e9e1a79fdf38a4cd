-- First part of every script. A script is given what it names of its parts (`script-text.ts`), and `scripts.ts` the values of
--   PREFIX ('{s07}:'), EPOCH, COLD_BELOW, NEXT_ID ('<epoch>-*'), HISTORY ('master_replid:<id>'), JOURNAL (its key),
--   RECORD (the field of a record) and the bounds of limits.ts.
--
-- A call carries ARGV[1] = the caller's clock (ms), ARGV[2] = the deadline (ms) and up to sixty-four items of nine
-- arguments each: kind, member, operation, reference key, fingerprint, time, version of the facts, the input as JSON, and
-- KEPT, the columns of the record that no script looks into. It answers {'ok', result, …} with one result an item, or one
-- word for all:
--   clock_skew  the caller's clock is off; nothing written
--   expired     the call arrived after its deadline; nothing written
--   fenced      the journal is not of this epoch or is gone, or these are other data; nothing written
--
-- Order of every item: idempotency, existence, state, then append() as the first write, its record complete; after it
-- only writes that cannot fail, because Redis does not roll a script back.

local FIELDS = 9
local KIND, MEMBER, OPERATION, REFERENCE, FINGERPRINT, AT, FACTS, INPUT, KEPT = 0, 1, 2, 3, 4, 5, 6, 7, 8

local call = redis.call
local format = string.format

-- Whole numbers as text. tostring() would round above 10^14; '%d' is exact to 2^63 here and cheaper than '%.0f'.
local function text(number)
  if number == 0 then return '0' end
  return format('%d', number)
end

-- Whether the data have another history than the ones the epoch was opened on. A master that was demoted, took over an older
-- copy and was promoted again keeps its script cache and its connections, but not its replication id. Only a script can ask
-- at the moment that counts; that is 22,000 instructions a call, 3 % of one with four items.
local function is_other_history()
  return not string.find(redis.call('INFO', 'replication'), HISTORY, 1, true)
end

-- What forbids a whole call: another history, the caller's clock against Redis TIME (a wrong one would expire points for
-- good), the deadline.
local function forbidden()
  if is_other_history() then return 'fenced' end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if math.abs(now - ARGV[1]) > CLOCK_SKEW_MS then return 'clock_skew' end
  if now > tonumber(ARGV[2]) then return 'expired' end
  return nil
end

-- For scripts and branches that write without appending: the journal's last id must be of this epoch.
local function fenced()
  if is_other_history() then return true end
  local last = redis.call('XREVRANGE', JOURNAL, '+', '-', 'COUNT', 1)
  return not last[1] or tonumber(string.match(last[1][1], '^(%d+)-')) ~= EPOCH
end

-- Appends a record; the marked line of every operation. Returns its stream id and sequence, or nil and the word to answer.
-- `at` is text here.
-- A record is one field of fourteen columns with tabs between them (journal.ts); no column can hold a tab. One field,
-- because the writer's client decodes each field's name and value apart: thirteen fields cost it a third more CPU a record.
-- What time has decided (`expiry`) or follows by itself (`is_own`) is nobody's request: it has no origin, order or reference, and it happened now.
local function append(base, kind, operation, at, effect, is_own)
  local args = ARGV
  local reference, fingerprint, kept = args[base + REFERENCE], args[base + FINGERPRINT], args[base + KEPT]
  if is_own or kind == 'expiry' then
    reference, fingerprint, kept = '', '', string.match(kept, '^%d+') .. '\t0\t\t\t' .. at .. '\t\t{}'
  end
  local record = kind .. '\t' .. args[base + MEMBER] .. '\t' .. operation .. '\t' .. reference .. '\t' .. fingerprint
    .. '\t' .. at .. '\t' .. kept .. '\t' .. effect
  local id = redis.pcall('XADD', JOURNAL, 'NOMKSTREAM', NEXT_ID, RECORD, record)
  if type(id) == 'string' then return id, string.sub(id, #NEXT_ID) + 0 end
  if type(id) == 'table' and id.err and string.find(id.err, 'OOM', 1, true) then return nil, 'journal_full' end
  return nil, 'fenced'
end

-- What an idempotency entry says about an item: a replay, or a reuse of the reference for something else; nil where it says
-- nothing. An entry from before a cold recovery may name an operation that was lost. The caller has asked the books since, so
-- where they did not know the reference, nothing stands under it.
-- Rare.
local function recall(entry, fingerprint)
  if string.sub(entry, 1, 1) == '!' then
    if string.sub(entry, 2, 17) ~= fingerprint then return { 'reference_reused', '' } end
    local code, details = string.match(entry, '^([%l_]+) (.*)$', 18)
    return { 'refused', code, details, 'replayed' }
  end
  if tonumber(string.match(entry, '^(%d+)%-', 49)) < COLD_BELOW then return nil end
  local word = string.sub(entry, 33, 48) == fingerprint and 'replayed' or 'reference_reused'
  return { word, string.sub(entry, 1, 32), string.sub(entry, 49) }
end

