/**
 * Who works on which chunk. A worker claims one under a lease that it keeps while it works; where it stops doing so, another
 * takes the chunk over and begins it anew. Two that work on one chunk at a time, because the first stood still and did not
 * know, waste time and no points: what a gift is given once by is its reference (`gift.ts`).
 */
import type pg from 'pg';
import type { EpochMs, MemberNumber } from '#src/values.ts';

export interface Chunk {
  readonly run: number;
  readonly chunk: number;
  readonly program: number;
  readonly promotion: string;
  /** Such as `2026-11-08`. */
  readonly occurrence: string;
  readonly version: number;
  readonly dueAt: EpochMs;
  readonly attempt: number;
  readonly members: readonly MemberNumber[];
}

export interface ChunkDone {
  readonly given: number;
  /** By the word of the refusal. */
  readonly refused: Readonly<Record<string, number>>;
}

/** What time it is in each program. */
export interface ProgramTime {
  readonly program: number;
  readonly now: EpochMs;
}

/** What a killed worker had in hand waits so long. A page takes a tenth of it; whoever takes longer may work for nothing. */
const leaseSeconds = 10;
const retrySecondsMax = 60;

const claimQuery = `
  update give_chunk c set status = 'working', owner = $1, attempts = c.attempts + 1,
    lease_until = clock_timestamp() + interval '${leaseSeconds} seconds'
  from (
    select k.run, k.chunk, r.program, r.promotion, r.occurrence, r.version, r.due_at
    from unnest($2::int[], $3::bigint[]) as p(program, now)
    join give_run r on r.program = p.program and r.status = 'running' and r.due_at <= p.now
    join give_chunk k on k.run = r.run and k.due_at <= p.now and (
      (k.status = 'waiting' and (k.not_before is null or k.not_before <= clock_timestamp()))
      or (k.status = 'working' and k.lease_until < clock_timestamp()))
    order by k.due_at, k.run, k.chunk limit 1 for update of k skip locked) due
  where c.run = due.run and c.chunk = due.chunk
  returning c.run, c.chunk, due.program, due.promotion, due.occurrence::text, due.version, due.due_at as "dueAt",
    c.attempts as attempt, c.members`;

/** Claims the chunk that is due longest; undefined where none is. */
export async function claimChunk(
  pool: pg.Pool,
  owner: string,
  times: readonly ProgramTime[],
): Promise<Chunk | undefined> {
  const { rows } = await pool.query<Chunk>({
    name: 'claim-give-chunk',
    text: claimQuery,
    values: [owner, times.map(({ program }) => program), times.map(({ now }) => now)],
  });
  const chunk = rows[0];
  // node-postgres answers an array of bigint as texts.
  return chunk && { ...chunk, members: chunk.members.map((number) => Number(number) as MemberNumber) };
}

const own = `c.run = $1 and c.chunk = $2 and c.owner = $3 and c.attempts = $4 and c.status = 'working'`;
const ownValues = ({ run, chunk, attempt }: Chunk, owner: string) => [run, chunk, owner, attempt];

/** Keeps the lease; false where the chunk is another's by now or its run is paused. */
export async function keepChunk(pool: pg.Pool, owner: string, chunk: Chunk): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'keep-give-chunk',
    text: `update give_chunk c set lease_until = clock_timestamp() + interval '${leaseSeconds} seconds'
      from give_run r where ${own} and r.run = c.run and r.status = 'running'`,
    values: ownValues(chunk, owner),
  });
  return rowCount === 1;
}

/** Notes that everybody in the chunk has the points or was refused them; false where the chunk is another's by now. */
export async function endChunk(
  pool: pg.Pool,
  owner: string,
  chunk: Chunk,
  { given, refused }: ChunkDone,
): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'end-give-chunk',
    text: `update give_chunk c set status = 'done', members = null, given = $5, refused = $6, last_error = null, owner = null,
      lease_until = null, ended_at = clock_timestamp() where ${own}`,
    values: [...ownValues(chunk, owner), given, JSON.stringify(refused)],
  });
  return rowCount === 1;
}

/** Gives a chunk back undone; after an error it waits a while, longer each time. */
export async function returnChunk(
  pool: pg.Pool,
  owner: string,
  chunk: Chunk,
  error: string | undefined,
): Promise<void> {
  const seconds = error === undefined ? 0 : Math.min(retrySecondsMax, 2 ** Math.min(chunk.attempt, 10) / 2);
  await pool.query({
    name: 'return-give-chunk',
    text: `update give_chunk c set status = 'waiting', owner = null, lease_until = null, last_error = $5,
      not_before = clock_timestamp() + $6 * interval '1 second' where ${own}`,
    values: [...ownValues(chunk, owner), error ?? null, seconds],
  });
}

/** Ends the runs whose chunks are all done; answers how many. */
export async function endRuns(pool: pg.Pool): Promise<number> {
  const { rowCount } = await pool.query(
    `update give_run r set status = 'done', ended_at = clock_timestamp()
     where r.status in ('running', 'paused') and r.selected_at is not null and not exists (select from give_chunk c where c.run = r.run and c.status <> 'done')`,
  );
  return rowCount ?? 0;
}
