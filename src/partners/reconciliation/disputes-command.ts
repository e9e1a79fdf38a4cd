/** `npm run reconcile -- disputes …` */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { inColumns, print, UsageFault } from '#src/platform/command.ts';
import {
  answerDispute,
  type Dispute,
  type DisputeOutcome,
  disputeId,
  disputeOutcomes,
  disputesOf,
  disputeView,
  openDispute,
  parseDisputeId,
  settleDispute,
} from './disputes.ts';
import { parseReconciliationId } from './reports.ts';

interface Surroundings {
  readonly pool: pg.Pool;
  readonly program: Program;
  readonly actor: string;
  readonly reason?: string | undefined;
  readonly outcome?: string | undefined;
  readonly json: boolean;
}

const shownMax = 200;

function disputeNamed(text: string | undefined): number {
  const number = parseDisputeId(text ?? '');
  if (number === undefined) throw new UsageFault(`a dispute is named such as ${disputeId(1)}`);
  return number;
}

function printed({ program, json }: Surroundings, disputes: readonly Dispute[]): number {
  if (json) print(JSON.stringify(disputes.map((each) => disputeView(program, each))));
  else if (disputes.length === 0) print('No movement is disputed.');
  else
    print(
      inColumns(
        disputes.map(({ number, partner, status, outcome, dueOn, line, history }) => [
          ...[disputeId(number), partner, outcome ? `${status} (${outcome})` : status, `due ${dueOn}`],
          ...[line.difference, `${line.kind} ${line.reference}`, history.at(-1)?.reason ?? ''],
        ]),
      ),
    );
  return 0;
}

/** Lists what is not settled, or takes a dispute a step further. */
export async function disputesCommand(around: Surroundings, args: readonly string[]): Promise<number> {
  const { pool, program, actor, outcome } = around;
  const [action = 'list', subject, line] = args;
  if (action === 'list')
    return printed(around, await disputesOf(pool, program.number, { after: 0, limit: shownMax }));
  if (!['open', 'answer', 'settle'].includes(action)) throw new UsageFault(`disputes knows no ${action}`);
  const { reason } = around;
  if (!reason) throw new UsageFault('--reason says why, for whoever asks later');
  const by = { program, actor, reason };
  if (action === 'answer') return printed(around, [await answerDispute(pool, disputeNamed(subject), by)]);
  if (action === 'settle') {
    if (!disputeOutcomes.includes(outcome as DisputeOutcome))
      throw new UsageFault(`--outcome takes ${disputeOutcomes.join(', ')}`);
    const settled = await settleDispute(pool, disputeNamed(subject), outcome as DisputeOutcome, by);
    return printed(around, [settled]);
  }
  const reconciliation = parseReconciliationId(subject ?? '');
  if (reconciliation === undefined || !/^[1-9]\d{0,8}$/.test(line ?? ''))
    throw new UsageFault('open takes the id of a reconciliation and the number of a line of it');
  return printed(around, [await openDispute(pool, { reconciliation, line: Number(line) }, by)]);
}
