/**
 * When everything of a day that ended is in the diary, so that nobody goes down, is measured or warned by half of what was done.
 *
 * Whoever asks first after a program's day has begun notes where the journals end: all that was acknowledged before is at or
 * before those places, whether the ledger writer has booked it yet or not. The day is read when the diary has come so far, in
 * every shard. A later epoch stands for all of the ones before it, because nothing is ever booked in an earlier one.
 *
 * The wait has an end: a diary that cannot go on must not keep everybody's tier for ever, and what it reads later is a late
 * receipt. Until then it is a metric with an alarm.
 */
import type pg from 'pg';
import type { Position } from '#src/values.ts';

/** Where the journals are asked. */
export interface Journals {
  readonly shardCount: number;
  /** The place of the last record of a shard. */
  journalEnd(shard: number): Promise<Position>;
}

/** `given_up`: the diary was waited for as long as it may be. */
export interface DayRead {
  readonly status: 'read' | 'waiting' | 'given_up';
  readonly waitedMs: number;
}

/** The alarm comes after ten minutes; a follower that only was behind has read a hundred million operations by then. */
export const dayWaitMsMax = 2 * 3_600_000;

async function isNoted(pool: pg.Pool, program: number, beganDay: number): Promise<boolean> {
  const { rows } = await pool.query('select from diary_day_end where program = $1 and began_day >= $2', [
    program,
    beganDay,
  ]);
  return rows.length > 0;
}

async function note(pool: pg.Pool, journals: Journals, program: number, beganDay: number): Promise<void> {
  const shards = Array.from({ length: journals.shardCount }, (_, shard) => shard);
  const ends = await Promise.all(shards.map((shard) => journals.journalEnd(shard)));
  await pool.query(
    `insert into diary_day_end as e (program, began_day, ends) values ($1, $2, $3)
     on conflict (program) do update set began_day = excluded.began_day, ends = excluded.ends, noted_at = clock_timestamp()
       where e.began_day < excluded.began_day`,
    [program, beganDay, JSON.stringify(ends.map(({ shard, epoch, seq }) => [shard, epoch, seq]))],
  );
}

/** Whether the diary holds what was acknowledged before a day of the program began; notes where that ends when asked first. */
export async function isDayRead(
  pool: pg.Pool,
  journals: Journals,
  program: number,
  beganDay: number,
): Promise<DayRead> {
  if (!(await isNoted(pool, program, beganDay))) await note(pool, journals, program, beganDay);
  const { rows } = await pool.query<{ waitedMs: number; behind: boolean }>(
    `select (extract(epoch from clock_timestamp() - e.noted_at) * 1000)::bigint as "waitedMs",
       exists (select from json_array_elements(e.ends) n left join diary_position d on d.shard = (n ->> 0)::smallint
         where d.shard is null or (d.epoch, d.seq) < ((n ->> 1)::int, (n ->> 2)::bigint)) as behind
     from diary_day_end e where e.program = $1`,
    [program],
  );
  const { waitedMs, behind } = rows[0]!;
  if (!behind) return { status: 'read', waitedMs: 0 };
  return { status: waitedMs < dayWaitMsMax ? 'waiting' : 'given_up', waitedMs };
}
