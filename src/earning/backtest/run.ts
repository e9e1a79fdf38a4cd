/** A backtest from the ledger to its report. Memory grows with the members that have receipts, not with the receipts. */
import type pg from 'pg';
import { type EpochMs, isSoon, type Soon } from '#src/values.ts';
import { someMember } from '../accruals.ts';
import { looksAtMember } from '../judge.ts';
import type { JudgedMember } from '../rules/types.ts';
import type { Draft } from './draft.ts';
import { createOrdering } from './ordering.ts';
import { createReplay, type LedgerRow, type Replay } from './replay.ts';
import { type Report, reportOf } from './report.ts';
import { ledgerPages, type Span } from './stream.ts';

/** A movement is booked some milliseconds after its id was made; a busy ledger books so many in half a second. */
const heldRows = 4_000;

export interface Backtest {
  readonly draft: Draft;
  readonly span: Span;
  /** What rules may know of a row's member: as it is today, and its tier as it was. */
  judgedMember(row: LedgerRow): Soon<JudgedMember>;
  /** Points that expire by then are no liability. */
  readonly endsAt: EpochMs;
  progress?(receipts: number): void;
}

/** Whether the report needs to know anything of members: for the draft's rules, or for its rows by segment. */
export function asksOfMembers({ version, program }: Draft): boolean {
  return looksAtMember(version) || program.segmentRun !== undefined;
}

async function takeAll(replay: Replay, rows: readonly LedgerRow[], backtest: Backtest): Promise<void> {
  if (!asksOfMembers(backtest.draft)) {
    for (const row of rows) replay.take(row, someMember);
    return;
  }
  // Asked together: members who are not remembered are read in one query.
  const asked = rows.map((row) => backtest.judgedMember(row));
  for (const [index, judged] of asked.entries())
    replay.take(rows[index]!, isSoon(judged) ? await judged : judged);
}

export async function runBacktest(pool: pg.Pool, backtest: Backtest): Promise<Report> {
  const { draft, span, endsAt, progress } = backtest;
  const replay = createReplay(draft, endsAt);
  const ordering = createOrdering<LedgerRow>(heldRows);
  for await (const page of ledgerPages(pool, draft.program.number, span)) {
    await takeAll(replay, ordering.take(page), backtest);
    progress?.(replay.receipts);
  }
  await takeAll(replay, ordering.end(), backtest);
  return reportOf(draft, replay, { ...span, lateRows: ordering.lateRows });
}
