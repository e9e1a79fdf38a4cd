/**
 * Settles a record in quarantine: `retry` books what it should have booked, `void` that it stays out.
 *
 * Both are one operation of kind `correction` whose reference is made from the record's number, so that exactly one of
 * them happens, once, however often and by however many it is asked for; the journal says who asked. Afterwards the member
 * in Redis is what the books say, the record is noted as settled, and the freeze is lifted where it has no other cause. A
 * process that dies anywhere leaves something that the same command finishes.
 */
import type { App } from '#src/app.ts';
import type { Effect } from '#src/journal.ts';
import { NotCorrectable, planCorrection } from '#src/ledger/correction.ts';
import { counterDifference } from '#src/ledger/counter-rows.ts';
import { postingOf, UnbalancedRecord } from '#src/ledger/postings.ts';
import {
  memberStanding,
  noteResolution,
  type QuarantinedRow,
  quarantineId,
  type Resolution,
} from '#src/ledger/quarantine.ts';
import { type Step, stepTaken, tryStep } from '#src/members/engine.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { dropHot } from '#src/wallet/reload.ts';
import { bookMember } from './due.ts';
import { liftFor } from './freeze.ts';

const attemptsMax = 10;
const booksMs = 10_000;

export interface Resolved {
  readonly resolution: Resolution;
  readonly by: string;
  readonly correction: string;
  /** Whether the member may spend again. */
  readonly spendingOpen: boolean;
}

/** The record cannot be settled as asked; the message is for the person who asked. */
export class NotResolved extends Error {}

/** What the record should have done, as this version reads it. */
function wantedOf(row: QuarantinedRow, resolution: Resolution): Pick<Effect, 'legs' | 'counters'> {
  if (resolution === 'voided') return { legs: [] };
  try {
    return postingOf(row.record).effect;
  } catch (error) {
    if (!(error instanceof UnbalancedRecord)) throw error;
    throw new NotResolved(`it still cannot be booked: ${error.message}`);
  }
}

/** The member in Redis becomes what the books say, with everything booked that time has decided. */
async function settleMember(app: App, row: QuarantinedRow): Promise<void> {
  const { wallet } = app.operations;
  const shard = wallet.shardOf(row.member);
  if (!(await dropHot({ ...app, wallet }, shard, `m:${row.member}`)))
    throw new NotResolved(
      'the books stand still or the member moves all the time; is a ledger writer running?',
    );
  const program = app.programs.get(row.program);
  if (program) await bookMember(app, program, row.member);
  if ((await wallet.readBarrier(shard, booksMs)) === 'timeout')
    throw new NotResolved('the books are behind; is a ledger writer running?');
}

async function stepOf(app: App, row: QuarantinedRow, resolution: Resolution, by: string): Promise<Step> {
  const program = app.programs.get(row.program);
  if (!program) throw new NotResolved(`its program ${row.program} does not exist`);
  const id = quarantineId(row);
  return {
    program,
    member: row.member,
    script: 'correct',
    kind: 'correction',
    reference: `quarantine/${id}/correction`,
    origins: [row.record.operation],
    input: {},
    request: { body: { action: resolution, quarantine: id, by } },
  };
}

async function correct(app: App, row: QuarantinedRow, resolution: Resolution, by: string): Promise<Recorded> {
  const step = await stepOf(app, row, resolution, by);
  const before = await stepTaken(app.operations, step);
  if (before) return before;
  const wanted = wantedOf(row, resolution);
  const counters = counterDifference(row.booked.counters, wanted.counters);
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    await settleMember(app, row);
    const plan = planCorrection(row.booked, wanted.legs, await memberStanding(app.pool, row.member));
    const outcome = await tryStep(app.operations, { ...step, input: { ...plan, counters } });
    if (outcome.status === 'performed') return outcome.recorded;
    if (outcome.status !== 'refused' || outcome.code !== 'plan_outdated')
      throw new NotResolved(
        `the wallet answered ${outcome.status === 'refused' ? outcome.code : outcome.status}`,
      );
  }
  throw new NotResolved('the member moves faster than the correction can be planned; try again');
}

/** Settles a record, or answers how it was settled before. Throws NotResolved with what a person must know. */
export async function resolveQuarantined(
  app: App,
  row: QuarantinedRow,
  resolution: Resolution,
  by: string,
): Promise<Resolved> {
  let recorded: Recorded;
  try {
    recorded = await correct(app, row, resolution, by);
  } catch (error) {
    if (error instanceof NotCorrectable) throw new NotResolved(error.message);
    throw error;
  }
  const { action, by: first } = recorded.request.body as { action: Resolution; by: string };
  if ((await app.operations.reach(recorded, 'ledger', booksMs)) !== 'ledger')
    throw new NotResolved(
      'the correction is in the journal, and the books are behind; run the same command again',
    );
  await noteResolution(app.pool, row, action, first, recorded.operation);
  const spendingOpen = await liftFor(app, row.member, `quarantine/${quarantineId(row)}`);
  return { resolution: action, by: first, correction: recorded.operation, spendingOpen };
}
