/** The rows of `member` and `identifier`, read, and how a member looks to a caller. */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Role } from '#src/http/route.ts';
import { epochMsOf, inTransaction, type Queryable } from '#src/platform/postgres.ts';
import { shownTiers } from '#src/tiers/shown.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { memberId, parseMemberId } from '#src/values.ts';
import { mergeHopsMax } from '#src/wallet/lookup.ts';
import { type Identity, masked } from './identity.ts';
import { identifierOf, type MemberRef } from './member-ref.ts';
import { emptyProfile, type Profile, profileOf } from './profile.ts';

export interface MemberRow {
  readonly number: MemberNumber;
  readonly joined_at: EpochMs;
  readonly profile: Buffer | null;
  readonly erased_at: EpochMs | null;
  readonly status: string;
  /** The survivor; set only where the merge is through. */
  readonly merged_into: MemberNumber | null;
}

export interface IdentifierRow {
  readonly member: MemberNumber;
  readonly type: string;
  readonly value_encrypted: Buffer;
  readonly value_hash: Buffer;
  readonly linked_at: Date;
}

const memberQuery = `
  with recursive chain as (
    select m.*, 0 as hop from member m where m.program = $1 and m.number = coalesce($2::bigint,
      (select i.member from identifier i where i.program = $1 and i.type = $3 and i.value_hash = $4))
    union all
    select m.*, c.hop + 1 from chain c join member m on m.number = c.merged_into
    where c.status = 'merged' and c.hop < ${mergeHopsMax}
  )
  select number, ${epochMsOf('joined_at')} as joined_at, profile, ${epochMsOf('erased_at')} as erased_at, status,
    case when status = 'merged' then merged_into end as merged_into
  from chain order by hop desc`;

/** Who is meant and whom that became: the named member last, the survivor first. Empty where nobody is meant. */
async function chainOf(
  db: Queryable,
  identity: Identity,
  program: Program,
  ref: MemberRef,
): Promise<MemberRow[]> {
  const identifier = identifierOf(ref);
  const key = identifier && identity.keyOf(program.number, identifier);
  if (identifier && !key) return [];
  const number = identifier ? null : parseMemberId(ref as string);
  const result = await db.query<MemberRow>({
    name: 'member-chain',
    text: memberQuery,
    values: [program.number, number, key?.type ?? null, key ? Buffer.from(key.hash, 'hex') : null],
  });
  return result.rows;
}

/** The member that is named, also when it was merged. Throws `member_not_found`. */
export async function namedMember(
  db: Queryable,
  identity: Identity,
  program: Program,
  ref: MemberRef,
): Promise<MemberRow> {
  const row = (await chainOf(db, identity, program, ref)).at(-1);
  if (!row) throw new Problem('member_not_found');
  return row;
}

/** The member that the named one is now. Throws `member_not_found`. */
export async function survivingMember(
  db: Queryable,
  identity: Identity,
  program: Program,
  ref: MemberRef,
): Promise<MemberRow> {
  const row = (await chainOf(db, identity, program, ref))[0];
  if (!row) throw new Problem('member_not_found');
  return row;
}

/** Members by their numbers, as far as they are the program's. */
export async function membersByNumber(
  db: Queryable,
  program: Program,
  members: readonly MemberNumber[],
): Promise<Map<MemberNumber, MemberRow>> {
  const result = await db.query<MemberRow>(
    `select number, ${epochMsOf('joined_at')} as joined_at, profile, ${epochMsOf('erased_at')} as erased_at, status,
       case when status = 'merged' then merged_into end as merged_into
     from member where program = $1 and number = any($2::bigint[])`,
    [program.number, members],
  );
  return new Map(result.rows.map((row) => [row.number, row]));
}

const familyMax = 200;

/** SQL of the numbers of a member, given as SQL, and of all who were merged into it, the member first. */
export function familyQuery(member: string): string {
  return `with recursive family as (
       select ${member} as number, 0 as hop
       union all
       select m.number, f.hop + 1 from family f join member m on m.merged_into = f.number
       where m.status = 'merged' and f.hop < ${mergeHopsMax}
     ) select number from family order by hop, number limit ${familyMax}`;
}

/** A member and all who were merged into it, the member first. */
export async function familyOf(db: Queryable, member: MemberNumber): Promise<MemberNumber[]> {
  const result = await db.query<{ number: MemberNumber }>(familyQuery('$1::bigint'), [member]);
  return result.rows.map((row) => row.number);
}

export async function identifiersOf(
  db: Queryable,
  members: readonly MemberNumber[],
): Promise<IdentifierRow[]> {
  const result = await db.query<IdentifierRow>(
    `select member, type, value_encrypted, value_hash, linked_at from identifier where member = any($1::bigint[]) order by linked_at, type`,
    [members],
  );
  return result.rows;
}

export function profileOfRow(
  identity: Identity,
  program: Program,
  row: Pick<MemberRow, 'number' | 'profile'>,
): Profile {
  return row.profile ? profileOf(identity.decrypt(program.number, row.number, row.profile)) : emptyProfile;
}

/** Roles that see what is personal: birthday, attributes and the last characters of identifiers. */
export function seesPersonal(role: Role): boolean {
  return role === 'admin' || role === 'care';
}

export interface MemberView {
  readonly program: Program;
  readonly row: MemberRow;
  readonly identifiers: readonly IdentifierRow[];
  readonly personal: boolean;
  /** What a caller without sight of personal values may see all the same: what it has just sent itself. */
  readonly sent?: Profile;
  /** On the first ladder. */
  readonly tier: string | null;
}

/** A member as callers see it. */
export function memberView(identity: Identity, view: MemberView): Record<string, unknown> {
  const { program, row } = view;
  const profile = view.personal ? profileOfRow(identity, program, row) : (view.sent ?? emptyProfile);
  const identifiers = view.identifiers.map((identifier) =>
    view.personal
      ? {
          type: identifier.type,
          value: masked(identity.decrypt(program.number, identifier.member, identifier.value_encrypted)),
        }
      : { type: identifier.type },
  );
  return {
    object: 'member',
    id: memberId(row.number),
    mode: program.mode,
    status: row.status,
    tier: view.tier,
    joinedAt: new Date(row.joined_at).toISOString(),
    ...(profile.birthday === undefined ? {} : { birthday: profile.birthday }),
    ...(view.personal || profile.attributes ? { attributes: profile.attributes ?? {} } : {}),
    identifiers,
    ...(row.merged_into === null ? {} : { mergedInto: memberId(row.merged_into) }),
    ...(row.erased_at === null ? {} : { erasedAt: new Date(row.erased_at).toISOString() }),
  };
}

/** Reads a member by number and shows it. */
export async function readView(
  db: Queryable,
  identity: Identity,
  program: Program,
  member: MemberNumber,
  personal: boolean,
): Promise<Record<string, unknown>> {
  const row = (await membersByNumber(db, program, [member])).get(member);
  if (!row) throw new Problem('member_not_found');
  const tierOf = await shownTiers(db, program, [member]);
  const identifiers = await identifiersOf(db, [member]);
  return memberView(identity, { program, row, identifiers, personal, tier: tierOf(member) });
}

/**
 * A database transaction that PostgreSQL itself ends five seconds after its process stopped answering: it holds locks that
 * enrolments of the same identifiers and the ledger writer would wait for.
 */
export function shortTransaction<T>(pool: pg.Pool, work: (tx: pg.PoolClient) => Promise<T>): Promise<T> {
  return inTransaction(pool, async (tx) => {
    await tx.query('set local idle_in_transaction_session_timeout = 5000');
    return work(tx);
  });
}
