/**
 * Changes of tier become known. A change is written to PostgreSQL first; then a record in the member's journal raises the
 * version of its facts, so that every process that remembers the old tier is told `stale_facts` by the next script and reads
 * again. The ledger writer completes the change with that record's place, in the commit that carries the new version.
 *
 * The record's reference is made of the change's id, so that however often and by however many processes a change is
 * announced, it is once: whoever dies between the two leaves a change without a record, and the next one announces it.
 *
 * Changes of one member may become known in another order than they were made; the higher number counts (`spans.ts`).
 */
import type pg from 'pg';
import type { Program, Programs } from '#src/earning/program.ts';
import { type NewEvent, writeEvents } from '#src/ledger/events.ts';
import { type Step, tryStep } from '#src/members/engine.ts';
import type { EpochMs, MemberNumber, Position } from '#src/values.ts';
import type { Operations, Recorded } from '#src/wallet/operations.ts';
import { dateText } from './days.ts';
import type { Day } from './ladder/types.ts';

interface SilentChange {
  readonly change: string;
  readonly program: number;
  readonly member: MemberNumber;
  readonly ladder: string;
  readonly from_tier: string;
  readonly to_tier: string;
  readonly since: Day;
}

/** The record of a change. */
export function announcementOf(program: Program, change: SilentChange): Step {
  const { change: id, member, ladder, from_tier: from, to_tier: to, since } = change;
  return {
    program,
    member,
    script: 'status',
    kind: 'tier',
    reference: `tier/${id}`,
    input: { facts: true },
    request: { body: { action: 'tier', ladder, from, to, since: dateText(since) }, tier: { change: id } },
  };
}

export interface Announcer {
  /** Announces what is waiting, at most so many; answers how many became known. */
  announce(limit: number): Promise<number>;
}

/** What runs the steps; a worker lets others go first. */
export interface Turns {
  take<T>(call: () => Promise<T>): Promise<T>;
  gave(position: Position): void;
}

/** Together they are one call of a script for each shard. */
const pageChanges = 256;
const perTurn = 64;
const writtenMsMax = 15_000;
/** What cannot be announced is tried again then, and holds up no other. */
const retryMs = 5_000;
/** Changes that fail while others of their place do not: of more than these the oldest are tried again at once. */
const failedChangesMax = 1_000;

/**
 * What receipts and people bring, and what nights bring: each announcer has one of the two. The changes of a night may be hundreds
 * of thousands and leave the machine to the tills; in one order with them a promotion waited for a page of theirs and its booking,
 * 0.9 s at the median.
 */
export type Lane = 'receipts' | 'nights';

const silentQuery = (which: string) =>
  `select change::text, program, member, ladder, from_tier, to_tier, since from tier_change
  where is_move and facts is null and ${which} and change <> all($2::uuid[])
    and program::bigint * $4 + member % $4 <> all($3::bigint[])
  order by recorded_at, change limit $1`;
const laneQueries: Readonly<Record<Lane, string>> = {
  receipts: silentQuery('run is null'),
  nights: silentQuery('run is not null'),
};
const ofMemberQuery = silentQuery('member = $5');

/** Completes what the writer found no row for, such as after a restore: by then the record is in the books. */
async function complete(
  pool: pg.Pool,
  done: readonly (readonly [change: string, Recorded])[],
): Promise<void> {
  await pool.query(
    `update tier_change c set facts = k.facts, epoch = k.epoch, seq = k.seq
     from unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[]) k (change, facts, epoch, seq)
     where c.change = k.change and c.facts is null`,
    [
      done.map(([change]) => change),
      done.map(([, { effect }]) => effect.facts ?? 0),
      done.map(([, { position }]) => position.epoch),
      done.map(([, { position }]) => position.seq),
    ],
  );
}

function lastOf(done: readonly (readonly [change: string, Recorded])[]): Position[] {
  const last = new Map<number, Position>();
  for (const [, { position }] of done) {
    const known = last.get(position.shard);
    const isLater =
      !known || position.epoch > known.epoch || (position.epoch === known.epoch && position.seq > known.seq);
    if (isLater) last.set(position.shard, position);
  }
  return [...last.values()];
}

export interface AnnouncerContext {
  readonly pool: pg.Pool;
  readonly programs: Pick<Programs, 'get'>;
  readonly operations: Operations;
  failed(change: string, error: unknown): void;
  /** Asked before each page; absent: there is time. */
  readonly mayGoOn?: () => boolean;
}

/** What became of a page. */
interface Announced {
  readonly known: number;
  readonly failed: readonly SilentChange[];
}

async function announcePage(
  context: AnnouncerContext,
  changes: readonly SilentChange[],
  turns: Turns,
): Promise<Announced> {
  const { pool, programs, operations } = context;
  const done: (readonly [string, Recorded])[] = [];
  const failed: SilentChange[] = [];
  async function one(change: SilentChange): Promise<void> {
    try {
      const program = programs.get(change.program);
      if (!program) throw new Error(`program ${change.program} is not known here yet`);
      const outcome = await tryStep(operations, announcementOf(program, change));
      if (outcome.status !== 'performed') throw new Error(`a change of tier ended as ${outcome.status}`);
      operations.lookup.forget(change.member);
      if (!outcome.replayed) turns.gave(outcome.recorded.position);
      done.push([change.change, outcome.recorded]);
    } catch (error) {
      context.failed(change.change, error);
      failed.push(change);
    }
  }
  const calls = Array.from({ length: Math.ceil(changes.length / perTurn) }, (_, i) =>
    changes.slice(i * perTurn, (i + 1) * perTurn),
  );
  await Promise.all(calls.map((call) => turns.take(() => Promise.all(call.map(one)))));
  const waited = await Promise.all(
    lastOf(done).map((position) => operations.wallet.waitWritten(position, writtenMsMax)),
  );
  // Where a shard was recovered meanwhile, the next attempt asks the books what became of these.
  if (done.length > 0 && waited.every((each) => each === 'written')) await complete(pool, done);
  return { known: done.length, failed };
}

const alone: Turns = { take: (call) => call(), gave: () => {} };

/** What is left alone for some seconds: single changes, and places, a program's members of a shard, of which all of a page failed. */
function createRests(placeOf: (change: SilentChange) => number) {
  const changes = new Map<string, number>();
  const places = new Map<number, number>();
  const over = (rests: Map<unknown, number>, now: number) => {
    for (const [key, until] of rests) if (until <= now) rests.delete(key);
  };
  return {
    now(): { readonly changes: string[]; readonly places: number[] } {
      const now = performance.now();
      over(changes, now);
      over(places, now);
      return { changes: [...changes.keys()], places: [...places.keys()] };
    },
    add(page: readonly SilentChange[], failed: readonly SilentChange[]): void {
      const until = performance.now() + retryMs;
      const pages = Map.groupBy(page, placeOf);
      for (const [place, own] of Map.groupBy(failed, placeOf)) {
        // One that fails alone says nothing of the others there.
        if (own.length > 1 && own.length === pages.get(place)!.length) places.set(place, until);
        else for (const { change } of own) changes.set(change, until);
      }
      for (const change of changes.keys()) {
        if (changes.size <= failedChangesMax) break;
        changes.delete(change);
      }
    },
  };
}

export function createAnnouncer(context: AnnouncerContext, lane: Lane, turns: Turns = alone): Announcer {
  const { pool, operations, mayGoOn = () => true } = context;
  const { shardCount, shardOf } = operations.wallet;
  const rests = createRests(({ program, member }) => program * shardCount + shardOf(member));
  return {
    async announce(limit) {
      let known = 0;
      while (known < limit && mayGoOn()) {
        const { changes, places } = rests.now();
        const values = [pageChanges, changes, places, shardCount];
        const { rows } = await pool.query<SilentChange>(laneQueries[lane], values);
        if (rows.length === 0) break;
        const page = await announcePage(context, rows, turns);
        rests.add(rows, page.failed);
        known += page.known;
        // Where nothing of a page can be announced, the next one would fare the same.
        if (page.known === 0) break;
      }
      return known;
    },
  };
}

/** Announces a member's changes at once, for a caller who waits; what fails is left to the worker. */
export async function announceOf(context: AnnouncerContext, member: MemberNumber): Promise<boolean> {
  const { pool, operations } = context;
  const values = [pageChanges, [], [], operations.wallet.shardCount, member];
  const { rows } = await pool.query<SilentChange>(ofMemberQuery, values);
  return (await announcePage(context, rows, alone)).failed.length === 0;
}

interface UntoldChange extends SilentChange {
  readonly until: Day | null;
  readonly origin: string;
  readonly reason: Record<string, unknown>;
  readonly recorded_at: EpochMs;
}

const tellLimit = 1_000;

/**
 * Writes an event for every change that has become known and has none; answers how many. The mark and the event are in one
 * commit, and the lock on the feed keeps a second teller waiting until the first one's marks can be seen.
 */
export async function tellChanges(pool: pg.Pool): Promise<number> {
  const tx = await pool.connect();
  let failed = true;
  try {
    await tx.query('begin');
    const { rows } = await tx.query<UntoldChange>(
      `select change::text, program, member, ladder, from_tier, to_tier, since, until, origin, reason, recorded_at
       from tier_change where told_at is null and facts is not null order by recorded_at, change limit ${tellLimit}
       for update skip locked`,
    );
    for (const [program, changes] of Map.groupBy(rows, (row) => row.program)) {
      await writeEvents(tx, { number: program }, 'tier.changed', changes.map(eventOf));
    }
    await tx.query('update tier_change set told_at = clock_timestamp() where change = any($1::uuid[])', [
      rows.map(({ change }) => change),
    ]);
    await tx.query('commit');
    failed = false;
    return rows.length;
  } finally {
    if (failed) await tx.query('rollback').catch(() => {});
    tx.release(failed);
  }
}

function eventOf({ change, member, recorded_at: at, ...row }: UntoldChange): NewEvent {
  const { ladder, from_tier: from, to_tier: to, since, until, origin, reason } = row;
  const end = until === null ? {} : { until: dateText(until) };
  return {
    member,
    key: change,
    at,
    content: { ladder, from, to, since: dateText(since), ...end, origin, reason },
  };
}
