/**
 * Where each part of the continuous audit goes on. A place is kept in PostgreSQL, so a restart does not begin again and
 * several upkeep processes share one pass. Two that run a part at once do the same work twice and only one moves on.
 */
import type pg from 'pg';

export const auditParts = ['hot', 'books', 'entries', 'rows', 'transfers'] as const;
export type AuditPart = (typeof auditParts)[number];

export interface PlaceRow {
  /** Where the pass goes on; null at its beginning. */
  readonly place: unknown;
  readonly version: number;
  /** Findings of this pass so far, and of the one before. */
  readonly found: number;
  readonly foundBefore: number;
}

interface StoredPlace {
  readonly at: unknown;
  readonly found: number;
  readonly foundBefore: number;
}

export async function readPlace(pool: pg.Pool, part: AuditPart): Promise<PlaceRow> {
  await pool.query(
    `insert into audit_place (part, place) values ($1, '{"at":null,"found":0,"foundBefore":0}') on conflict do nothing`,
    [part],
  );
  const { rows } = await pool.query<{ place: StoredPlace; version: number }>(
    'select place, version from audit_place where part = $1',
    [part],
  );
  const { place, version } = rows[0]!;
  return { place: place.at, version, found: place.found, foundBefore: place.foundBefore };
}

/** Moves a part on; `at` undefined ends the pass. False when another process was faster. */
export async function movePlace(
  pool: pg.Pool,
  part: AuditPart,
  row: PlaceRow,
  at: unknown,
  found: number,
): Promise<boolean> {
  const isEnd = at === undefined;
  const place: StoredPlace = isEnd
    ? { at: null, found: 0, foundBefore: row.found + found }
    : { at, found: row.found + found, foundBefore: row.foundBefore };
  const moved = await pool.query(
    `update audit_place set place = $3, version = version + 1, changed_at = now(),
       passes = passes + case when $4 then 1 else 0 end,
       pass_seconds = case when $4 then extract(epoch from now() - pass_started_at) else pass_seconds end,
       pass_started_at = case when $4 then now() else pass_started_at end
     where part = $1 and version = $2`,
    [part, row.version, JSON.stringify(place), isEnd],
  );
  return moved.rowCount === 1;
}

export interface PassRow {
  readonly part: AuditPart;
  /** How long the last whole pass took; null before the first. */
  readonly pass_seconds: number | null;
  /** How long this pass has been going on. */
  readonly age_seconds: number;
  readonly passes: number;
  readonly found: number;
}

/** How the passes stand. `found` is the larger of this pass and the one before, so that an end of a pass hides nothing. */
export async function passes(pool: pg.Pool): Promise<PassRow[]> {
  const { rows } = await pool.query<PassRow>(
    `select part, pass_seconds, extract(epoch from now() - pass_started_at)::float8 as age_seconds, passes,
       greatest((place ->> 'found')::int, (place ->> 'foundBefore')::int) as found from audit_place`,
  );
  return rows;
}
