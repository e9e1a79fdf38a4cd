-- Third part of every script that moves points: the loop over a call's items. An item's results are
--   {'done', position, effect, at, kind}  applied; the record is in the journal; a kind only where it is not the asked one
--   {'replayed', operation, position}     the reference was used for the same request
--   {'reference_reused', operation, …}    the reference was used for another request
--   {'cold'}                              the member must be loaded first
--   {'stale_facts', version}              what the caller knows of the member is out of date
--   {'refused', code, details, replayed?} a refusal; codes are those of errors.ts, details are a JSON object
-- `decide(m, item)` of the script changes the state in memory and returns {legs, extra, kind?}, or nil, code, details.
-- A refusal that depended on the moment is remembered, so that a late retry cannot succeed after the caller was told no.

local REMEMBERED = { insufficient_points = true, spending_frozen = true, member_not_active = true, hold_expired = true,
  refund_exceeds_redemption = true, reversal_exceeds_accrual = true, balance_limit = true }

-- The state that `decide` has touched is dropped: only the list of remembered refusals changes.
local function refuse(base, member, code, details)
  details = details or '{}'
  if REMEMBERED[code] and ARGV[base + REFERENCE] ~= '' then
    if fenced() then return { 'fenced' } end
    local state = load_member(member)
    if #state.refusals >= REFUSALS_MAX then
      -- The same reference may have been used for good since; then its entry is no refusal and stays.
      local oldest = PREFIX .. 'i:' .. table.remove(state.refusals, 1)
      if string.sub(redis.call('GET', oldest) or '', 1, 1) == '!' then redis.call('DEL', oldest) end
    end
    state.refusals[#state.refusals + 1] = ARGV[base + REFERENCE]
    save_member(member, state)
    remember(base, '!' .. ARGV[base + FINGERPRINT] .. code .. ' ' .. details)
  end
  return { 'refused', code, details }
end

local function effect_text(m, at, legs, extra)
  return '{"legs":[' .. table.concat(legs, ',') .. '],"balances":' .. balances_text(m, at) .. (extra or '') .. '}'
end

-- An entry from before a cold recovery may name an operation that was lost. The caller has asked the books since, so where
-- they did not know the reference, nothing stands under it.
local function remembered(entry)
  if string.sub(entry, 1, 1) == '!' then return true end
  return tonumber(string.match(entry, '^(%d+)%-', 49)) >= COLD_BELOW
end

local function perform(base, decide)
  if ARGV[base + REFERENCE] ~= '' then
    local entry = redis.call('GET', PREFIX .. 'i:' .. ARGV[base + REFERENCE])
    if entry and remembered(entry) then return recall(entry, ARGV[base + FINGERPRINT]) end
  end
  local member = ARGV[base + MEMBER]
  local m = load_member(member)
  if not m then return { 'cold' } end
  if ARGV[base + FACTS] ~= '' and tonumber(ARGV[base + FACTS]) ~= m.facts then return { 'stale_facts', m.facts } end
  local at = math.max(tonumber(ARGV[base + AT]), m.at)
  local operation = ARGV[base + OPERATION]
  local due, ended = settle_due(m, at)
  local before = #due > 0 and effect_text(m, at, due, ',"holds":' .. (#ended > 0 and cjson.encode(ended) or '[]'))
  local item = { base = base, at = at, operation = operation, input = cjson.decode(ARGV[base + INPUT]), ended = ended }
  local decision, code, details = decide(m, item)
  if not decision then
    if code == 'cold_operation' then return { code, details } end
    return refuse(base, member, code, details)
  end
  local effect = effect_text(m, at, decision.legs, decision.extra)
  if before then
    local id, word = append(base, 'expiry', string.sub(operation, 1, 12) .. '8' .. string.sub(operation, 14), at, before)
    if not id then return { word } end
  end
  local id, seq = append(base, decision.kind or ARGV[base + KIND], operation, at, effect)
  if not id then return { seq } end
  m.epoch, m.seq, m.at = EPOCH, seq, at
  save_member(member, m)
  if decision.save then decision.save(seq) end
  if ARGV[base + REFERENCE] ~= '' then
    remember(base, operation .. ARGV[base + FINGERPRINT] .. id)
  end
  return { 'done', id, effect, at, decision.kind }
end

-- `apply(base, decide)` does one item; without it, `perform`.
local function run(decide, apply)
  apply = apply or perform
  local word = forbidden()
  if word then return { word } end
  local results = { 'ok' }
  for base = 3, #ARGV, FIELDS do
    results[#results + 1] = apply(base, decide)
    if results[#results][1] == 'fenced' and base == 3 then return { 'fenced' } end
  end
  return results
end

-- Movements by the member need an active member; `spending` ones also one whose spending is not frozen.
local function barred(m, spending)
  if m.status == 'merging' then return 'member_merging' end
  if m.status == 'merged' then return 'member_merged', '{"into":' .. text(m.merged) .. '}' end
  if m.status ~= 'active' then return 'member_not_active', '{"memberStatus":"' .. m.status .. '"}' end
  if spending and m.frozen == 1 then return 'spending_frozen' end
  return nil
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
