-- Changes what scripts check of a member: its status, the freeze of its spending, the version of its facts.
-- input   {status?, frozen?, facts? = true (raise the version), into?}
-- refuses status_not_reachable; a closed member's open holds are released in the same record
-- record  status: no legs, or those of the released holds
local REACHABLE = {
  active = { active = true, suspended = true, closed = true, merging = true },
  suspended = { active = true, suspended = true, closed = true, merging = true },
  merging = { merging = true, merged = true, active = true },
  closed = { closed = true },
  merged = { merged = true },
}

local function decide(m, item)
  local input, legs = item.input, {}
  local status = input.status or m.status
  if not REACHABLE[m.status][status] then
    return nil, 'status_not_reachable', '{"memberStatus":"' .. m.status .. '"}'
  end
  local released = {}
  if status == 'closed' then
    for _, hold in ipairs(m.holds) do
      release_parts(m, hold, legs, item.at)
      released[#released + 1] = hold[1]
    end
    m.holds = {}
  end
  m.status = status
  if input.into then m.merged = input.into end
  if input.frozen ~= nil then m.frozen = input.frozen and 1 or 0 end
  m.facts = m.facts + 1
  return { legs = legs, extra = ',"status":"' .. status .. '","frozen":' .. m.frozen .. ',"facts":' .. text(m.facts)
    .. ',"into":' .. text(m.merged) .. ',"holds":' .. (#released > 0 and cjson.encode(released) or '[]') }
end

return run(decide)
