-- Fourth part of every script that counts: which rows of a member's counters leave, so that they stay few for ever
-- (`counters.lua` says what a row is).
local CALENDAR_MAX, ORDERS_MAX, ROWS_MAX = 3, 16, 128

-- Notes that rows of `of` may be missing through a period.
local function note_dropped(list, of, through, seq)
  for i = 2, #list, 4 do
    if list[i] == of and (list[i + 1] < ORDERS) == (through < ORDERS) then
      list[i + 1], list[i + 3] = math.max(list[i + 1], through), math.max(list[i + 3], seq)
      return
    end
  end
  local i = #list + 1
  list[i], list[i + 1], list[i + 2], list[i + 3] = of, through, 0, seq
end

local function drop(list, i, of, through)
  local seq = list[i + 3]
  for _ = 1, 4 do table.remove(list, i) end
  if of then note_dropped(list, of, through, seq) end
end

-- Drops one row of a counter where it has too many of a kind: the oldest period, or the order that changed longest ago. What
-- record `seq` has changed goes last. Returns whether one was dropped.
local function drop_oldest(list, counter, is_order, seq)
  local count, oldest, age = 0, nil, math.huge
  for i = 2, #list, 4 do
    if list[i] == counter and (list[i + 1] >= ORDERS) == is_order then
      local rank = (is_order and list[i + 3] or list[i + 1]) + (list[i + 3] == seq and EVERYTHING or 0)
      count = count + 1
      if rank < age then oldest, age = i, rank end
    end
  end
  if count <= (is_order and ORDERS_MAX or CALENDAR_MAX) then return false end
  drop(list, oldest, -counter, is_order and EVERYTHING or list[oldest + 1])
  return true
end

-- Drops the row that changed longest ago, whatever it is, where a member has too many.
local function drop_any(list)
  if #list <= 1 + 4 * ROWS_MAX then return false end
  local oldest
  for i = 2, #list, 4 do
    if list[i] ~= 0 and (not oldest or list[i + 3] < list[oldest + 3]) then oldest = i end
  end
  drop(list, oldest, 0, EVERYTHING)
  return true
end

-- Takes out what record `seq` has opened without changing it, and what is too much with what it opened. `stood` is how long
-- the list was before.
-- Rare.
local function prune(list, stood, seq)
  local opened = {}
  for i = #list - 3, stood + 1, -4 do
    if list[i + 3] == seq then opened[#opened + 1] = { list[i], list[i + 1] >= ORDERS } else drop(list, i) end
  end
  for _, kind in ipairs(opened) do
    repeat until not drop_oldest(list, kind[1], kind[2], seq)
  end
  repeat until not drop_any(list)
end
