/** The rows of a pool's redemptions and their parts; every change of state stands here. `collecting.ts` says what they mean. */
import type pg from 'pg';
import type { MoneyAmount } from '#src/earning/rules/money.ts';
import type { Problem } from '#src/errors.ts';
import { hexOf, inTransaction, type Queryable } from '#src/platform/postgres.ts';
import type { KeptWorth } from '#src/redemption/worth.ts';
import type { EpochMs, MemberNumber, OperationHex, Points } from '#src/values.ts';
import type { PoolNumber } from './ids.ts';
import type { Price, Share } from './plan.ts';

export type RedemptionState =
  | 'collecting'
  | 'giving_back'
  | 'refused'
  | 'held'
  | 'capturing'
  | 'redeemed'
  | 'releasing'
  | 'released';
export type HoldEnd = 'captured' | 'released' | 'expired';

/** What is paid, and what it is worth: by rules, or as the caller said. */
export interface Payment {
  readonly price: Price;
  readonly points: Points;
  readonly worth?: KeptWorth | undefined;
  readonly value?: MoneyAmount | undefined;
}
type PartState = 'planned' | 'void' | 'held' | 'returning' | 'returned' | 'captured';

export interface Part {
  readonly part: number;
  readonly member: MemberNumber;
  readonly points: Price;
  readonly state: PartState;
  readonly reason: string | undefined;
  readonly hold: OperationHex | undefined;
  readonly capture: OperationHex | undefined;
}

export interface Refusal {
  readonly code: Problem['code'];
  readonly detail?: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** What is known of a redemption from its beginning. */
export interface RedemptionDraft {
  readonly redemption: OperationHex;
  readonly program: number;
  readonly pool: PoolNumber;
  readonly spender: MemberNumber;
  readonly client: number;
  readonly referenceKey: string;
  readonly fingerprint: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly worth: KeptWorth | undefined;
  readonly price: Price;
  readonly points: Points;
  /** Until when the points are held; undefined where they are redeemed at once. */
  readonly holdUntil: EpochMs | undefined;
  /** ISO, in the program's zone. */
  readonly day: string;
  readonly madeAt: EpochMs;
}

export interface PoolRedemption extends RedemptionDraft {
  readonly state: RedemptionState;
  readonly refusal: Refusal | undefined;
  readonly holdEnd: HoldEnd | undefined;
  readonly endFingerprint: string | undefined;
  /** What was captured of a hold; the parts are those of it then. */
  readonly captured: Payment | undefined;
  readonly parts: readonly Part[];
}

interface RedemptionRow {
  readonly redemption: OperationHex;
  readonly program: number;
  readonly pool: PoolNumber;
  readonly spender: MemberNumber;
  readonly client: number;
  readonly reference_key: string;
  readonly fingerprint: string;
  readonly request: Record<string, unknown>;
  readonly worth: KeptWorth | null;
  readonly price: Price;
  readonly points: Points;
  readonly day: string;
  readonly made_at: EpochMs;
  readonly state: RedemptionState;
  readonly refusal: Refusal | null;
  readonly hold_until: EpochMs | null;
  readonly hold_end: HoldEnd | null;
  readonly end_fingerprint: string | null;
  readonly captured: Payment | null;
  readonly parts: readonly PartTuple[] | null;
}
type PartTuple = readonly [
  part: number,
  member: MemberNumber,
  points: Price,
  state: PartState,
  reason: string | null,
  hold: OperationHex | null,
  capture: OperationHex | null,
];

const columns = `${hexOf('r.redemption')} as redemption, r.program, r.pool, r.spender, r.client, ${hexOf('r.reference_key')} as reference_key,
  r.fingerprint, r.request, r.worth, r.price, r.points, r.day::text, r.made_at, r.state, r.refusal, r.hold_until, r.hold_end,
  r.end_fingerprint, r.captured,
  (select json_agg(json_build_array(p.part, p.member, p.points, p.state, p.reason, ${hexOf('p.hold')}, ${hexOf('p.capture')}) order by p.part)
    from pool_part p where p.redemption = r.redemption) as parts`;

function redemptionOf(row: RedemptionRow): PoolRedemption {
  const { reference_key: referenceKey, made_at: madeAt, worth, refusal, parts, ...others } = row;
  const { hold_until, hold_end, end_fingerprint, captured, ...rest } = others;
  return {
    ...rest,
    referenceKey,
    madeAt,
    holdUntil: hold_until ?? undefined,
    holdEnd: hold_end ?? undefined,
    endFingerprint: end_fingerprint ?? undefined,
    captured: captured ?? undefined,
    worth: worth ?? undefined,
    refusal: refusal ?? undefined,
    parts: (parts ?? []).map(([part, member, points, state, reason, hold, capture]) => ({
      ...{ part, member, points, state },
      reason: reason ?? undefined,
      hold: hold ?? undefined,
      capture: capture ?? undefined,
    })),
  };
}

async function readBy(db: Queryable, where: string, value: string): Promise<PoolRedemption | undefined> {
  const { rows } = await db.query<RedemptionRow>(
    `select ${columns} from pool_redemption r where r.${where} = $1`,
    [value],
  );
  return rows[0] && redemptionOf(rows[0]);
}

export function readRedemption(db: Queryable, redemption: OperationHex): Promise<PoolRedemption | undefined> {
  return readBy(db, 'redemption', redemption);
}

/** The redemption that a reference stands for. */
export function redemptionByKey(db: Queryable, referenceKey: string): Promise<PoolRedemption | undefined> {
  return readBy(db, 'reference_key', referenceKey);
}

/** The redemption whose hold was ended under a reference. */
export function redemptionByEndKey(db: Queryable, endKey: string): Promise<PoolRedemption | undefined> {
  return readBy(db, 'end_key', endKey);
}

/** What is paid: what was captured of a hold, else what was asked for. */
export function paymentOf(redemption: PoolRedemption): Payment {
  const { price, points, worth, request } = redemption;
  return redemption.captured ?? { price, points, worth, value: request.value as MoneyAmount | undefined };
}

/** The order that it pays for. */
export function orderOf({ request }: Pick<RedemptionDraft, 'request'>): string | undefined {
  const { order, purchase } = request as { order?: string; purchase?: { order?: string } };
  return order ?? purchase?.order;
}

const ordersMax = 50;

/** Redemptions of pools that have paid for an order, the oldest first; also those whose parts are on their way to the books. */
export async function redemptionsOfOrder(
  db: Queryable,
  program: number,
  order: string,
): Promise<PoolRedemption[]> {
  const { rows } = await db.query<RedemptionRow>(
    `select ${columns} from pool_redemption r where r.program = $1 and coalesce(r.request ->> 'order', r.request #>> '{purchase,order}') = $2
       and r.state in ('capturing', 'redeemed') order by r.made_at, r.redemption limit $3`,
    [program, order, ordersMax],
  );
  return rows.map(redemptionOf);
}

/** Begins a redemption; false where its reference was used, or another one of the pool is being collected. */
export async function insertRedemption(tx: pg.PoolClient, draft: RedemptionDraft): Promise<boolean> {
  const { redemption, program, pool, spender, client, referenceKey, fingerprint } = draft;
  const inserted = await tx.query(
    `insert into pool_redemption (redemption, program, pool, spender, client, reference_key, fingerprint, request, worth, price, points, day, made_at, hold_until, state)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'collecting') on conflict do nothing`,
    [
      ...[redemption, program, pool, spender, client, referenceKey, fingerprint],
      ...[JSON.stringify(draft.request), draft.worth ? JSON.stringify(draft.worth) : null],
      ...[JSON.stringify(draft.price), draft.points, draft.day, draft.madeAt],
      draft.holdUntil ?? null,
    ],
  );
  return inserted.rowCount === 1;
}

/** Points that a member has spent of a pool on a day, or is about to. */
export async function spentOfDay(
  db: Queryable,
  pool: PoolNumber,
  spender: MemberNumber,
  day: string,
): Promise<Points> {
  const { rows } = await db.query<{ points: Points }>(
    `select coalesce(sum(points), 0)::bigint as points from pool_redemption where pool = $1 and spender = $2 and day = $3 and state not in ('refused', 'giving_back', 'releasing', 'released')`,
    [pool, spender, day],
  );
  return rows[0]!.points;
}

/** The redemption whose turn it is in a pool, and whether nobody has worked on it for a second. */
export async function whoseTurn(
  db: Queryable,
  pool: PoolNumber,
): Promise<{ redemption: OperationHex; isLeft: boolean } | undefined> {
  const { rows } = await db.query<{ redemption: OperationHex; is_left: boolean }>(
    `select ${hexOf('redemption')} as redemption, changed_at < now() - interval '1 second' as is_left
     from pool_redemption where pool = $1 and state in ('collecting', 'giving_back')`,
    [pool],
  );
  return rows[0] && { redemption: rows[0].redemption, isLeft: rows[0].is_left };
}

/** Redemptions that are not at their end and that nobody has worked on for two seconds. */
export async function leftRedemptions(db: Queryable, limit: number): Promise<OperationHex[]> {
  const { rows } = await db.query<{ redemption: OperationHex }>(
    `select ${hexOf('redemption')} as redemption from pool_redemption
     where state in ('collecting', 'giving_back', 'capturing', 'releasing') and changed_at < now() - interval '2 seconds' order by changed_at limit $1`,
    [limit],
  );
  return rows.map(({ redemption }) => redemption);
}

/**
 * Changes a redemption that is still being collected; undefined where it is not any more. What others have changed meanwhile
 * is in the redemption that `work` is given, and nobody changes it until the database transaction ends.
 */
export function whileCollecting<T>(
  pool: pg.Pool,
  redemption: OperationHex,
  work: (tx: pg.PoolClient, present: PoolRedemption) => Promise<T>,
): Promise<T | undefined> {
  return inTransaction(pool, async (tx) => {
    await tx.query('set local idle_in_transaction_session_timeout = 5000');
    const { rowCount } = await tx.query(
      `update pool_redemption set changed_at = now() where redemption = $1 and state = 'collecting'`,
      [redemption],
    );
    if (rowCount === 0) return undefined;
    return work(tx, (await readRedemption(tx, redemption))!);
  });
}

/** What became of the attempt to hold a part: the hold, or why there is none and never will be. */
export type Attempted = readonly [
  part: number,
  result: { readonly hold: OperationHex } | { readonly reason: string },
];

export async function noteAttempts(
  db: Queryable,
  redemption: OperationHex,
  attempts: readonly Attempted[],
): Promise<void> {
  await db.query(
    `update pool_part p set state = case when a.hold is null then 'void' else 'held' end, hold = a.hold, reason = a.reason
     from unnest($2::int[], $3::uuid[], $4::text[]) as a(part, hold, reason)
     where p.redemption = $1 and p.part = a.part and p.state = 'planned'`,
    [
      redemption,
      attempts.map(([part]) => part),
      attempts.map(([, result]) => ('hold' in result ? result.hold : null)),
      attempts.map(([, result]) => ('reason' in result ? result.reason : null)),
    ],
  );
}

export async function addParts(
  tx: pg.PoolClient,
  redemption: OperationHex,
  first: number,
  shares: readonly Share[],
): Promise<void> {
  await tx.query(
    `insert into pool_part (redemption, part, member, points)
     select $1, $2 + s.place - 1, s.member, s.points from unnest($3::bigint[], $4::json[]) with ordinality as s(member, points, place)`,
    [
      redemption,
      first,
      shares.map(({ member }) => member),
      shares.map(({ points }) => JSON.stringify(points)),
    ],
  );
}

/** Held parts go back; from here on they do not count towards the price. */
export async function beginReturning(
  tx: pg.PoolClient,
  redemption: OperationHex,
  parts: readonly number[],
): Promise<void> {
  await tx.query(
    `update pool_part set state = 'returning' where redemption = $1 and part = any($2::int[]) and state = 'held'`,
    [redemption, parts],
  );
}

export async function noteReturned(
  db: Queryable,
  redemption: OperationHex,
  parts: readonly number[],
): Promise<void> {
  await db.query(
    `update pool_part set state = 'returned' where redemption = $1 and part = any($2::int[]) and state in ('held', 'returning')`,
    [redemption, parts],
  );
}

/** The decision, once for ever: what is held is redeemed, or stays held until its caller says or its time has come. */
export async function decideToPay(tx: pg.PoolClient, redemption: OperationHex): Promise<void> {
  await tx.query(
    `update pool_redemption set state = case when hold_until is null then 'capturing' else 'held' end where redemption = $1`,
    [redemption],
  );
}

/** The other decision: everything that is held goes back. */
export async function decideToRefuse(
  tx: pg.PoolClient,
  redemption: OperationHex,
  refusal: Refusal,
): Promise<void> {
  await tx.query(`update pool_redemption set state = 'giving_back', refusal = $2 where redemption = $1`, [
    redemption,
    JSON.stringify(refusal),
  ]);
}

export async function noteCaptures(
  db: Queryable,
  redemption: OperationHex,
  captures: readonly (readonly [part: number, capture: OperationHex])[],
): Promise<void> {
  await db.query(
    `update pool_part p set state = 'captured', capture = c.capture from unnest($2::int[], $3::uuid[]) as c(part, capture)
     where p.redemption = $1 and p.part = c.part and p.state = 'held'`,
    [redemption, captures.map(([part]) => part), captures.map(([, capture]) => capture)],
  );
}

/** Ends a redemption all of whose parts are at their end. */
export async function endRedemption(
  db: Queryable,
  redemption: OperationHex,
  from: 'capturing' | 'giving_back' | 'releasing',
): Promise<void> {
  await db.query(
    `update pool_redemption set state = $3, changed_at = now() where redemption = $1 and state = $2
       and not exists (select from pool_part p where p.redemption = pool_redemption.redemption and p.state in ('planned', 'held', 'returning'))`,
    [redemption, from, { capturing: 'redeemed', giving_back: 'refused', releasing: 'released' }[from]],
  );
}
