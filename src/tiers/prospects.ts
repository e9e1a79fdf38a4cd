/**
 * Who of those that stand at the beginning could have come up. Most of a program's members never do; exact sums of theirs are
 * three ranges each, and one sum over all the days that any of the ranges has is enough to see that nothing is reached.
 * (100,000 members with five days each: 5 s without this.)
 *
 * What is summed is never less than what any review counts: nothing that came back is taken off, and days stand for months.
 */
import type { CurrencyNumber, Measure } from '#src/diary/measures.ts';
import { carriedSum } from '#src/diary/reading.ts';
import type { MemberNumber } from '#src/values.ts';
import { asksOf } from './ladder/asks.ts';
import { type Day, type Ladder, type LadderMember, measureKey } from './ladder/types.ts';
import type { Db } from './store.ts';

/** Somebody at the beginning of a ladder. */
export interface Prospect {
  readonly member: MemberNumber;
  readonly ladder: Ladder;
  readonly known: LadderMember;
  readonly day: Day;
}

type Totals = Map<MemberNumber, Map<string, number>>;

const ofDays = ['spend', 'visits', 'flights', 'distance', 'active_months'] as const;

interface DaysRow extends Record<(typeof ofDays)[number], number> {
  readonly member: MemberNumber;
}

async function addDays(
  db: Db,
  members: readonly MemberNumber[],
  fromDay: Day,
  totals: Totals,
): Promise<void> {
  const { rows } = await db.query<DaysRow>({
    name: 'tier-prospects-days',
    text: `select member, ${carriedSum('sum(greatest(spend, 0))')} as spend, ${carriedSum('sum(greatest(visits, 0))')} as visits,
        ${carriedSum('sum(greatest(flights, 0))')} as flights, ${carriedSum('sum(greatest(distance, 0))')} as distance, count(*) as active_months
      from diary_day where member = any($1::bigint[]) and day >= $2 group by member`,
    values: [members, fromDay],
  });
  for (const row of rows) {
    const own = totals.get(row.member) ?? new Map<string, number>();
    for (const measure of ofDays) own.set(measure, row[measure]);
    totals.set(row.member, own);
  }
}

async function addPoints(
  db: Db,
  members: readonly MemberNumber[],
  fromDay: Day,
  currencies: readonly CurrencyNumber[],
  totals: Totals,
): Promise<void> {
  const { rows } = await db.query<{ member: MemberNumber; currency: CurrencyNumber; earned: number }>({
    name: 'tier-prospects-points',
    text: `select member, currency, ${carriedSum('sum(greatest(earned, 0))')} as earned from diary_points
      where member = any($1::bigint[]) and currency = any($3::smallint[]) and day >= $2 group by member, currency`,
    values: [members, fromDay, currencies],
  });
  for (const { member, currency, earned } of rows) {
    const own = totals.get(member) ?? new Map<string, number>();
    own.set(measureKey({ points: currency }), earned);
    totals.set(member, own);
  }
}

function measuresOf(ladders: Iterable<Ladder>): Measure[] {
  return [...ladders].flatMap(({ tiers }) =>
    tiers.flatMap(({ reach }) => reach.flat().map(({ measure }) => measure)),
  );
}

function couldRise({ tiers }: Ladder, totals: ReadonlyMap<string, number> | undefined): boolean {
  if (!totals) return false;
  return tiers.some(({ reach }) =>
    reach.some((goals) =>
      goals.every(({ measure, atLeast }) => (totals.get(measureKey(measure)) ?? 0) >= atLeast),
    ),
  );
}

/** What rolls over from one period to the next has to be looked at, whatever it is. */
function isSimple({ atPeriodEnd, atPromotion }: Ladder): boolean {
  return atPeriodEnd !== 'roll_over' && atPromotion !== 'roll_over';
}

/** Whether a review of each could find anything. */
export async function prospectsAmong<Each extends Prospect>(
  db: Db,
  among: readonly Each[],
): Promise<(each: Each) => boolean> {
  const simple = among.filter(({ ladder }) => isSimple(ladder));
  if (simple.length === 0) return () => true;
  let fromDay = Number.POSITIVE_INFINITY;
  for (const { ladder, known, day } of simple)
    for (const ask of asksOf(ladder, known, day)) fromDay = Math.min(fromDay, ask.fromDay);
  const from = Math.max(-2_147_483_647, Math.min(2_147_483_647, fromDay));
  const members = [...new Set(simple.map(({ member }) => member))];
  const measures = measuresOf(new Set(simple.map(({ ladder }) => ladder)));
  const totals: Totals = new Map();
  if (measures.some((measure) => typeof measure === 'string')) await addDays(db, members, from, totals);
  const currencies = measures.flatMap((measure) => (typeof measure === 'string' ? [] : [measure.points]));
  if (currencies.length > 0) await addPoints(db, members, from, currencies, totals);
  return ({ ladder, member }) => !isSimple(ladder) || couldRise(ladder, totals.get(member));
}
