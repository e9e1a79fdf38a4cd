/** What was counted of members, as the table has it. */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import type { Measured } from './scores.ts';
import type { Range } from './statistics.ts';

interface FactRow {
  readonly member: MemberNumber;
  readonly first_day: number;
  readonly last_day: number;
  readonly purchase_days: number;
  readonly frequency: number;
  readonly monetary: number;
  readonly trend_spend: number;
  readonly trend_before: number;
  readonly repeat_spend: number;
  readonly rhythm_days: number | null;
  readonly back_day: number | null;
  readonly alive: number | null;
  readonly expected_purchases: number | null;
  readonly expected_value: number | null;
}

const columns = `member, first_day, last_day, purchase_days, frequency, monetary, trend_spend, trend_before, repeat_spend,
  rhythm_days, back_day, alive, expected_purchases, expected_value`;

const insertFacts = `
  insert into segment_fact (run, ${columns})
  select $1, * from unnest($2::bigint[], $3::int[], $4::int[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
    $10::bigint[], $11::int[], $12::int[], $13::float8[], $14::float8[], $15::float8[])`;

/** Keeps what was measured of some members. */
export async function keepFacts(tx: pg.ClientBase, run: number, all: readonly Measured[]): Promise<void> {
  if (all.length === 0) return;
  const column = (of: (each: Measured) => number | undefined) => all.map((each) => of(each) ?? null);
  await tx.query({
    name: 'keep-segment-facts',
    text: insertFacts,
    values: [
      run,
      column(({ member }) => member),
      column(({ firstDay }) => firstDay),
      column(({ lastDay }) => lastDay),
      column(({ purchaseDays }) => purchaseDays),
      column(({ frequency }) => frequency),
      column(({ monetary }) => monetary),
      column(({ trendSpend }) => trendSpend),
      column(({ trendBefore }) => trendBefore),
      column(({ repeatSpend }) => repeatSpend),
      column(({ rhythmDays }) => rhythmDays),
      column(({ backDay }) => backDay),
      column(({ expected }) => expected?.alive),
      column(({ expected }) => expected?.purchases),
      column(({ expected }) => expected?.value),
    ],
  });
}

function measuredOf(row: FactRow): Measured {
  const { alive, expected_purchases: purchases, expected_value: value } = row;
  return {
    member: row.member,
    firstDay: row.first_day,
    lastDay: row.last_day,
    purchaseDays: row.purchase_days,
    frequency: row.frequency,
    monetary: row.monetary,
    trendSpend: row.trend_spend,
    trendBefore: row.trend_before,
    repeatSpend: row.repeat_spend,
    rhythmDays: row.rhythm_days ?? undefined,
    backDay: row.back_day ?? undefined,
    ...(alive === null || purchases === null
      ? {}
      : { expected: { alive, purchases, value: value ?? undefined } }),
  };
}

/** What a run measured of the members of a range, in the order of their numbers. */
export async function readFacts(
  db: pg.Pool | pg.ClientBase,
  run: number,
  { after, last }: Range,
): Promise<Measured[]> {
  const { rows } = await db.query<FactRow>({
    name: 'read-segment-facts',
    text: `select ${columns} from segment_fact where run = $1 and member > $2 and member <= $3 order by member`,
    values: [run, after, last],
  });
  return rows.map(measuredOf);
}

/** The next members that a run measured, at most so many. */
export async function nextFacts(
  db: pg.Pool | pg.ClientBase,
  run: number,
  after: number,
  limit: number,
): Promise<Measured[]> {
  const { rows } = await db.query<FactRow>({
    name: 'next-segment-facts',
    text: `select ${columns} from segment_fact where run = $1 and member > $2 order by member limit $3`,
    values: [run, after, limit],
  });
  return rows.map(measuredOf);
}

/** Forgets facts of a program's runs before the one in force, at most so many rows; answers how many. */
export async function forgetFacts(pool: pg.Pool, program: number, limit: number): Promise<number> {
  const { rowCount } = await pool.query(
    `delete from segment_fact f using (
       select s.run, s.member from segment_run r join program p on p.number = r.program and r.run < p.segment_run
       cross join lateral (select run, member from segment_fact where run = r.run limit $2) s
       where r.program = $1 limit $2) old
     where f.run = old.run and f.member = old.member`,
    [program, limit],
  );
  return rowCount ?? 0;
}
