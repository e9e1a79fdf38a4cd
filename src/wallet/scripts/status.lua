-- Changes what scripts check of a member: its status, the freeze of its spending, the version of its facts.
-- input   {status?, frozen?, facts? = true (raise the version), into?}
-- refuses status_not_reachable; a closed member's open holds are released in the same record, but for those without an end:
--         their maker has decided what becomes of them, or is about to
-- record  status: no legs, or those of the released holds
local REACHABLE = {
  active = { active = true, suspended = true, closed = true, merging = true },
  suspended = { active = true, suspended = true, closed = true, merging = true },
  merging = { merging = true, merged = true, active = true },
  closed = { closed = true },
  merged = { merged = true },
}

local function decide(m, json, at)
  local input, legs = cjson.decode(json), {}
  local status = input.status or m[STATUS]
  if not REACHABLE[m[STATUS]][status] then
    return nil, 'status_not_reachable', '{"memberStatus":"' .. m[STATUS] .. '"}'
  end
  local released = {}
  if status == 'closed' then
    local kept = {}
    for _, hold in ipairs(m[HOLDS]) do
      if hold[2] == NO_END then
        kept[#kept + 1] = hold
      else
        release_parts(m, hold, legs, at)
        released[#released + 1] = hold[1]
      end
    end
    m[HOLDS] = kept
  end
  m[STATUS] = status
  if input.into then m[MERGED] = input.into end
  if input.frozen ~= nil then m[FROZEN] = input.frozen and 1 or 0 end
  m[FACTS_VERSION] = m[FACTS_VERSION] + 1
  return legs, ',"status":"' .. status .. '","frozen":' .. m[FROZEN] .. ',"facts":' .. text(m[FACTS_VERSION])
    .. ',"into":' .. text(m[MERGED]) .. ',"holds":' .. (#released > 0 and cjson.encode(released) or '[]')
end

return run(decide)
