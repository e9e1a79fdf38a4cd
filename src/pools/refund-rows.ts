/** The rows of refunds of a pool's redemptions. */
import type pg from 'pg';
import { hexOf, inTransaction, type Queryable } from '#src/platform/postgres.ts';
import type { EpochMs, OperationHex, Points } from '#src/values.ts';
import type { Price } from './plan.ts';

export interface RefundDraft {
  readonly refund: OperationHex;
  readonly redemption: OperationHex;
  readonly client: number;
  readonly referenceKey: string;
  readonly fingerprint: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly wanted: Price;
  readonly madeAt: EpochMs;
}

/** What came back of a part of the redemption. */
export interface RefundPart {
  readonly part: number;
  readonly operation: OperationHex;
  readonly points: Price;
}

export interface PoolRefund extends RefundDraft {
  /** `waiting`: for the return that asks for it (`returning.ts`). */
  readonly state: 'waiting' | 'refunding' | 'refunded';
  /** The last part of the redemption first, as they were made. */
  readonly parts: readonly RefundPart[];
}

interface RefundRow {
  readonly refund: OperationHex;
  readonly redemption: OperationHex;
  readonly client: number;
  readonly reference_key: string;
  readonly fingerprint: string;
  readonly request: Record<string, unknown>;
  readonly wanted: Price;
  readonly made_at: EpochMs;
  readonly state: PoolRefund['state'];
  readonly parts: readonly (readonly [number, OperationHex, Price])[] | null;
}

async function readBy(db: Queryable, where: string, value: string): Promise<PoolRefund | undefined> {
  const { rows } = await db.query<RefundRow>(
    `select ${hexOf('f.refund')} as refund, ${hexOf('f.redemption')} as redemption, f.client, ${hexOf('f.reference_key')} as reference_key,
       f.fingerprint, f.request, f.wanted, f.made_at, f.state,
       (select json_agg(json_build_array(p.part, ${hexOf('p.operation')}, p.points) order by p.part desc)
         from pool_refund_part p where p.refund = f.refund) as parts
     from pool_refund f where ${where}`,
    [value],
  );
  const [row] = rows;
  if (!row) return undefined;
  const { reference_key: referenceKey, made_at: madeAt, parts, ...rest } = row;
  const made = (parts ?? []).map(([part, operation, points]) => ({ part, operation, points }));
  return { ...rest, referenceKey, madeAt, parts: made };
}

export function readRefund(db: Queryable, refund: OperationHex): Promise<PoolRefund | undefined> {
  return readBy(db, 'f.refund = $1', refund);
}

/** The refund that a reference stands for. */
export function refundByKey(db: Queryable, referenceKey: string): Promise<PoolRefund | undefined> {
  return readBy(db, 'f.reference_key = $1', referenceKey);
}

/** The refund of a redemption that is being made, or waits for its return. */
export function openRefundOf(db: Queryable, redemption: OperationHex): Promise<PoolRefund | undefined> {
  return readBy(db, `f.redemption = $1 and f.state in ('waiting', 'refunding')`, redemption);
}

/** How many refunds of a redemption there were. */
export async function countRefunds(db: Queryable, redemption: OperationHex): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    'select count(*)::int as count from pool_refund where redemption = $1',
    [redemption],
  );
  return rows[0]!.count;
}

/**
 * Begins a refund; false where its reference was used, or where there is another one of the redemption than the `before` that
 * were counted before what is left was read.
 */
export function insertRefund(pool: pg.Pool, draft: RefundDraft, before: number): Promise<boolean> {
  const { refund, redemption, client, referenceKey, fingerprint, request, wanted, madeAt } = draft;
  return inTransaction(pool, async (tx) => {
    await tx.query('set local idle_in_transaction_session_timeout = 5000');
    await tx.query('select from pool_redemption where redemption = $1 for update', [redemption]);
    if ((await countRefunds(tx, redemption)) !== before) return false;
    const inserted = await tx.query(
      `insert into pool_refund (refund, redemption, client, reference_key, fingerprint, request, wanted, made_at, state)
       values ($1, $2, $3, $4, $5, $6, $7, $8, 'refunding') on conflict do nothing`,
      [
        ...[refund, redemption, client, referenceKey, fingerprint],
        ...[JSON.stringify(request), JSON.stringify(wanted), madeAt],
      ],
    );
    return inserted.rowCount === 1;
  });
}

export async function noteRefunded(
  db: Queryable,
  refund: OperationHex,
  { part, operation, points }: RefundPart,
): Promise<void> {
  await db.query(
    `with moved as (update pool_refund set changed_at = now() where refund = $1)
     insert into pool_refund_part (refund, part, operation, points) values ($1, $2, $3, $4) on conflict do nothing`,
    [refund, part, operation, JSON.stringify(points)],
  );
}

export async function endRefund(db: Queryable, refund: OperationHex): Promise<void> {
  await db.query(
    `update pool_refund set state = 'refunded', changed_at = now() where refund = $1 and state = 'refunding'`,
    [refund],
  );
}

/** Refunds that nobody has worked on for two seconds. */
export async function leftRefunds(db: Queryable, limit: number): Promise<OperationHex[]> {
  const { rows } = await db.query<{ refund: OperationHex }>(
    `select ${hexOf('refund')} as refund from pool_refund
     where state = 'refunding' and changed_at < now() - interval '2 seconds' order by changed_at limit $1`,
    [limit],
  );
  return rows.map(({ refund }) => refund);
}

/** Points that had come back of redemptions, whoever gave them back, as the books have it: [currency, points] of each capture. */
export async function refundedOf(
  db: Queryable,
  captures: readonly OperationHex[],
): Promise<ReadonlyMap<OperationHex, Price>> {
  const { rows } = await db.query<{ capture: OperationHex; currency: number; points: Points }>(
    `select u ->> 0 as capture, (p ->> 0)::int as currency, sum((p ->> 1)::bigint)::bigint as points
     from consequence c
     cross join lateral (select request from operation o where o.operation = c.operation offset 0) o
     cross join json_array_elements(coalesce(o.request -> 'undone', '[]')) u
     cross join json_array_elements(u -> 2) p
     where c.origin = any($1::uuid[]) and u ->> 0 = any($2::text[]) group by 1, 2`,
    [captures, captures],
  );
  const found = Map.groupBy(rows, ({ capture }) => capture);
  return new Map(
    [...found].map(([capture, own]) => [
      capture,
      own.map(({ currency, points }): [number, Points] => [currency, points]),
    ]),
  );
}
