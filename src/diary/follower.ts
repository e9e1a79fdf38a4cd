/**
 * Reads what is booked into the diary, turn by turn.
 *
 * A turn is one database transaction: it locks the bookmarks of shards that have something new (those that another process
 * reads are left to it), reads the next operations of each, writes what they mean and moves the bookmarks. Data and
 * bookmarks commit together, so a process that dies anywhere loses nothing and doubles nothing, and any number may run.
 * Nothing here touches what the ledger writer locks.
 *
 * Invariant: the diary is a function of the books up to its bookmarks, whatever turns they were read in. What a member's
 * own shard says is read in order; what other shards say of the member (returns and merges of members who became one)
 * gives the same sums in any order.
 */
import type pg from 'pg';
import type { Program, Programs } from '#src/earning/program.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { Logger, Metrics } from '#src/platform/telemetry.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { additionOf } from './deeds.ts';
import { type Merge, moveMerged, type SurvivorOf, survivors } from './merges.ts';
import { type Contents, contentsOf } from './page.ts';
import { createProgramFor, type ProgramFor } from './programs.ts';
import { applyReturns, noteWhole } from './returns.ts';
import { type VisitChange, writeDays, writeOrders, writePoints } from './rows.ts';
import { createTally, type DayChange, type Tally, underSurvivors } from './tally.ts';
import { type Lag, lagOf, type Page, showLag, unread } from './unread.ts';

/** A day of a member on which something changed. */
export interface Touched {
  readonly program: Program;
  readonly member: MemberNumber;
  readonly day: number;
  /** When the latest of what is newly known of the day was done; undefined where something only came back or moved. */
  readonly doneAt: EpochMs | undefined;
}

/** Called in a turn's database transaction when the days are written, before it commits. */
export type Hook = (tx: pg.PoolClient, touched: readonly Touched[]) => Promise<void>;

export interface FollowerOptions {
  readonly pool: pg.Pool;
  readonly programs: Programs;
  readonly log: Pick<Logger, 'warn' | 'error'>;
  readonly metrics: Pick<
    Metrics,
    'diaryLagRecords' | 'diaryLagSeconds' | 'diaryOperations' | 'diaryTurnDuration' | 'diaryUncounted'
  >;
  readonly hook?: Hook;
}

export interface Follower {
  /** Reads what is new, at most a turn of it; answers how many operations it read. */
  turn(): Promise<number>;
}

/** A turn is one pause for whoever waits for the same member's rows: 2,000 operations take some 60 ms. */
export const operationsPerTurnMax = 2_000;

/** What a turn read and how far. */
export interface Turn extends Lag {
  readonly pages: readonly Page[];
  readonly uncounted: number;
}

const nothing: Turn = { pages: [], operations: 0, uncounted: 0, unread: 0, oldestPostedAt: undefined };

/** Adds deeds and returns up. */
async function tallyOf(tx: pg.ClientBase, contents: Contents): Promise<Tally> {
  const tally = createTally();
  for (const deed of contents.deeds) tally.add(deed, additionOf(deed), true);
  await noteWhole(tx, contents.lateDeeds);
  await applyReturns(tx, contents.returns, contents.quarantined, (deed, change) => {
    tally.add(deed, change, false);
  });
  return tally;
}

/** Members whose days change by what somebody else brought back: they may be of any shard. */
function foreignIn({ returns }: Contents): MemberNumber[] {
  return returns.flatMap(({ deed, by }) => (deed.accrual.member === by ? [] : [deed.accrual.member]));
}

function dayOfVisit({ member, day, visits }: VisitChange): DayChange {
  return { member, day, visits, spend: 0, flights: 0, distance: 0 };
}

function addDays(into: DayChange, row: DayChange): void {
  into.visits += row.visits;
  into.spend += row.spend;
  into.flights += row.flights;
  into.distance += row.distance;
}

/** Writes what was added up under those whose days they are now; answers which days changed. */
async function write(
  tx: pg.ClientBase,
  tally: Tally,
  merges: readonly Merge[],
  survivorOf: SurvivorOf,
): Promise<{ member: MemberNumber; day: number }[]> {
  const visits = await writeOrders(tx, tally.orders.values());
  const changes = [...tally.days.values(), ...visits.map(dayOfVisit)];
  const days = underSurvivors(changes, survivorOf, ({ day }) => `${day}`, addDays);
  const points = underSurvivors(
    tally.points.values(),
    survivorOf,
    ({ currency, day }) => `${currency}.${day}`,
    (into, { earned }) => {
      into.earned += earned;
    },
  );
  await writeDays(tx, days);
  await writePoints(tx, points);
  return [...days, ...points, ...(await moveMerged(tx, merges, survivorOf))];
}

/** The programs of members who changed; a survivor is of the same as who was merged into it. */
async function programsOf(
  tx: pg.ClientBase,
  tally: Tally,
  programFor: ProgramFor,
  members: ReadonlySet<MemberNumber>,
): Promise<Map<MemberNumber, Program>> {
  const programs = new Map(tally.programs);
  const unknown = [...members].filter((member) => !programs.has(member));
  if (unknown.length === 0) return programs;
  const { rows } = await tx.query<{ number: MemberNumber; program: number }>(
    'select number, program from member where number = any($1::bigint[])',
    [unknown],
  );
  for (const { number, program } of rows) programs.set(number, await programFor(program, undefined));
  return programs;
}

/** When the latest deed of each day was done, by those whose days they are now. */
function latestDeeds({ deeds }: Contents, survivorOf: SurvivorOf): Map<string, EpochMs> {
  const latest = new Map<string, EpochMs>();
  for (const { accrual, day } of deeds) {
    const key = `${survivorOf(accrual.member)}.${day}`;
    latest.set(key, Math.max(latest.get(key) ?? accrual.occurredAt, accrual.occurredAt));
  }
  return latest;
}

async function touchedOf(
  tx: pg.ClientBase,
  tally: Tally,
  programFor: ProgramFor,
  changed: readonly { member: MemberNumber; day: number }[],
  latest: ReadonlyMap<string, EpochMs>,
): Promise<Touched[]> {
  const programs = await programsOf(tx, tally, programFor, new Set(changed.map(({ member }) => member)));
  const touched = new Map<string, Touched>();
  for (const { member, day } of changed) {
    const program = programs.get(member);
    const key = `${member}.${day}`;
    if (program) touched.set(key, { program, member, day, doneAt: latest.get(key) });
  }
  return [...touched.values()];
}

/** One turn inside a database transaction. The diary is the one that the transaction's `search_path` finds. */
export async function readTurn(
  tx: pg.ClientBase,
  programFor: ProgramFor,
  onTouched?: (touched: readonly Touched[]) => Promise<void>,
  rowsMax = operationsPerTurnMax,
): Promise<Turn> {
  const marks = await unread.lockBookmarks(tx);
  if (marks.length === 0) return nothing;
  const pages = await unread.readPages(tx, marks, rowsMax);
  const contents = await contentsOf(tx, programFor, pages);
  const tally = await tallyOf(tx, contents);
  const members = tally.programs.keys();
  const survivorOf = await survivors(tx, members, foreignIn(contents), contents.merges);
  const changed = await write(tx, tally, contents.merges, survivorOf);
  if (onTouched && changed.length > 0) {
    const latest = latestDeeds(contents, survivorOf);
    await onTouched(await touchedOf(tx, tally, programFor, changed, latest));
  }
  await unread.moveBookmarks(tx, pages);
  return { pages, uncounted: contents.uncounted, ...lagOf(marks, pages) };
}

/** A follower of the books; several may run. */
export function createFollower({ pool, programs, log, metrics, hook }: FollowerOptions): Follower {
  const programFor = createProgramFor(programs);
  return {
    async turn() {
      if (!(await unread.hasUnread(pool))) {
        metrics.diaryLagRecords.set(0);
        metrics.diaryLagSeconds.set(0);
        return 0;
      }
      const end = metrics.diaryTurnDuration.startTimer();
      const turn = await inTransaction(pool, (tx) =>
        readTurn(tx, programFor, hook && ((touched) => hook(tx, touched))),
      );
      end();
      metrics.diaryOperations.inc(turn.operations);
      showLag(turn, metrics.diaryLagRecords, metrics.diaryLagSeconds);
      if (turn.uncounted > 0) {
        metrics.diaryUncounted.inc(turn.uncounted);
        log.warn({ operations: turn.uncounted }, 'operations could not be counted in the diary');
      }
      return turn.operations;
    },
  };
}
