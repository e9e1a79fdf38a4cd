-- A part of every script that follows up on an operation: what is left of it, in PREFIX o:<operation>.
-- A part is {currency, lot, points left, expiresAt, availableAt, party}; `operation-state.ts` recomputes it from the books.
local function load_operation(operation)
  local packed = redis.call('GET', PREFIX .. 'o:' .. operation)
  if not packed then return nil end
  local epoch, _, version, note, parts = cmsgpack.unpack(packed)
  if epoch < COLD_BELOW then return nil end
  return { version = version, note = note, parts = parts }
end

local function save_operation(operation, state, seq)
  redis.call('SET', PREFIX .. 'o:' .. operation,
    cmsgpack.pack(EPOCH, seq, state.version + 1, state.note, state.parts))
end
