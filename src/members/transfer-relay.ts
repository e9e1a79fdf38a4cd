/**
 * The second half of a transfer, from ledger rows alone, so that any process can finish what another began.
 *
 *   debited ──► credited                       the destination took it
 *      └──────► refused ──► returned           it is closed or merged, or the reference was used before; the points went back
 *
 * Invariant: the credit is tried only after the debit is in the ledger, and points go back only after the refusal is.
 * Credit and refusal are the same attempt under one reference in the destination's shard, so one of them happens, once.
 */
import type pg from 'pg';
import type { Program, Programs } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Effect } from '#src/journal.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import type { Operations, Recorded } from '#src/wallet/operations.ts';
import { takeStep, waitUntil } from './engine.ts';

export interface Relayed {
  readonly status: 'completed' | 'returned' | 'pending';
  /** The last half that was made: the credit, the refusal or the return. */
  readonly half: Recorded | undefined;
}

export interface TransferRelay {
  /** Drives one transfer as far as it comes until the deadline; `pending` where it is not at its end. */
  relay(transfer: OperationHex, deadlineMs: number): Promise<Relayed>;
  /** Drives transfers that nobody has finished for two seconds; answers how many it finished and how many failed. */
  relayOpen(limit: number): Promise<{ finished: number; failed: number }>;
}

interface TransferRow {
  program: number;
  from_member: MemberNumber;
  to_member: MemberNumber;
  effect: Effect;
  /** Its reference had been used in another shard. The writer says so with the debit, so nothing was credited yet. */
  is_repeated: boolean;
}

const transferQuery = `select t.program, t.from_member, t.to_member, o.effect, o.conflict_with is not null as is_repeated
  from transfer t join operation o on o.operation = t.transfer where t.transfer = $1`;

const openQuery = `select replace(transfer::text, '-', '') as transfer from transfer
  where state in ('debited', 'refused') and changed_at < now() - interval '2 seconds' order by changed_at limit $1`;

interface Travelling {
  readonly lots: number[][];
  readonly debts: number[][];
  readonly counters: number[][];
}

/** What left the source, with its terms: input of `receive.lua`. */
function travelling({ legs, counters = [] }: Pick<Effect, 'legs' | 'counters'>): Travelling {
  const lots: number[][] = [];
  const debts: number[][] = [];
  for (const leg of legs) {
    // The other signs are what a transfer decided on stale balances was lent by recovery: that stays with the source.
    if (leg[0] === 'wallet' && leg[2] < 0) lots.push([leg[1], -leg[2], leg[5], leg[6], leg[4]]);
    else if (leg[0] === 'debt' && leg[2] > 0) debts.push([leg[1], leg[2]]);
  }
  return { lots, debts, counters: counters.map(([counter, period, by]) => [counter, period, -by]) };
}

const relayWaitMs = 2_000;
const relaysAtOnceMax = 8;

export function createTransferRelay(
  operations: Operations,
  pool: pg.Pool,
  programs: Programs,
): TransferRelay {
  function half(
    transfer: OperationHex,
    row: TransferRow,
    program: Program,
    back: boolean,
  ): Promise<Recorded> {
    return takeStep(operations, {
      program,
      member: back ? row.from_member : row.to_member,
      script: 'receive',
      kind: back ? 'transfer_return' : 'transfer_credit',
      reference: transfer,
      input: { ...travelling(row.effect), back, refused: row.is_repeated },
      request: { body: { transfer } },
      origins: [transfer],
    });
  }

  async function relay(transfer: OperationHex, deadlineMs: number): Promise<Relayed> {
    const row = (await pool.query<TransferRow>(transferQuery, [transfer])).rows[0];
    if (!row) return { status: 'pending', half: undefined };
    const program = programs.get(row.program);
    if (!program) throw new Problem('not_ready', 'the program of the transfer is not loaded');
    const credit = await half(transfer, row, program, false);
    if (credit.kind !== 'transfer_refusal') return { status: 'completed', half: credit };
    const reached = await operations.reach(credit, 'ledger', waitUntil(deadlineMs));
    if (reached !== 'ledger') return { status: 'pending', half: credit };
    return { status: 'returned', half: await half(transfer, row, program, true) };
  }

  async function relayOpen(limit: number): Promise<{ finished: number; failed: number }> {
    const open = (await pool.query<{ transfer: OperationHex }>(openQuery, [limit])).rows;
    let finished = 0;
    let failed = 0;
    for (let i = 0; i < open.length; i += relaysAtOnceMax) {
      const batch = open.slice(i, i + relaysAtOnceMax);
      const results = await Promise.allSettled(
        batch.map(({ transfer }) => relay(transfer, Date.now() + relayWaitMs)),
      );
      for (const result of results) {
        if (result.status === 'rejected') failed += 1;
        else if (result.value.status !== 'pending') finished += 1;
      }
    }
    return { finished, failed };
  }

  return { relay, relayOpen };
}
