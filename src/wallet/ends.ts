/** When points end that end together by inactivity, as the books have it: for what gives points back and is no activity. */
import type pg from 'pg';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { requestQuery } from './limits.ts';

export type End = readonly [currency: number, end: EpochMs];

const latestEnds = `
  select c.currency, coalesce(max(l.expires_at) filter (where l.expires_at <> l.available_at), 0)::bigint as end
  from unnest($2::smallint[]) as c(currency) left join lot l on l.member = $1 and l.currency = c.currency group by c.currency`;

/**
 * How late the member's points of these currencies were ever dated, 0 where there were none. Every activity dates all points
 * that are there, spent ones keep their row, and no end ever comes nearer: so that is the end that the last activity gave.
 */
export async function endsInBooks(
  pool: pg.Pool,
  member: MemberNumber,
  currencies: readonly number[],
): Promise<End[]> {
  const { rows } = await pool.query<{ currency: number; end: EpochMs }>({
    ...requestQuery,
    name: 'latest-ends',
    text: latestEnds,
    values: [member, currencies],
  });
  return rows.map(({ currency, end }) => [currency, end] as const);
}
