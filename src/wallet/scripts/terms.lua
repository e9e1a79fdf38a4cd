-- Third part of every script that moves points: lots get other terms.

-- Gives lots of a currency other terms: `terms_of(lot)` answers them, or nil where the lot stays. The terms of a lot never
-- change, so the points move to the lot that has them, or to a new one. Each move is two legs, one right after the other.
-- Returns the points that moved.
-- Rare.
local function redate(m, legs, currency, at, terms_of)
  local out, moved = {}, 0
  for _, w in ipairs(m[WALLETS]) do
    for i = w[1] == currency and #w[4] or 0, 1, -1 do
      local lot = w[4][i]
      local expires, available = terms_of(lot)
      if expires then
        table.remove(w[4], i)
        table.insert(out, 1, { w, lot, expires, available })
      end
    end
  end
  -- All have left before the first comes back, so there is room for each.
  for _, each in ipairs(out) do
    local w, lot = each[1], each[2]
    wallet_leg(legs, w, lot, -lot[2])
    wallet_leg(legs, w, credit(w, legs, lot[2], each[3], each[4], lot[5], at), lot[2])
    moved = moved + lot[2]
  end
  return moved
end
