-- Fourth part of every script that moves points: the loop over a call's items. An item's results are
--   'position at kind effect'             applied; the record is in the journal; no kind where it is the asked one. One
--                                         text: an array costs Redis and the caller's client twice as much
--   {'replayed', operation, position}     the reference was used for the same request
--   {'reference_reused', operation, …}    the reference was used for another request
--   {'cold'}                              the member must be loaded first
--   {'cold_operation', operation}, {'cold_counter', places}, {'cold_lot', lots}   these must be read from the books first
--   {'lease_short', budgets}              these must be granted more before (`limits.lua`)
--   {'stale_facts', version}              what the caller knows of the member is out of date
--   {'refused', code, details, replayed?} a refusal; codes are those of errors.ts, details are a JSON object
-- `decide(m, json, at, operation, ended, expired)` of the script changes the state in memory and returns legs, extra, kind, save, of
-- which only the legs must be there; or nil, code, details. `save(seq)` finishes the state once the record has its sequence. `ended` are
-- the holds that have just ended, `expired` the points {currency, lot, points} that have; both nil where nothing was due.
-- A refusal that depended on the moment is remembered, so that a late retry cannot succeed after the caller was told no; not that
-- of an exchange's credit, whose maker uses up the reference for good before anything follows from it.

-- The state that `decide` has touched is dropped: only the list of remembered refusals changes.
-- Rare.
local function refuse(base, code, details)
  details = details or '{}'
  local remembered = { insufficient_points = true, spending_frozen = true, member_not_active = true, hold_expired = true,
    refund_exceeds_redemption = true, reversal_exceeds_accrual = true, balance_limit = true }
  local reference, member = ARGV[base + REFERENCE], ARGV[base + MEMBER]
  if remembered[code] and reference ~= '' and ARGV[base + KIND] ~= 'exchange_in' then
    if fenced() then return { 'fenced' } end
    local state = load_member(member)
    if #state[REFUSALS] >= REFUSALS_MAX then
      -- The same reference may have been used for good since; then its entry is no refusal and stays.
      local oldest = PREFIX .. 'i:' .. table.remove(state[REFUSALS], 1)
      if string.sub(redis.call('GET', oldest) or '', 1, 1) == '!' then redis.call('DEL', oldest) end
    end
    state[REFUSALS][#state[REFUSALS] + 1] = reference
    save_member(PREFIX .. 'm:' .. member, state)
    local entry = '!' .. ARGV[base + FINGERPRINT] .. code .. ' ' .. details
    call('SET', PREFIX .. 'i:' .. reference, entry, 'PX', WINDOW_MS)
  end
  return { 'refused', code, details }
end

local function effect_text(m, at, legs, extra)
  local legs_text = legs[2] and table.concat(legs, ',') or legs[1] or ''
  return '{"legs":[' .. legs_text .. '],"balances":[' .. balances_text(m, at) .. ']' .. (extra or '') .. '}'
end

-- All points of a currency end together where inactivity ends them: `ends` = [[currency, end], …] is when those of this
-- member do after the operation, or later where any ends later already. Lots that end before are moved there, in a record of
-- its own right behind the operation's; its id is the operation's, with a 9 for the 7. Points that wait for an event stay.
-- Where that record finds no room the lots stay as they were: the next operation moves them.
-- Rare.
local function prolong(m, ends, base, operation, at)
  local legs, before = {}, cmsgpack.pack(m[WALLETS])
  for _, row in ipairs(cjson.decode(ends)) do
    local through = row[2]
    local function waits(lot) return lot[4] == lot[3] end
    for _, w in ipairs(m[WALLETS]) do
      for i = 1, w[1] == row[1] and #w[4] or 0 do
        if not waits(w[4][i]) then through = math.max(through, w[4][i][3]) end
      end
    end
    redate(m, legs, row[1], at, function(lot)
      if lot[3] > 0 and lot[3] < through and not waits(lot) then return through, lot[4] end
    end)
  end
  if not legs[1] then return end
  local other = string.sub(operation, 1, 12) .. '9' .. string.sub(operation, 14)
  local id, seq = append(base, 'extension', other, text(at), effect_text(m, at, legs), true)
  if id then m[SEQ] = seq else m[WALLETS] = cmsgpack.unpack(before) end
end

local function perform(base, decide)
  local args = ARGV
  local reference, operation, member = args[base + REFERENCE], args[base + OPERATION], PREFIX .. 'm:' .. args[base + MEMBER]
  local key
  if reference ~= '' then
    key = PREFIX .. 'i:' .. reference
    local entry = call('GET', key)
    local known = entry and recall(entry, args[base + FINGERPRINT])
    if known then return known end
  end
  local m = unpacked(call('GET', member))
  if not m then return { 'cold' } end
  -- `+ 0` makes a number of a text at half the cost of tonumber().
  local facts, at_text = args[base + FACTS], args[base + AT]
  if facts ~= '' and facts + 0 ~= m[FACTS_VERSION] then return { 'stale_facts', m[FACTS_VERSION] } end
  local at = at_text + 0
  if at < m[LAST_AT] then at, at_text = m[LAST_AT], text(m[LAST_AT]) end
  local before, due, ended, expired
  if may_be_due(m, at) then
    due, ended, expired = settle_due(m, at)
    before = #due > 0 and effect_text(m, at, due, ',"holds":' .. (#ended > 0 and cjson.encode(ended) or '[]'))
  end
  local input, ends = args[base + INPUT], nil
  -- Where inactivity ends points, the ends stand first in the input.
  if string.sub(input, 1, 9) == '{"ends":[' then
    ends, input = string.match(input, '^{"ends":(%b[]),?(.*)$')
    input = '{' .. input
  end
  local legs, extra, kind, save = decide(m, input, at, operation, ended, expired)
  if not legs then
    local code, details = extra, kind
    if code == 'cold_operation' or code == 'cold_counter' or code == 'cold_lot' or code == 'lease_short' then
      return { code, details }
    end
    return refuse(base, code, details)
  end
  local effect = effect_text(m, at, legs, extra)
  if before then
    -- A record of its own: its id is the operation's, with an 8 for the 7.
    local other = string.sub(operation, 1, 12) .. '8' .. string.sub(operation, 14)
    local id, word = append(base, 'expiry', other, at_text, before)
    if not id then return { word } end
  end
  local id, seq = append(base, kind or args[base + KIND], operation, at_text, effect)
  if not id then return { seq } end
  m[EPOCH_AT], m[SEQ], m[LAST_AT] = EPOCH, seq, at
  if save then save(seq) end
  if ends then prolong(m, ends, base, operation, at) end
  save_member(member, m)
  if key then call('SET', key, operation .. args[base + FINGERPRINT] .. id, 'PX', WINDOW_MS) end
  return id .. ' ' .. at_text .. ' ' .. (kind or '') .. ' ' .. effect
end

-- `apply(base)` does one item; without it, `perform`.
local function run(decide, apply)
  apply = apply or perform
  local word = forbidden()
  if word then return { word } end
  local results = { 'ok' }
  for base = 3, #ARGV, FIELDS do
    local result = apply(base, decide)
    if base == 3 and result[1] == 'fenced' then return { 'fenced' } end
    results[#results + 1] = result
  end
  return results
end

-- Movements by the member need an active member; `spending` ones also one whose spending is not frozen.
local function barred(m, spending)
  if m[STATUS] == 'merging' then return 'member_merging' end
  if m[STATUS] == 'merged' then return 'member_merged', '{"into":' .. text(m[MERGED]) .. '}' end
  if m[STATUS] ~= 'active' then return 'member_not_active', '{"memberStatus":"' .. m[STATUS] .. '"}' end
  if spending and m[FROZEN] == 1 then return 'spending_frozen' end
  return nil
end

local function hold_index(m, operation)
  for i, hold in ipairs(m[HOLDS]) do
    if hold[1] == operation then return i end
  end
end

-- Checks that each part {currency, points} can be taken; returns nothing, or the code and its details.
local function short(m, parts, at)
  for _, part in ipairs(parts) do
    local available = available_of(wallet_of(m, part[1]), at)
    if available < part[2] then
      return 'insufficient_points', '{"currency":' .. part[1] .. ',"available":' .. text(available) .. ',"required":' .. text(part[2]) .. '}'
    end
  end
  return nil
end
