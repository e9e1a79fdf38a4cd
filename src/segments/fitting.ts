/**
 * The models of a run: their parameters, fitted to a sample of the program's members, and what they expect of each.
 *
 * The sample is taken by a hash of the member's number, so that the same members give the same parameters whatever their order.
 * It is fitted in a thread of its own (`segments/fit-thread.ts`): the process that measures members also reads the diary, and a
 * promotion may not wait for it.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type pg from 'pg';
import { carriedSum } from '#src/diary/reading.ts';
import type { Segments } from '#src/earning/file/segment-schema.ts';
import { expectedPurchases, probabilityAlive } from './bgnbd.ts';
import { historyOf, type Models, type NoModels, type Sampled, spendingOf, weeksOf } from './fit.ts';
import { expectedSpend } from './gamma-gamma.ts';
import type { Counted, Expected } from './scores.ts';
import { longQuery } from './statistics.ts';

/** The parameters of CDNOW's tenth, 2,357 members, are known to some percent; fitting so many takes some seconds. */
export const sampleMax = 50_000;
const fitMsMax = 300_000;

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
    and (hashint8(m.number)::bigint & 2147483647) % $3::int = 0
  order by m.number`;

/** Fits in a thread; what it does not answer in time is given up, and the run's step with it. */
async function fitApart(sample: readonly Sampled[], throughDay: number): Promise<Models | NoModels> {
  const thread = new Worker(new URL('./fit-thread.ts', import.meta.url), {
    workerData: { sample, throughDay },
  });
  try {
    const [models] = await once(thread, 'message', { signal: AbortSignal.timeout(fitMsMax) });
    return models as Models | NoModels;
  } finally {
    await thread.terminate();
  }
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
  return fitApart(sample, throughDay);
}

/** What the models expect of a member in the time of `value.horizonDays`. */
export function expectedOf(
  { buying, spending }: Models,
  counted: Counted,
  value: NonNullable<Segments['value']>,
  throughDay: number,
): Expected {
  const history = historyOf(counted, throughDay);
  const purchases = expectedPurchases(buying, history, weeksOf(value.horizonDays));
  const alive = probabilityAlive(buying, history);
  if (!spending) return { alive, purchases };
  const known = spendingOf(counted) ?? { purchases: 0, mean: 0 };
  return { alive, purchases, value: purchases * expectedSpend(spending, known) };
}
