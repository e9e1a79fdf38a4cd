-- Books what has fallen due for a member nobody touched: ended holds, expired lots, debt that matured points pay off.
-- The balance was already right without it; this only writes it down.
-- input   {ends = [[currency, end], …]?}: as in `run.lua`, for what a hold that ended gives back
-- refuses nothing_due
-- record  expiry: held -, wallet +; wallet -, breakage +; wallet -, debt +
local function book(base)
  local m = load_member(ARGV[base + MEMBER])
  if not m then return { 'cold' } end
  local at = math.max(tonumber(ARGV[base + AT]), m[LAST_AT])
  local legs, ended = settle_due(m, at)
  if #legs == 0 then return { 'refused', 'nothing_due', '{}' } end
  local effect = effect_text(m, at, legs, ',"holds":' .. (#ended > 0 and cjson.encode(ended) or '[]'))
  local id, seq = append(base, 'expiry', ARGV[base + OPERATION], text(at), effect)
  if not id then return { seq } end
  m[EPOCH_AT], m[SEQ], m[LAST_AT] = EPOCH, seq, at
  local ends = string.match(ARGV[base + INPUT], '^{"ends":(%b[])')
  if ends then prolong(m, ends, base, ARGV[base + OPERATION], at) end
  save_member(PREFIX .. 'm:' .. ARGV[base + MEMBER], m)
  return id .. ' ' .. text(at) .. '  ' .. effect
end

return run(nil, book)
