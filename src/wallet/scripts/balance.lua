-- Reads members as they stand at a time, without writing: what is due is settled in memory only.
-- ARGV    clock, deadline, then member, at for each
-- answers {'cold'} or {'read', balances, lots, sequence, epoch, at, status, facts, frozen} with lots =
--         [[currency, lot, points, expiresAt, availableAt, party], …] in burn order
local word = forbidden()
if word then return { word } end
local results = { 'ok' }
for base = 3, #ARGV, 2 do
  local m = load_member(ARGV[base])
  if m then
    local at = math.max(tonumber(ARGV[base + 1]), m[LAST_AT])
    if may_be_due(m, at) then settle_due(m, at) end
    local lots = {}
    for _, w in ipairs(m[WALLETS]) do
      for _, lot in ipairs(w[4]) do
        lots[#lots + 1] = '[' .. w[1] .. ',' .. text(lot[1]) .. ',' .. text(lot[2]) .. ',' .. text(lot[3]) .. ','
          .. text(lot[4]) .. ',' .. lot[5] .. ']'
      end
    end
    results[#results + 1] = { 'read', '[' .. balances_text(m, at) .. ']', '[' .. table.concat(lots, ',') .. ']', m[SEQ],
      m[EPOCH_AT], text(at), m[STATUS], m[FACTS_VERSION], m[FROZEN] }
  else
    results[#results + 1] = { 'cold' }
  end
end
return results
