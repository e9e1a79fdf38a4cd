/**
 * A member's statement: what every operation did to the member's points, newest first. The history of members that were
 * merged into somebody is shown under the survivor.
 *
 * One entry an operation, currency and bucket. `points` is by how much the bucket's figure changed, so `balanceAfter` less
 * `points` is what it was before; for `debt` that is what the member owes.
 */
import { DateTime } from 'luxon';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import type { Effect, Leg } from '#src/journal.ts';
import type { EpochMs, MemberNumber, OperationHex, OperationKind } from '#src/values.ts';
import { memberId, operationId } from '#src/values.ts';
import { ledgerBegins } from '#src/wallet/archived.ts';
import { lastValidDay } from '#src/wallet/balances.ts';

export const buckets = ['available', 'pending', 'held', 'debt'] as const;
type Bucket = (typeof buckets)[number];

/** What a statement calls an operation. */
const statementKind = {
  accrual: 'accrual',
  redemption: 'redemption',
  capture: 'redemption',
  hold: 'hold',
  release: 'release',
  reversal: 'reversal',
  refund: 'refund',
  return: 'return',
  adjustment: 'adjustment',
  // It moves points from lot to lot within a bucket, so it makes no entry.
  extension: 'extension',
  unlock: 'unlock',
  transfer: 'transfer',
  transfer_credit: 'transfer',
  transfer_refusal: 'transfer',
  transfer_return: 'transfer',
  expiry: 'expiry',
  correction: 'adjustment',
  // The only status change that moves points is closing, which releases the holds.
  status: 'release',
  // It moves no points.
  tier: 'release',
  exchange_out: 'exchange',
  exchange_in: 'exchange',
  // What a restore of PostgreSQL left unexplained.
  recovery: 'adjustment',
} as const satisfies Record<OperationKind, string>;
export const statementKinds = [...new Set(Object.values(statementKind))];

export interface StatementEntry {
  readonly object: 'entry';
  readonly operation: string;
  /** Whose history it is: the member, or one that was merged into it. */
  readonly member: string;
  readonly kind: (typeof statementKind)[OperationKind];
  readonly currency: string;
  readonly points: number;
  readonly bucket: Bucket;
  readonly balanceAfter: number;
  readonly occurredAt: string;
  readonly at: string;
  readonly postedAt: string;
  readonly order?: string;
  readonly store?: string;
  readonly rule?: string;
  readonly expiresOn?: string;
  readonly decidedStale?: true;
}

/** Where a page ended: an operation, and how many of its entries were shown. */
export interface StatementCursor {
  readonly operation: OperationHex;
  readonly shown: number;
}

export interface StatementQuestion {
  readonly program: Program;
  readonly members: readonly MemberNumber[];
  /** Bounds of the time at which points moved: from inclusive, to exclusive. */
  readonly from: EpochMs | undefined;
  readonly to: EpochMs | undefined;
  readonly limit: number;
  readonly after: StatementCursor | undefined;
}

/** What members had where their statement begins, because everything before is archived. */
export interface Opening {
  readonly before: string;
  readonly balances: readonly {
    readonly currency: string;
    readonly points: number;
    readonly held: number;
    readonly debt: number;
  }[];
}

export interface StatementPage {
  readonly entries: readonly StatementEntry[];
  readonly next: StatementCursor | undefined;
}

interface OperationRow {
  readonly operation: OperationHex;
  readonly kind: OperationKind;
  readonly member: MemberNumber;
  readonly at: EpochMs;
  readonly occurred_at: EpochMs;
  readonly posted_at: EpochMs;
  readonly order_reference: string | null;
  readonly store: string | null;
  readonly awards: readonly { readonly currency: string; readonly rule: string }[] | null;
  readonly effect: Effect;
  readonly decided_stale: boolean;
}

// In the order of ids, which is that of the months that the ledger is kept in: a page reads those it needs, from the newest.
const pageQuery = `
  select o.* from unnest($1::bigint[]) as m(number)
  cross join lateral (
    select operation as id, replace(operation::text, '-', '') as operation, kind, member, (extract(epoch from at) * 1000)::bigint as at,
      (extract(epoch from occurred_at) * 1000)::bigint as occurred_at, (extract(epoch from posted_at) * 1000)::bigint as posted_at,
      order_reference, request #>> '{body,purchase,store}' as store, request -> 'awards' as awards, effect,
      exists (select from decided_stale d where d.operation = operation.operation) as decided_stale
    from operation
    where member = m.number and operation.operation between $2::uuid and $3::uuid
      and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5)
    order by operation.operation desc limit $6) o
  order by o.id desc limit $6`;

const lastId = 'f'.repeat(32);
/** By how much the time at which points moved may differ from that of the operation's id: seconds, unless a clock was wrong. */
const idMarginMs = 31 * 86_400_000;

/** The ids that operations of a time may have. Where the program's clock was moved, times say nothing about ids. */
function idsOf({ program, from, to }: StatementQuestion): [first: string, last: string] {
  const isMoved = program.mode === 'test';
  const timeOf = (ms: EpochMs) => Math.max(ms, 0).toString(16).padStart(12, '0').slice(-12);
  return [
    from === undefined || isMoved ? '0'.repeat(32) : timeOf(from - idMarginMs).padEnd(32, '0'),
    to === undefined || isMoved ? lastId : timeOf(to + idMarginMs).padEnd(32, 'f'),
  ];
}

function instant(ms: EpochMs | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

async function readOperations(
  pool: pg.Pool,
  question: StatementQuestion,
  after: StatementCursor | undefined,
  count: number,
): Promise<OperationRow[]> {
  const [first, last] = idsOf(question);
  const { rows } = await pool.query<OperationRow>({
    name: 'statement',
    text: pageQuery,
    values: [
      question.members,
      first,
      after && after.operation < last ? after.operation : last,
      instant(question.from),
      instant(question.to),
      count,
    ],
  });
  return rows;
}

interface Sum {
  readonly currency: number;
  readonly bucket: Bucket;
  points: number;
  readonly expiries: Set<EpochMs>;
}

/** Currency, bucket, change of the figure and expiry that a leg stands for; undefined for the program's own accounts. */
function shareOf(
  leg: Leg,
  at: EpochMs,
): [currency: number, Bucket, points: number, expiresAt: EpochMs] | undefined {
  switch (leg[0]) {
    case 'wallet':
      return [leg[1], leg[6] > at ? 'pending' : 'available', leg[2], leg[5]];
    case 'held':
      return [leg[1], 'held', leg[2], leg[6]];
    case 'debt':
      return [leg[1], 'debt', -leg[2], 0];
    default:
      return undefined;
  }
}

function sumsOf({ effect, at }: OperationRow): Sum[] {
  const sums = new Map<string, Sum>();
  for (const leg of effect.legs) {
    const share = shareOf(leg, at);
    if (!share) continue;
    const [currency, bucket, points, expiresAt] = share;
    const key = `${currency}.${bucket}`;
    const sum = sums.get(key) ?? { currency, bucket, points: 0, expiries: new Set<EpochMs>() };
    sum.points += points;
    sum.expiries.add(expiresAt);
    sums.set(key, sum);
  }
  return [...sums.values()]
    .filter((sum) => sum.points !== 0)
    .sort((a, b) => a.currency - b.currency || buckets.indexOf(a.bucket) - buckets.indexOf(b.bucket));
}

function ruleOf({ awards }: OperationRow, currency: string): string | undefined {
  const rules = new Set(
    (awards ?? []).filter((award) => award.currency === currency).map((award) => award.rule),
  );
  return rules.size === 1 ? [...rules][0] : undefined;
}

function entryOf(program: Program, row: OperationRow, sum: Sum): StatementEntry {
  const currency = program.currencyByNumber.get(sum.currency)?.code ?? String(sum.currency);
  const figures = row.effect.balances.find(([number]) => number === sum.currency);
  const rule = ruleOf(row, currency);
  const [expiresAt = 0] = sum.expiries;
  const isExpiry = row.kind === 'expiry';
  return {
    object: 'entry',
    operation: operationId(row.kind, row.operation),
    member: memberId(row.member),
    kind: statementKind[row.kind],
    currency,
    points: sum.points,
    bucket: sum.bucket,
    balanceAfter: figures?.[buckets.indexOf(sum.bucket) + 1] ?? 0,
    // What fell due is booked beside the operation that found it, whose own time and order say nothing about it.
    occurredAt: new Date(isExpiry ? row.at : row.occurred_at).toISOString(),
    at: new Date(row.at).toISOString(),
    postedAt: new Date(row.posted_at).toISOString(),
    ...(row.order_reference === null || isExpiry ? {} : { order: row.order_reference }),
    ...(row.store === null ? {} : { store: row.store }),
    ...(rule === undefined ? {} : { rule }),
    ...(sum.expiries.size === 1 && expiresAt > 0
      ? { expiresOn: lastValidDay(expiresAt, program.timeZone) }
      : {}),
    ...(row.decided_stale ? { decidedStale: true } : {}),
  };
}

/** Operations that move nothing (status changes, receipts that earn nothing) make no entry, so a page may take several reads. */
const readsPerPageMax = 10;

/** One page of a statement. A page may be short although more follows; `next` is undefined only at the end. */
export async function statementPage(pool: pg.Pool, question: StatementQuestion): Promise<StatementPage> {
  const { program, limit } = question;
  const entries: StatementEntry[] = [];
  let { after } = question;
  for (let read = 0; read < readsPerPageMax; read += 1) {
    const count = limit + 2;
    const rows = await readOperations(pool, question, after, count);
    for (const row of rows) {
      const { operation } = row;
      const isResumed = after?.operation === operation;
      const own = sumsOf(row);
      const skipped = isResumed ? after!.shown : 0;
      const room = limit - entries.length;
      for (const sum of own.slice(skipped, skipped + room)) entries.push(entryOf(program, row, sum));
      after = { operation, shown: Math.min(own.length, skipped + room) };
      if (own.length > after.shown) return { entries, next: after };
    }
    if (rows.length < count) return { entries, next: undefined };
    if (entries.length >= limit) return { entries, next: after };
  }
  return { entries, next: after };
}

const openingQuery = `
  select currency, coalesce(sum(points) filter (where account = 'wallet'), 0)::bigint as points,
    coalesce(sum(points) filter (where account = 'held'), 0)::bigint as held,
    coalesce(-sum(points) filter (where account = 'debt'), 0)::bigint as debt
  from carried where member = any($1::bigint[]) group by currency order by currency`;

/** The figures that stand for what is archived of these members' history; undefined while nothing is archived. */
export async function openingOf(
  pool: pg.Pool,
  program: Program,
  members: readonly MemberNumber[],
): Promise<Opening | undefined> {
  const begins = await ledgerBegins(pool);
  if (begins === undefined) return undefined;
  const { rows } = await pool.query<{ currency: number; points: number; held: number; debt: number }>(
    openingQuery,
    [members],
  );
  const balances = rows.map(({ currency, ...figures }) => ({
    currency: program.currencyByNumber.get(currency)?.code ?? String(currency),
    ...figures,
  }));
  return { before: begins.toISOString(), balances };
}

const familyQuery = `
  with recursive up as (
    select number, merged_into, status, 0 as hops from member where number = $1 and program = $2
    union all
    select m.number, m.merged_into, m.status, up.hops + 1 from up join member m on m.number = up.merged_into
    where up.status = 'merged' and m.program = $2 and up.hops < 8),
  down as (
    (select number, 0 as hops from up order by hops desc limit 1)
    union all
    select m.number, down.hops + 1 from down join member m on m.merged_into = down.number
    where m.status = 'merged' and m.program = $2 and down.hops < 8)
  select number from down limit $3`;

/** A person is rarely more than a few members; the bound keeps a statement's query small whatever was merged. */
const familyMax = 200;

/** The survivor of a member's merges, first, and all members that were merged into it. */
export async function familyOf(
  pool: pg.Pool,
  program: Program,
  member: MemberNumber,
): Promise<MemberNumber[]> {
  const { rows } = await pool.query<{ number: MemberNumber }>(familyQuery, [
    member,
    program.number,
    familyMax,
  ]);
  return rows.map((row) => row.number);
}

/** The instant at which a day begins in the program's zone; `days` later where given. */
export function dayStart(day: string, program: Program, days = 0): EpochMs {
  // Where a day begins at 01:00, luxon keeps that hour on later ones.
  return DateTime.fromISO(day, { zone: program.timeZone }).plus({ days }).startOf('day').toMillis();
}
