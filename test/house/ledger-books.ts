/**
 * A small ledger in the shapes that the judge of a chaos run is shown: four movements of two members in one shard, told to
 * their callers as they stand. Tests damage copies of it.
 */
import type {
  Attempt,
  BookRecord,
  Books,
  EffectText,
  Entry,
  Evidence,
  Told,
} from '../../loadtest/chaos/judge/evidence.ts';
import { referenceKeyIn } from '../../loadtest/chaos/judge/promises.ts';

export const [anna, ben] = [8, 16];
export const nowMs = Date.UTC(2026, 10, 22);

/** Everything of it can be written to, so that it can be damaged. */
export type Loose<T> = T extends object ? { -readonly [Key in keyof T]: Loose<T[Key]> } : T;

type Leg = EffectText['legs'][number];
type Draft = Pick<BookRecord, 'kind' | 'member' | 'request'> & {
  legs: Leg[];
  after: number[];
  origins?: string[];
};

const hexOf = (number: number) => number.toString(16).padStart(32, '0');
export const operationOf = hexOf;

function entryOf(leg: Leg, member: number): Entry {
  const [account, currency, points] = leg as [string, number, number];
  const own = ['wallet', 'held', 'debt'].includes(account);
  const lot = account === 'wallet' || account === 'held' ? Number(leg[3]) : null;
  const hold = account === 'held' ? String(leg[4]) : null;
  return {
    account,
    currency,
    points,
    member: own ? member : null,
    lot,
    hold,
    party: account === 'wallet' ? 0 : null,
  };
}

const program = 1;

function attemptOf({ kind }: Draft, seq: number): Attempt {
  return { kind, client: 1, reference: `till/${seq}`, sentAtMs: nowMs, told: [], refused: [], tries: 1 };
}

function recordOf(draft: Draft, seq: number, attempt: Attempt): BookRecord {
  const { kind, member, legs, after, request, origins = [] } = draft;
  const [available = 0, held = 0, debt = 0] = after;
  return {
    shard: 0,
    epoch: 1,
    seq,
    operation: hexOf(seq),
    kind,
    client: 1,
    member,
    origins,
    referenceKey: referenceKeyIn(program, attempt),
    atMs: nowMs,
    conflictWith: null,
    decidedStale: false,
    effect: { legs, balances: [[1, available, 0, held, debt]] },
    request,
    entries: legs.map((leg) => entryOf(leg, member)),
  };
}

function toldOf(record: BookRecord): Told {
  const [, available, pending, held, debt] = record.effect.balances[0]!;
  return {
    atMs: nowMs,
    status: 201,
    replayed: false,
    operation: record.operation,
    position: `${record.shard}.${record.epoch}.${record.seq}`,
    reached: 'ledger',
    member: record.member,
    points: undefined,
    balances: { available, pending, held, debt },
  };
}

const receipt = (amount: number) => ({ body: { purchase: { lines: [{ amount }] } } });
const wallet = (points: number): Leg => ['wallet', 1, points, 1, 0, 0, 0];
const held = (points: number): Leg => ['held', 1, points, 1, hexOf(3), 0, 0, 0];

const drafts: Draft[] = [
  {
    kind: 'accrual',
    member: anna,
    request: receipt(10_000),
    legs: [wallet(100), ['issuance', 1, -100, 0]],
    after: [100],
  },
  {
    kind: 'redemption',
    member: anna,
    request: { body: { points: 30 } },
    legs: [wallet(-30), ['redemption', 1, 30, 0]],
    after: [70],
  },
  {
    kind: 'hold',
    member: anna,
    request: { body: { points: 20 } },
    legs: [wallet(-20), held(20)],
    after: [50, 20],
  },
  {
    kind: 'capture',
    member: anna,
    request: { body: {} },
    origins: [hexOf(3)],
    legs: [held(-20), ['redemption', 1, 20, 0]],
    after: [50],
  },
  {
    kind: 'refund',
    member: anna,
    request: { body: { points: 30 }, undone: [[hexOf(2), '', [[1, 30]]]] },
    origins: [hexOf(2)],
    legs: [['redemption', 1, -30, 0], wallet(30)],
    after: [80],
  },
  {
    kind: 'accrual',
    member: ben,
    request: receipt(1_000),
    legs: [wallet(10), ['issuance', 1, -10, 0]],
    after: [10],
  },
];

/** Books without a fault, and the callers' list that fits them. */
export function soundEvidence(): Loose<Evidence> {
  const attempts = drafts.map((draft, i) => attemptOf(draft, i + 1));
  const records = drafts.map((draft, i) => recordOf(draft, i + 1, attempts[i]!));
  attempts.forEach((attempt, i) => void attempt.told.push(toldOf(records[i]!)));
  const books: Books = {
    program,
    records,
    epochs: [
      {
        shard: 0,
        epoch: 1,
        openedAtMs: nowMs,
        previousEpoch: 0,
        previousLastSeq: 0,
        lostFrom: null,
        lostTo: null,
      },
    ],
    positions: [{ shard: 0, epoch: 1, seq: records.length }],
    lots: [
      { member: anna, currency: 1, lot: 1, points: 80 },
      { member: ben, currency: 1, lot: 1, points: 10 },
    ],
    debts: [],
    holds: [{ hold: hexOf(3), status: 'captured' }],
    accounts: [
      { account: 'wallet', currency: 1, party: 0, points: 90n },
      { account: 'issuance', currency: 1, party: 0, points: -110n },
      { account: 'redemption', currency: 1, party: 0, points: 20n },
    ],
    transfers: [],
    quarantined: [],
  };
  const shown = [
    { member: anna, fromMs: nowMs, toMs: nowMs, figures: { available: 80, pending: 0, held: 0, debt: 0 } },
    { member: ben, fromMs: nowMs, toMs: nowMs, figures: { available: 10, pending: 0, held: 0, debt: 0 } },
  ];
  const evidence: Evidence = { attempts, books, shown, destructions: [] };
  return structuredClone(evidence) as Loose<Evidence>;
}
