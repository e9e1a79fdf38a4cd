/**
 * The stretches of ids in which operations and entries are kept: the months, `past` before the first of them and `ahead`
 * after the last (migration `partitions`). The newest are written and read, the others are only looked into by name.
 */
import type pg from 'pg';

export interface Stretch {
  /** As in the names of its two tables: `2026_11`, `past`, `ahead`. */
  readonly name: string;
  /** Bounds as ids; null is without end. */
  readonly firstId: string | null;
  readonly endId: string | null;
  readonly from: Date | null;
  readonly to: Date | null;
  /** PostgreSQL's estimate; null where it has not looked at the month yet. */
  readonly operations: number | null;
  readonly bytes: number;
}

const stretchesQuery = `
  with stretch as (
    select substring(c.relname from '^operation_(.+)$') as name, c.oid, c.reltuples,
      substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \\(''([0-9a-f-]{36})''\\)')::uuid as first_id,
      substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \\(''([0-9a-f-]{36})''\\)')::uuid as end_id
    from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'operation'::regclass)
  select name, first_id as "firstId", end_id as "endId", to_timestamp(id_ms(first_id) / 1000.0) as "from",
    to_timestamp(id_ms(end_id) / 1000.0) as "to", nullif(reltuples, -1)::float8 as operations,
    (pg_total_relation_size(oid) + pg_total_relation_size(('entry_' || name)::regclass))::float8 as bytes
  from stretch order by first_id nulls first`;

/** All stretches, oldest first. */
export async function stretches(connection: Pick<pg.ClientBase, 'query'>): Promise<Stretch[]> {
  return (await connection.query<Stretch>(stretchesQuery)).rows;
}

const aheadCountMax = 10_000;

/**
 * Adds months that are missing ahead, and counts what stands in `ahead` because none was there. While both tables are
 * read for longer than half a second no month is added: the next run does it.
 */
export async function extendLedger(
  pool: Pick<pg.Pool, 'query'>,
): Promise<{ readonly added: number; readonly ahead: number; readonly isPutOff: boolean }> {
  let [added, isPutOff] = [0, false];
  try {
    added = (await pool.query<{ added: number }>('select extend_ledger() as added')).rows[0]!.added;
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    isPutOff = true;
  }
  const { rows } = await pool.query<{ ahead: number }>(
    'select count(*)::int as ahead from (select from operation_ahead limit $1) few',
    [aheadCountMax],
  );
  return { added, ahead: rows[0]!.ahead, isPutOff };
}

/** PostgreSQL's `lock_not_available`: a lock was not had within `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '55P03';
}
