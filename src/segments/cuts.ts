/** The cut points of a run, over the facts of all its members: quantiles and shares, by PostgreSQL. */
import type pg from 'pg';
import type { Segments } from '#src/earning/file/segment-schema.ts';
import type { Cuts } from './scores.ts';
import { longQuery } from './statistics.ts';

/** Of those who bought in the window. */
const fifthsQuery = `
  select percentile_disc(array[0.2, 0.4, 0.6, 0.8]) within group (order by $2::int - last_day) as recency,
    percentile_disc(array[0.2, 0.4, 0.6, 0.8]) within group (order by frequency)::text[] as frequency,
    percentile_disc(array[0.2, 0.4, 0.6, 0.8]) within group (order by monetary)::text[] as monetary
  from segment_fact where run = $1 and frequency > 0`;

/** Members who spent the same are in one class: whether they are is asked of all who spent more. */
const sharesQuery = `
  with spent as (select monetary, sum(monetary) as sum from segment_fact where run = $1 and monetary > 0 group by monetary),
    shares as (select monetary, sum(sum) over (order by monetary desc) - sum as above, sum(sum) over () as total from spent)
  select min(monetary) filter (where above * 100 < total * $2::int) as a, min(monetary) filter (where above * 100 < total * $3::int) as b
  from shares`;

const valueQuery = `
  select percentile_disc(array[$2::float8, $3::float8]) within group (order by expected_value) as value
  from segment_fact where run = $1 and expected_value is not null`;

/** Finds the cut points. PostgreSQL sorts on disk what does not fit its memory. */
export async function cutsOf(
  db: pg.ClientBase,
  run: number,
  { spendClasses, value }: Segments,
  throughDay: number,
): Promise<Cuts> {
  const fifths = await db.query<{
    recency: number[] | null;
    frequency: string[] | null;
    monetary: string[] | null;
  }>({ ...longQuery, text: fifthsQuery, values: [run, throughDay] });
  const { recency, frequency, monetary } = fifths.rows[0]!;
  const shares = await db.query<{ a: number | null; b: number | null }>({
    ...longQuery,
    text: sharesQuery,
    values: [run, spendClasses.a, spendClasses.b],
  });
  const { a, b } = shares.rows[0]!;
  const cuts: Cuts = {
    recency: recency ?? [],
    frequency: (frequency ?? []).map(Number),
    monetary: (monetary ?? []).map(Number),
    ...(a === null ? {} : { spendA: a }),
    ...(b === null ? {} : { spendB: b }),
  };
  if (!value) return cuts;
  const medium = (100 - value.highPercent - value.mediumPercent) / 100;
  const values = await db.query<{ value: number[] | null }>({
    ...longQuery,
    text: valueQuery,
    values: [run, medium, (100 - value.highPercent) / 100],
  });
  const found = values.rows[0]!.value;
  return found ? { ...cuts, value: found } : cuts;
}
