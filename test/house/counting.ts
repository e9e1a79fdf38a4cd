/** Movements that count, as the rules of a program ask them of the wallet: through `perform`, without any rule. */
import type { App } from '#src/app.ts';
import { type MemberNumber, type OperationHex, parseMemberId } from '#src/values.ts';
import { countersBack } from '#src/wallet/counter-state.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { perform } from '#src/wallet/perform.ts';
import { dropHot } from '#src/wallet/reload.ts';
import { reference, type Shop } from './shop.ts';
import { waitFor } from './waiting.ts';

export type LimitRow = readonly [
  award: number,
  counter: number,
  period: number,
  pointsMax: number,
  isWhole: 0 | 1,
];
export type AssumptionRow = readonly [counter: number, period: number, from: number, to: number];
export type CountRow = readonly [counter: number, period: number, by: number];

/** Points of each award, and what they count. */
export interface Counted {
  readonly points: readonly number[];
  readonly limits?: readonly LimitRow[];
  readonly assumptions?: readonly AssumptionRow[];
  readonly counts?: readonly CountRow[];
}

const currency = 1;
const durability = 'journal';

function inputOf({ points, limits, assumptions, counts }: Counted): Record<string, unknown> {
  return {
    awards: points.map((each) => [currency, each, 0, 0, 0]),
    ...(limits && { limits }),
    ...(assumptions && { assumptions }),
    ...(counts && { counts }),
  };
}

/** The number of a new member. */
export async function newMember(shop: Shop): Promise<{ name: string; number: MemberNumber }> {
  const name = await shop.enrol('counting');
  // A shard may just be recovering.
  const number = await waitFor('the new member is served', async () => {
    const { status } = await shop.pos('GET', `/v1/members/${name}/balances`);
    return status === 200 && parseMemberId(String((await shop.care('GET', `/v1/members/${name}`)).body.id));
  });
  return { name, number };
}

function callerOf(shop: Shop) {
  return { program: shop.program, client: 1, keyId: 'test', pointsPerDayMax: undefined };
}

/** An accrual; `decide` is asked again wherever a counter stands at another value than it assumed. */
export async function accrueCounting(
  app: App,
  shop: Shop,
  member: MemberNumber,
  decide: Counted | (() => Counted),
): Promise<Recorded> {
  const named = reference('counting');
  const moved = await perform(app.operations, {
    caller: callerOf(shop),
    script: 'accrue',
    kind: 'accrual',
    reference: named,
    named: { reference: named },
    body: { reference: named },
    durability,
    waitMs: 0,
    member: () => app.operations.lookup.member(shop.program.number, member),
    decide() {
      const counted = typeof decide === 'function' ? decide() : decide;
      return { input: inputOf(counted), keep: { awards: [], programVersion: 1, counted } };
    },
  });
  return moved.recorded;
}

/** Points that an accrual gave. */
export function pointsOf({ effect }: Pick<Recorded, 'effect'>): number {
  return effect.legs.reduce((sum, leg) => (leg[0] === 'issuance' ? sum - leg[2] : sum), 0);
}

/** Takes an accrual back with all that it counted, once. */
export async function reverseCounting(app: App, shop: Shop, accrual: Recorded): Promise<Recorded> {
  const named = reference('counting');
  let state = { version: 0, note: '' };
  const parts = [[currency, pointsOf(accrual)]];
  const changes = countersBack(accrual.effect);
  const moved = await perform(app.operations, {
    caller: callerOf(shop),
    script: 'undo',
    kind: 'reversal',
    reference: named,
    named: { reference: named },
    body: { reference: named },
    durability,
    waitMs: 0,
    member: () => app.operations.lookup.member(shop.program.number, accrual.member),
    staleOperation(details) {
      state = { version: Number(details.version), note: String(details.note) };
    },
    decide: ({ member }) => ({
      origins: [accrual.operation],
      input: {
        accruals: [[accrual.operation, state.version, 'back', parts, changes]],
        redemptions: [],
        debt: true,
        moved: member !== accrual.member,
      },
      keep: { undone: [[accrual.operation, 'back', parts]], changes },
    }),
  });
  return moved.recorded;
}

/** Lets a member leave Redis; the next movement loads it again. */
export async function forgetHot(app: App, member: MemberNumber): Promise<void> {
  const { wallet } = app.operations;
  const shard = wallet.shardOf(member);
  if (!(await dropHot({ ...app, wallet }, shard, `m:${member}`)))
    throw new Error(`member ${member} did not leave Redis`);
}

/** What the books say that a member's counters stand at, those at zero left out. */
export async function countersOf(app: App, member: MemberNumber): Promise<Record<string, number>> {
  const { rows } = await app.pool.query<{ place: string; value: number }>(
    `select counter || '.' || period as place, value from counter where member = $1 and value <> 0 order by counter, period`,
    [member],
  );
  return Object.fromEntries(rows.map(({ place, value }) => [place, value]));
}

/** An operation of a member in the order in which it was decided. */
export interface CountedOperation {
  readonly operation: OperationHex;
  readonly kind: string;
  readonly request: { readonly counted?: Counted; readonly changes?: readonly CountRow[] };
  readonly effect: Recorded['effect'];
}

export async function operationsOf(app: App, member: MemberNumber): Promise<CountedOperation[]> {
  const { rows } = await app.pool.query<CountedOperation>(
    `select replace(operation::text, '-', '') as operation, kind, request, effect from operation where member = $1 order by epoch, seq`,
    [member],
  );
  return rows;
}
