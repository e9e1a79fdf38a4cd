/** Netting statements: what many owe becomes few payments, and the statements count as paid by it. */
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { inTransaction, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs } from '#src/values.ts';
import { type Debt, netBilateral, netMultilateral, positionsOf } from './netting.ts';
import {
  checkDisputeDays,
  linesOf,
  noteStep,
  payable,
  type Settlement,
  settle,
  settlementId,
  settlementOf,
} from './settlements.ts';
import { minorUnits } from './statements.ts';

/** The name of the program among those who pay and are paid. */
export const programParty = 'program';

export interface Netting {
  readonly program: Program;
  /** Partners of this group among one another; absent: each partner with the program alone. */
  readonly group?: string | undefined;
  readonly partner?: number | undefined;
  /** Through this month; absent: all. */
  readonly through?: string | undefined;
  /** The partners have agreed to do without the days in which they may dispute. */
  readonly mayBeEarly: boolean;
  readonly actor: string;
  readonly reason: string;
}

export interface Netted {
  readonly currency: string;
  readonly settlements: readonly string[];
  readonly gross: readonly { readonly from: string; readonly to: string; readonly amount: number }[];
  readonly positions: Readonly<Record<string, number>>;
  readonly payments: readonly { readonly from: string; readonly to: string; readonly amount: number }[];
  /** Until when one of the statements may be disputed; null: none of them any more. */
  readonly disputableUntil: EpochMs | null;
}

interface Part {
  readonly found: Settlement;
  readonly debts: readonly Debt[];
  readonly amount: number;
}

/** What a statement says that the two owe one another, without what is in dispute; of one that is paid in part, the rest. */
async function partOf(db: Queryable, found: Settlement): Promise<Part> {
  const lines = await linesOf(db, found.settlement);
  const amount = payable(found, lines);
  const theirs = (owed: number): Debt =>
    owed > 0
      ? { from: found.partnerName, to: programParty, amount: BigInt(owed) }
      : { from: programParty, to: found.partnerName, amount: BigInt(-owed) };
  const open = lines.filter(({ line }) => !found.disputed.includes(line));
  const sums = [1, -1].map((sign) =>
    open.reduce((sum, line) => sum + (Math.sign(line.amount) === sign ? line.amount + line.tax : 0), 0),
  );
  const isWhole = sums.reduce((sum, each) => sum + each, 0) === amount;
  const debts = (isWhole ? sums : [amount]).filter((owed) => owed !== 0).map(theirs);
  return { found, amount, debts };
}

async function openSettlements(tx: pg.PoolClient, netting: Netting): Promise<number[]> {
  const { program, group, partner, through } = netting;
  const { rows } = await tx.query<{ settlement: number }>(
    `select settlement from settlement where program = $1 and status in ('issued', 'disputed')
       and ($2::text is null or netting_group = $2) and ($3::int is null or partner = $3) and ($4::date is null or period <= $4)
     order by settlement for update`,
    [program.number, group ?? null, partner ?? null, through ?? null],
  );
  return rows.map(({ settlement }) => settlement);
}

const plain = (debts: readonly Debt[]) =>
  debts.map(({ from, to, amount }) => ({ from, to, amount: minorUnits(amount) }));

function nettedOf({ group, program }: Netting, currency: string, parts: readonly Part[]): Netted {
  const debts = parts.flatMap((part) => part.debts);
  const payments = group === undefined ? netBilateral(debts) : netMultilateral(debts);
  const disputable = Math.max(...parts.map(({ found }) => found.disputeUntil));
  const positions = [...positionsOf(debts)].map(([party, amount]) => [party, minorUnits(amount)] as const);
  return {
    currency,
    settlements: parts.map(({ found }) => settlementId(found.settlement)),
    gross: plain(debts),
    positions: Object.fromEntries(positions),
    payments: plain(payments),
    disputableUntil: disputable > programNow(program) ? disputable : null,
  };
}

async function book(
  tx: pg.PoolClient,
  netting: Netting,
  netted: Netted,
  parts: readonly Part[],
): Promise<void> {
  const { program, group, actor, reason } = netting;
  await tx.query(
    `insert into settlement_netting (program, netting_group, currency, settlements, positions, payments, made_by)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [
      ...[program.number, group ?? null, netted.currency, parts.map(({ found }) => found.settlement)],
      ...[JSON.stringify(netted.positions), JSON.stringify(netted.payments), actor],
    ],
  );
  for (const { found, amount } of parts) {
    const early = checkDisputeDays(program, found, netting.mayBeEarly);
    await settle(tx, found, amount);
    await noteStep(tx, { settlement: found.settlement, actor, reason }, 'netted', { amount, early });
  }
}

/** Nets what is issued and not paid, a netting for each currency of money; only `isBooked` makes the statements paid by it. */
export function net(pool: pg.Pool, netting: Netting, isBooked: boolean): Promise<Netted[]> {
  return inTransaction(pool, async (tx) => {
    const parts: Part[] = [];
    for (const settlement of await openSettlements(tx, netting)) {
      const part = await partOf(tx, (await settlementOf(tx, netting.program.number, settlement))!);
      if (part.amount !== 0 || part.found.total === 0) parts.push(part);
    }
    const netted: Netted[] = [];
    for (const [currency, each] of Map.groupBy(parts, ({ found }) => found.currency)) {
      const made = nettedOf(netting, currency, each);
      netted.push(made);
      if (isBooked) await book(tx, netting, made, each);
    }
    return netted.toSorted((a, b) => (a.currency < b.currency ? -1 : 1));
  });
}
