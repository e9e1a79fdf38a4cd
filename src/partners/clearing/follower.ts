/**
 * Reads what is booked into clearing entries, turn by turn, behind the ledger writer and never in its way.
 *
 * A turn is one database transaction, as of the diary: it locks the bookmarks of shards that have something new, reads the next
 * operations of each, writes what concerns partners and moves the bookmarks. Data and bookmarks commit together, so a process that
 * dies anywhere loses nothing and doubles nothing, and any number may run. An entry belongs to the month in which it was
 * decided, by the program's clock and zone; where that month is closed for the partner already, to the first that is not.
 *
 * Invariant: the entries are a function of the books up to the bookmarks, but for the month of what was late. Reading everything
 * again adds nothing that is there.
 */
import type pg from 'pg';
import { createProgramFor, type ProgramFor } from '#src/diary/programs.ts';
import { type Lag, lagOf, showLag } from '#src/diary/unread.ts';
import type { Program, Programs } from '#src/earning/program.ts';
import { readPartners } from '#src/partners/contracts/store.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { Logger, Metrics } from '#src/platform/telemetry.ts';
import { coverAll } from './covering.ts';
import { type Booked, type Entry, entriesOf } from './entries.ts';
import { openMonth } from './months.ts';
import { lookFor, type Reading, readingOf, unread } from './reading.ts';
import { type Original, sharesBack, sharesOf, undoneBy } from './shares.ts';
import { holdClosings, insertEntries, type StoredEntry } from './store.ts';

export interface ClearingOptions {
  readonly pool: pg.Pool;
  readonly programs: Programs;
  readonly log: Pick<Logger, 'warn' | 'error'>;
  readonly metrics: Pick<
    Metrics,
    'clearingLagRecords' | 'clearingLagSeconds' | 'clearingEntries' | 'clearingUnpriced' | 'clearingUncovered'
  >;
}

export interface ClearingFollower {
  /** Reads what is new, at most a turn of it; answers how many operations it read. */
  turn(): Promise<number>;
}

export const operationsPerTurnMax = 2_000;

/** What a turn read and wrote. */
interface Turn extends Lag {
  readonly entries: readonly Entry[];
  /** Of prepaid partners, and not paid for by blocks. */
  readonly uncovered: number;
  /** Legs whose party is no partner. */
  readonly unknown: number;
}

const nothing: Turn = {
  operations: 0,
  entries: [],
  uncovered: 0,
  unknown: 0,
  unread: 0,
  oldestPostedAt: undefined,
};

/** What came back of awards. */
function backOf(
  booked: Booked,
  originals: ReadonlyMap<string, Original>,
  partners: readonly Partner[],
  program: Program,
): Entry[] {
  const of = undoneBy(booked).flatMap(([accrual]) => originals.get(accrual) ?? []);
  return of.length === 0 ? [] : sharesBack(booked, of, partners, program);
}

async function clear(
  tx: pg.PoolClient,
  programFor: ProgramFor,
  { booked, originals }: Reading,
  partners: ReadonlyMap<number, Partner>,
): Promise<Pick<Turn, 'entries' | 'unknown' | 'uncovered'>> {
  if (booked.length === 0) return nothing;
  const entries: Entry[] = [];
  let unknown = 0;
  for (const each of booked) {
    const program = await programFor(each.program, undefined);
    const made = entriesOf(each, partners, program.timeZone);
    const own = [...partners.values()].filter((partner) => partner.program === each.program);
    entries.push(...made.entries, ...sharesOf(each, own, program), ...backOf(each, originals, own, program));
    unknown += made.unknown;
  }
  const closed = await holdClosings(
    tx,
    entries.map(({ partner }) => partner),
  );
  const priced = entries.map((entry) => {
    const { contracts } = partners.get(entry.partner)!;
    return { entry, contract: contracts.find(({ version }) => version === entry.contract) };
  });
  // Last before what was read is written: whoever gives points of a prepaid partner waits from here to the commit.
  const covered = await coverAll(tx, priced);
  const stored = entries.map((entry): StoredEntry => {
    const period = openMonth(entry.ofPeriod, closed.get(entry.partner)!);
    return { ...entry, prepaid: covered.get(entry) ?? 0, period };
  });
  const uncovered = [...covered].filter(([{ points }, paid]) => points < paid).length;
  await insertEntries(tx, stored);
  return { entries, unknown, uncovered };
}

/** One turn inside a database transaction. */
export async function clearTurn(
  tx: pg.PoolClient,
  programFor: ProgramFor,
  rowsMax = operationsPerTurnMax,
): Promise<Turn> {
  const marks = await unread.lockBookmarks(tx);
  if (marks.length === 0) return nothing;
  const partners = new Map((await readPartners(tx)).map((partner) => [partner.number, partner]));
  await lookFor(tx, [...partners.values()]);
  const pages = await unread.readPages(tx, marks, rowsMax);
  const cleared = await clear(tx, programFor, await readingOf(tx, programFor, pages), partners);
  await unread.moveBookmarks(tx, pages);
  return { ...cleared, ...lagOf(marks, pages) };
}

/** A follower of the books for clearing; several may run. */
export function createClearingFollower(options: ClearingOptions): ClearingFollower {
  const { pool, programs, log, metrics } = options;
  const programFor = createProgramFor(programs);
  return {
    async turn() {
      if (!(await unread.hasUnread(pool))) {
        metrics.clearingLagRecords.set(0);
        metrics.clearingLagSeconds.set(0);
        return 0;
      }
      const turn = await inTransaction(pool, (tx) => clearTurn(tx, programFor));
      for (const { kind, contract } of turn.entries) {
        metrics.clearingEntries.inc({ kind });
        if (contract === null) metrics.clearingUnpriced.inc();
      }
      metrics.clearingUncovered.inc(turn.uncovered);
      showLag(turn, metrics.clearingLagRecords, metrics.clearingLagSeconds);
      if (turn.unknown > 0) {
        metrics.clearingUnpriced.inc(turn.unknown);
        log.warn({ legs: turn.unknown }, 'points in an account of a partner that does not exist');
      }
      return turn.operations;
    },
  };
}
