/**
 * The models of a run: their parameters, fitted to a sample of the program's members, and what they expect of each.
 *
 * The sample is taken by a hash of the member's number, so that the same members give the same parameters whatever their order.
 */
import type pg from 'pg';
import { carriedSum } from '#src/diary/reading.ts';
import type { Segments } from '#src/earning/file/segment-schema.ts';
import {
  type BuyingParameters,
  countedHistories,
  expectedPurchases,
  fitBuying,
  type History,
  probabilityAlive,
} from './bgnbd.ts';
import { expectedSpend, fitSpending, type Spending, type SpendingParameters } from './gamma-gamma.ts';
import type { Counted, Expected } from './scores.ts';
import { longQuery } from './statistics.ts';

/** Fitting takes some two seconds of them; the parameters of CDNOW's tenth, 2,357 members, are known to some percent. */
export const sampleMax = 50_000;
/** Fewer who bought again tell nothing of how people come back. */
export const repeatersMin = 50;
const weekDays = 7;

export interface Models {
  readonly buying: BuyingParameters;
  /** Absent where too few repeat purchases cost anything. */
  readonly spending?: SpendingParameters;
  readonly sampled: number;
  readonly repeaters: number;
  readonly buyingLogLikelihood: number;
  /** False where the search for parameters was ended by its bound. */
  readonly isFound: boolean;
}

/** Why there are no models. */
export interface NoModels {
  readonly missing: string;
  readonly sampled: number;
  readonly repeaters: number;
}

interface SampledRow {
  readonly first_day: number;
  readonly last_day: number;
  readonly purchase_days: number;
  readonly repeat_spend: number;
}

const sampleQuery = `
  select s.* from member m cross join lateral (
    select min(day) filter (where buys) as first_day, max(day) filter (where buys) as last_day,
      count(*) filter (where buys)::int as purchase_days,
      ${carriedSum('sum(spend) filter (where not (buys and before is null))')} as repeat_spend
    from (
      select d.day, d.spend, d.visits + d.flights > 0 as buys,
        max(d.day) filter (where d.visits + d.flights > 0) over (order by d.day rows between unbounded preceding and 1 preceding) as before
      from diary_day d where d.member = m.number and d.day <= $2::int offset 0) days) s
  where m.program = $1 and m.status in ('active', 'suspended') and s.purchase_days > 0
    and (hashint8(m.number)::bigint & 2147483647) % $3::int = 0`;

/** Weeks between days; with them the parameters are of the size that is published of other shops. */
function historyOf(
  { firstDay, lastDay, purchaseDays }: Pick<Counted, 'firstDay' | 'lastDay' | 'purchaseDays'>,
  throughDay: number,
): History {
  return {
    repeats: purchaseDays - 1,
    recency: (lastDay - firstDay) / weekDays,
    age: (throughDay - firstDay) / weekDays,
  };
}

function spendingOf({
  purchaseDays,
  repeatSpend,
}: Pick<Counted, 'purchaseDays' | 'repeatSpend'>): Spending | undefined {
  const purchases = purchaseDays - 1;
  return purchases > 0 && repeatSpend > 0 ? { purchases, mean: repeatSpend / purchases } : undefined;
}

/** Fits the models to a sample of a program's members, as they are through a day. */
export async function fitModels(
  db: pg.ClientBase,
  program: number,
  throughDay: number,
): Promise<Models | NoModels> {
  const { rows: counts } = await db.query<{ members: number }>(
    'select count(*) as members from member where program = $1',
    [program],
  );
  const every = Math.max(1, Math.ceil(counts[0]!.members / sampleMax));
  const { rows } = await db.query<SampledRow>({
    ...longQuery,
    text: sampleQuery,
    values: [program, throughDay, every],
  });
  const sample = rows.map((row) => ({
    firstDay: row.first_day,
    lastDay: row.last_day,
    purchaseDays: row.purchase_days,
    repeatSpend: row.repeat_spend,
  }));
  const sampled = sample.length;
  const repeaters = sample.filter(({ purchaseDays }) => purchaseDays > 1).length;
  if (repeaters < repeatersMin)
    return { missing: `of ${sampled} members only ${repeaters} have bought again`, sampled, repeaters };
  const histories = sample.map((each) => historyOf(each, throughDay));
  const buying = fitBuying(countedHistories(histories));
  const spendings = sample.map(spendingOf).filter((each) => each !== undefined);
  const spending = spendings.length >= repeatersMin ? fitSpending(spendings) : undefined;
  return {
    buying: buying.parameters,
    ...(spending ? { spending: spending.parameters } : {}),
    sampled,
    repeaters,
    buyingLogLikelihood: buying.logLikelihood,
    isFound: buying.isFound && (spending?.isFound ?? true),
  };
}

/** What the models expect of a member in the time of `value.horizonDays`. */
export function expectedOf(
  { buying, spending }: Models,
  counted: Counted,
  value: NonNullable<Segments['value']>,
  throughDay: number,
): Expected {
  const history = historyOf(counted, throughDay);
  const purchases = expectedPurchases(buying, history, value.horizonDays / weekDays);
  const alive = probabilityAlive(buying, history);
  if (!spending) return { alive, purchases };
  const known = spendingOf(counted) ?? { purchases: 0, mean: 0 };
  return { alive, purchases, value: purchases * expectedSpend(spending, known) };
}
