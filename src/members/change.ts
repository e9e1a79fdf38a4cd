/**
 * Changes of what is known about a member: birthday, attributes, identifiers.
 *
 * Each takes two steps: PostgreSQL, then a script that raises the version of the
 * member's facts, so that every process that remembers the old meaning is told `stale_facts` and reads again. Between the
 * steps the old meaning may still be used; once the reply is out it is not. In the other order a process could read the
 * old meaning again under the new version and keep it. Should a process die between the steps, the caller has no answer
 * and repeats the call: unlinking what is not linked any more raises the version all the same.
 */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { Problem, validationProblem } from '#src/errors.ts';
import type { Caller, Reply } from '#src/http/route.ts';
import type { MemberNumber } from '#src/values.ts';
import type { IdentifierKey } from '#src/wallet/lookup.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { raiseFacts } from './engine.ts';
import { knowsType } from './enrolment.ts';
import { type Identifier, type Identity, normalized } from './identity.ts';
import type { MemberRef } from './member-ref.ts';
import { birthDayOf, type ProfilePatch, patchedProfile, profileText } from './profile.ts';
import {
  familyOf,
  profileOfRow,
  readView,
  seesPersonal,
  shortTransaction,
  survivingMember,
} from './records.ts';

export interface MemberPatch extends ProfilePatch {
  readonly identifiers?: readonly Identifier[] | undefined;
  readonly unlink?: readonly Identifier[] | undefined;
}

export interface Changes {
  change(caller: Caller, member: MemberRef, patch: MemberPatch, waitMs: number): Promise<Reply>;
}

interface Named extends IdentifierKey {
  readonly value: string;
  readonly pointer: string;
}

function namedOf(
  identity: Identity,
  program: Program,
  list: readonly Identifier[] | undefined,
  pointer: string,
): Named[] {
  return (list ?? []).map((identifier, i) => {
    const at = `${pointer}/${i}`;
    const key = identity.keyOf(program.number, identifier);
    if (!knowsType(program, identifier.type)) {
      throw validationProblem([
        { pointer: `${at}/type`, detail: 'is not a type of identifier of this program' },
      ]);
    }
    if (!key)
      throw validationProblem([{ pointer: at, detail: 'has nothing left once separators are removed' }]);
    return { ...key, value: normalized(identifier), pointer: at };
  });
}

async function unlink(
  tx: pg.PoolClient,
  program: Program,
  member: MemberNumber,
  keys: readonly Named[],
): Promise<void> {
  await tx.query(
    `delete from identifier i using unnest($3::text[], $4::bytea[]) as k(t, h)
     where i.program = $1 and i.member = $2 and i.type = k.t and i.value_hash = k.h`,
    [program.number, member, keys.map((key) => key.type), keys.map((key) => Buffer.from(key.hash, 'hex'))],
  );
}

async function link(
  tx: pg.PoolClient,
  identity: Identity,
  program: Program,
  member: MemberNumber,
  keys: readonly Named[],
): Promise<void> {
  for (const key of keys.toSorted((a, b) => (a.hash < b.hash ? -1 : 1))) {
    const result = await tx.query<{ member: MemberNumber }>(
      `with new as (
         insert into identifier (program, type, value_hash, member, value_encrypted) values ($1, $2, $3, $4, $5)
         on conflict do nothing returning member)
       select member from new`,
      [
        program.number,
        key.type,
        Buffer.from(key.hash, 'hex'),
        member,
        identity.encrypt(program.number, member, key.value),
      ],
    );
    if (result.rows.length > 0) continue;
    const owner = await tx.query<{ member: MemberNumber }>(
      'select member from identifier where program = $1 and type = $2 and value_hash = $3',
      [program.number, key.type, Buffer.from(key.hash, 'hex')],
    );
    if (owner.rows[0]?.member !== member)
      throw new Problem('identifier_taken', undefined, { pointer: key.pointer });
  }
}

interface Locked {
  profile: Buffer | null;
  erased_at: Date | null;
  status: string;
}

async function apply(
  tx: pg.PoolClient,
  identity: Identity,
  program: Program,
  member: MemberNumber,
  patch: MemberPatch,
  added: readonly Named[],
  removed: readonly Named[],
): Promise<void> {
  const result = await tx.query<Locked>(
    'select profile, erased_at, status from member where number = $1 for no key update',
    [member],
  );
  const row = result.rows[0];
  if (!row || row.erased_at !== null) throw new Problem('member_not_active', 'the member was erased');
  if (row.status === 'merging' || row.status === 'merged') throw new Problem('member_merging');
  if (removed.length > 0) await unlink(tx, program, member, removed);
  await link(tx, identity, program, member, added);
  if (patch.birthday === undefined && patch.attributes === undefined) return;
  const profile = patchedProfile(
    profileOfRow(identity, program, { number: member, profile: row.profile }),
    patch,
  );
  if (!profile) throw validationProblem([{ pointer: '/attributes', detail: 'would be too many' }]);
  const text = profileText(profile);
  const sealed = text === undefined ? null : identity.encrypt(program.number, member, text);
  const birthDay = sealed === null ? null : birthDayOf(profile.birthday);
  await tx.query('update member set profile = $2, birth_day = $3 where number = $1', [
    member,
    sealed,
    birthDay,
  ]);
}

export function createChanges(operations: Operations, pool: pg.Pool, identity: Identity): Changes {
  async function change(caller: Caller, ref: MemberRef, patch: MemberPatch, waitMs: number): Promise<Reply> {
    const { program } = caller;
    const added = namedOf(identity, program, patch.identifiers, '/identifiers');
    const removed = namedOf(identity, program, patch.unlink, '/unlink');
    const { number } = await survivingMember(pool, identity, program, ref);
    await shortTransaction(pool, (tx) => apply(tx, identity, program, number, patch, added, removed));
    // Rules may look at birthday and attributes: what was judged by the old ones must not be applied any more.
    if (added.length + removed.length > 0 || patch.birthday !== undefined || patch.attributes !== undefined) {
      for (const key of [...added, ...removed]) operations.lookup.forgetIdentifier(program.number, key);
      // A process may remember an identifier by way of a member that was merged into this one.
      await raiseFacts(operations, program, await familyOf(pool, number), waitMs);
    }
    return { status: 200, body: await readView(pool, identity, program, number, seesPersonal(caller.role)) };
  }

  return { change };
}
