/**
 * Opening a pool, joining and leaving it. Nothing of it touches a wallet: points stay with their members in any case, so whoever
 * leaves has what is left of the own lots, with the ends that they always had.
 *
 * A member joins by showing a card (or another identifier that is not merely the caller's own id of the member): from then on
 * others may spend the member's points, which nobody may decide by a number from a database.
 */
import { isDeepStrictEqual } from 'node:util';
import type pg from 'pg';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import type { Identifier } from '#src/members/identity.ts';
import { ownIdType } from '#src/members/member-ref.ts';
import { familyOf, shortTransaction } from '#src/members/records.ts';
import type { MemberNumber } from '#src/values.ts';
import { fault, referenceOf } from '#src/wallet/fields.ts';
import { survivorOf } from '#src/wallet/lookup.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import { noteDeed } from './audit.ts';
import { currentMember, type PoolsContext, refuseInactive } from './context.ts';
import { type PoolNumber, parsePoolId, poolId } from './ids.ts';
import {
  dissolve,
  endPlace,
  followMembers,
  keepHead,
  lockPool,
  mustFollow,
  openPlaces,
  type Pool,
  poolOfMember,
  readPool,
  refuseDissolved,
  takePlace,
  wasIn,
} from './places.ts';
import { poolView } from './reading.ts';
import type { JoinBody, OpenBody, PolicyBody } from './schemas.ts';

/** The pool that a path names. */
export function poolInPath({ params }: Pick<Call, 'params'>): PoolNumber {
  const pool = parsePoolId(params.pool ?? '');
  if (pool === undefined) throw new Problem('not_found');
  return pool;
}

/** Does something with a pool that nobody else changes meanwhile; its places are those of its members by then. */
export function withPool<T>(
  context: Pick<PoolsContext, 'pool'>,
  program: Program,
  number: PoolNumber,
  work: (tx: pg.PoolClient, pool: Pool) => Promise<T>,
): Promise<T> {
  return shortTransaction(context.pool, async (tx) => {
    const pool = await lockPool(tx, program.number, number);
    if (pool.dissolvedAt !== undefined) return work(tx, pool);
    await followMembers(tx, pool, programNow(program));
    return work(tx, await readPool(tx, program.number, number));
  });
}

/** A pool whose places have followed their members; nobody is kept waiting where there is nothing to follow. */
export async function presentPool(
  context: Pick<PoolsContext, 'pool'>,
  program: Program,
  number: PoolNumber,
): Promise<Pool> {
  const pool = await readPool(context.pool, program.number, number);
  if (pool.dissolvedAt !== undefined || !(await mustFollow(context.pool, number))) return pool;
  return withPool(context, program, number, async (_, followed) => followed);
}

/** The member who shows an identifier and may take a place. */
async function comer(
  context: PoolsContext,
  program: Program,
  card: Identifier,
  pointer: string,
): Promise<MemberNumber> {
  if (card.type === ownIdType)
    throw fault(`${pointer}/type`, 'is your own name for the member; what the member shows is needed');
  const current = await currentMember(context, program, card, pointer);
  refuseInactive(current, pointer);
  return current.facts.member;
}

async function reply(
  context: PoolsContext,
  caller: Caller,
  pool: PoolNumber,
  status = 200,
  replayed = false,
): Promise<Reply> {
  return { status, replayed, body: await poolView(context, caller.program, pool) };
}

interface OpenedRow {
  readonly pool: PoolNumber;
  readonly fingerprint: string;
}

/** `POST /v1/pools` */
export async function openPool(context: PoolsContext, call: Call<OpenBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program, client, keyId: actor } = caller;
  const reference = referenceOf(call, body);
  const key = referenceKeyOf(program.number, client, 'pool', reference);
  const fingerprint = context.operations.fingerprint({ ...body, reference });
  const opened = async () => {
    const found = await context.pool.query<OpenedRow>(
      'select pool, fingerprint from pool where reference_key = $1',
      [key],
    );
    return found.rows[0];
  };
  const known = await opened();
  const pool = known?.pool ?? (await open());
  const first = known ?? (await opened());
  if (first?.fingerprint !== fingerprint)
    throw new Problem('reference_reused', undefined, { id: poolId(pool) });
  return reply(context, caller, pool, 201, known !== undefined);

  async function open(): Promise<PoolNumber> {
    const head = await comer(context, program, body.head, '/head');
    return shortTransaction(context.pool, async (tx) => {
      const at = programNow(program);
      const { rows } = await tx.query<{ pool: PoolNumber }>(
        `insert into pool (program, head, policy, opened_at, client, actor, reference_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning pool`,
        [program.number, head, JSON.stringify(body.policy), at, client, actor, key, fingerprint],
      );
      // The same reference at the same moment.
      if (!rows[0]) throw new Problem('reference_in_progress');
      const { pool: number } = rows[0];
      const place = { member: head, maySpend: true, consent: body.head.type, actor, joinedAt: at };
      await takePlace(tx, number, place);
      const deed = { program: program.number, pool: number, actor, action: 'pool.open' } as const;
      await noteDeed(tx, { ...deed, members: [head] });
      return number;
    });
  }
}

/** `GET /v1/pools/:pool` */
export async function showPool(context: PoolsContext, call: Call): Promise<Reply> {
  const number = poolInPath(call);
  await presentPool(context, call.caller.program, number);
  return reply(context, call.caller, number);
}

async function pathMember(context: PoolsContext, { caller, params }: Call): Promise<MemberNumber> {
  const named = await context.resolvePathMember(caller.program, params.member ?? '');
  const facts = await survivorOf(context.operations.lookup, named);
  if (!facts) throw new Problem('member_not_found');
  return facts.member;
}

/** `GET /v1/members/:member/pool` */
export async function showPoolOfMember(context: PoolsContext, call: Call): Promise<Reply> {
  const { caller } = call;
  for (const member of await familyOf(context.pool, await pathMember(context, call))) {
    const found = await poolOfMember(context.pool, member);
    if (found === undefined) continue;
    await presentPool(context, caller.program, found);
    const places = await openPlaces(context.pool, found);
    if (places.length > 0) return reply(context, caller, found);
  }
  throw new Problem('not_found', 'the member is in no pool');
}

/** `POST /v1/pools/:pool/members`; who is in it already has joined. */
export async function joinPool(context: PoolsContext, call: Call<JoinBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program, keyId: actor } = caller;
  const number = poolInPath(call);
  await readPool(context.pool, program.number, number);
  const member = await comer(context, program, body.card, '/card');
  const joined = await withPool(context, program, number, async (tx, pool) => {
    refuseDissolved(pool);
    const places = await openPlaces(tx, number);
    if (places.some((place) => place.member === member)) return false;
    if (places.length >= pool.policy.membersMax) {
      const detail = `the pool has ${places.length} members, and its policy allows ${pool.policy.membersMax}`;
      throw new Problem('pool_limit', detail, { limitedBy: 'members' });
    }
    const { maySpend } = body;
    const place = { member, maySpend, consent: body.card.type, actor, joinedAt: programNow(program) };
    const taken = await takePlace(tx, number, place);
    const deed = { program: program.number, pool: number, actor, action: 'pool.join' } as const;
    if (taken) await noteDeed(tx, { ...deed, members: [member] });
    return taken;
  });
  return reply(context, caller, number, joined ? 201 : 200);
}

/** `POST /v1/pools/:pool/members/:member/leave`; who has left stays away. */
export async function leavePool(context: PoolsContext, call: Call): Promise<Reply> {
  const { caller } = call;
  const { program, keyId: actor } = caller;
  const number = poolInPath(call);
  const member = await pathMember(context, call);
  await withPool(context, program, number, async (tx, pool) => {
    const at = programNow(program);
    const deed = { program: program.number, pool: number, actor, action: 'pool.leave' } as const;
    if (await endPlace(tx, pool, member, 'left', at, actor)) {
      await noteDeed(tx, { ...deed, members: [member] });
      await keepHead(tx, pool, at);
    } else if (!(await wasIn(tx, number, member)))
      throw new Problem('member_not_found', 'the member was never in this pool');
  });
  return reply(context, caller, number);
}

/** `POST /v1/pools/:pool/dissolve` */
export async function dissolvePool(context: PoolsContext, call: Call): Promise<Reply> {
  const { caller } = call;
  const { program, keyId: actor } = caller;
  const number = poolInPath(call);
  await withPool(context, program, number, async (tx, pool) => {
    if (pool.dissolvedAt !== undefined) return;
    const members = await dissolve(tx, pool, programNow(program), actor);
    await noteDeed(tx, { program: program.number, pool: number, actor, action: 'pool.dissolve', members });
  });
  return reply(context, caller, number);
}

/** `PUT /v1/pools/:pool/policy` */
export async function changePolicy(context: PoolsContext, call: Call<PolicyBody>): Promise<Reply> {
  const { caller, body } = call;
  const number = poolInPath(call);
  await withPool(context, caller.program, number, async (tx, pool) => {
    refuseDissolved(pool);
    if (isDeepStrictEqual(pool.policy, body)) return;
    await tx.query('update pool set policy = $2 where pool = $1', [number, JSON.stringify(body)]);
    const { program, keyId: actor } = caller;
    const detail = { before: pool.policy, after: body };
    await noteDeed(tx, { program: program.number, pool: number, actor, action: 'pool.policy', detail });
  });
  return reply(context, caller, number);
}
