/**
 * PURE. A member's counters while receipts are replayed: what `counters.lua` decides, on memory that forgets nothing. A test
 * holds the two against each other (`backtest.test.ts`).
 */
import type { Points } from '#src/values.ts';
import type { Award, CounterPlace, Judgement } from '../rules/types.ts';

export interface MemberCounters {
  value(place: CounterPlace): number;
  add(place: CounterPlace, by: number): void;
  /** Lowers a place, never below zero; whatever stands there already stays. */
  lower(place: CounterPlace, by: number): void;
}

/** Three numbers a place in one list: a tenth of the memory of a map, and the newest places are found first. */
export function createMemberCounters(): MemberCounters {
  const list: number[] = [];
  function indexOf({ counter, period }: CounterPlace): number {
    for (let i = list.length - 3; i >= 0; i -= 3) if (list[i] === counter && list[i + 1] === period) return i;
    return -1;
  }
  function value(place: CounterPlace): number {
    const i = indexOf(place);
    return i < 0 ? 0 : list[i + 2]!;
  }
  function add(place: CounterPlace, by: number): void {
    if (by === 0) return;
    const i = indexOf(place);
    if (i < 0) list.push(place.counter, place.period, by);
    else list[i + 2] = list[i + 2]! + by;
  }
  return { value, add, lower: (place, by) => add(place, -Math.min(by, Math.max(0, value(place)))) };
}

/** What is left of an award under its limits. */
function within({ points, limits }: Award, counters: MemberCounters): Points {
  let [least, isWhole] = [points, false];
  for (const limit of limits ?? []) {
    least = Math.min(least, Math.max(0, limit.pointsMax - counters.value(limit)));
    isWhole ||= limit.isAllOrNothing;
  }
  return isWhole && least < points ? 0 : least;
}

/** Points that a budget leaves of an award. */
export type WithinBudget = (award: Award, points: Points) => Points;

/** Trims the awards and counts, as the script does; the points of each award, or undefined where all are given whole. */
export function weigh(
  { awards, counts }: Judgement,
  counters: MemberCounters,
  withinBudget?: WithinBudget,
): readonly Points[] | undefined {
  let given: Points[] | undefined;
  for (const [index, award] of awards.entries()) {
    let { points } = award;
    if (award.limits) points = within(award, counters);
    if (award.budget !== undefined && withinBudget) points = withinBudget(award, points);
    for (const limit of award.limits ?? []) counters.add(limit, points);
    if (points === award.points) continue;
    given ??= awards.map((each) => each.points);
    given[index] = points;
  }
  for (const count of counts) counters.add(count, count.by);
  return given;
}
