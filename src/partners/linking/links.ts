/**
 * Which members have linked their account with a partner's, and the one-time codes that prove it.
 *
 * The proof is always a code of the side that is called: the member asks that side for it, gives it to the other side, and the
 * other side sends it. A code is for one member and one partner, counts once and for fifteen minutes; sent again for the
 * same account it is answered again, because its first answer may have been lost.
 *
 * Each side keeps its own link and moves no points without it, so unlinking on either side is enough: an exchange looks at it in the
 * database transaction that begins it, also where its quote is older.
 */
import { randomInt } from 'node:crypto';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Identity } from '#src/members/identity.ts';
import { familyOf, familyQuery, shortTransaction } from '#src/members/records.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import type { NameMatch } from '#src/partners/protocol/schemas.ts';
import { type MemberNumber, memberId } from '#src/values.ts';

type Context = { readonly pool: pg.Pool; readonly identity: Identity };

export const codeMinutes = 15;
/** Fifty bits; without letters that are taken for others. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const codeLength = 10;
const codesOfMemberMax = 5;

function hashOf(identity: Pick<Identity, 'keyOf'>, program: number, type: string, value: string): Buffer {
  return Buffer.from(identity.keyOf(program, { type, value })?.hash ?? '', 'hex');
}

function codeHash(identity: Identity, program: Program, code: string): Buffer {
  return hashOf(identity, program.number, 'link-code', code.replaceAll('-', '').toUpperCase());
}

function accountHash(identity: Pick<Identity, 'keyOf'>, program: number, account: string): Buffer {
  return hashOf(identity, program, 'partner-account', account);
}

async function note(
  tx: pg.PoolClient,
  program: Program,
  actor: string,
  action: string,
  member: MemberNumber,
) {
  await tx.query('insert into audit_log (program, actor, action, subject) values ($1, $2, $3, $4)', [
    program.number,
    actor,
    action,
    memberId(member),
  ]);
}

/** Makes a code with which the member can link the account at a partner; it is shown this once. */
export async function makeCode(
  { pool, identity }: Context,
  program: Program,
  partner: Partner,
  member: MemberNumber,
  actor: string,
): Promise<{ readonly code: string; readonly endsAt: Date }> {
  const characters = Array.from({ length: codeLength }, () => alphabet[randomInt(alphabet.length)]).join('');
  return shortTransaction(pool, async (tx) => {
    await tx.query('select from member where number = $1 for no key update', [member]);
    await tx.query('delete from partner_link_code where member = $1 and ends_at < now()', [member]);
    const made = await tx.query<{ ends_at: Date }>(
      `insert into partner_link_code (code_hash, program, client, member, ends_at)
       select $1, $2, $3, $4, now() + $5 * interval '1 minute'
       where (select count(*) from partner_link_code where member = $4) < $6 returning ends_at`,
      [
        codeHash(identity, program, characters),
        program.number,
        partner.client,
        member,
        codeMinutes,
        codesOfMemberMax,
      ],
    );
    const row = made.rows[0];
    if (!row)
      throw new Problem('attempts_exceeded', `A member has at most ${codesOfMemberMax} codes at a time.`);
    await note(tx, program, actor, `member.link_code:${partner.name}`, member);
    return { code: `${characters.slice(0, 5)}-${characters.slice(5)}`, endsAt: row.ends_at };
  });
}

export interface NewLink {
  readonly member: MemberNumber;
  /** The member's account at the partner. */
  readonly account: string;
  readonly codeOf: 'us' | 'partner';
  /** How the name of the account stood to the member's. */
  readonly name: NameMatch;
  readonly actor: string;
}

/** From the one that says least. */
const matches: readonly NameMatch[] = ['not_compared', 'initials', 'full'];

async function insertLink(
  tx: pg.PoolClient,
  identity: Identity,
  program: Program,
  partner: Partner,
  { member, account, codeOf, name, actor }: NewLink,
): Promise<void> {
  const hash = accountHash(identity, program.number, account);
  const locked = await tx.query<{ status: string; erased_at: Date | null }>(
    'select status, erased_at from member where number = $1 for no key update',
    [member],
  );
  const row = locked.rows[0];
  if (!row || row.erased_at !== null || row.status === 'closed') throw new Problem('member_not_active');
  const family = await familyOf(tx, member);
  const open = await tx.query<{ member: MemberNumber; account_hash: Buffer }>(
    `select member, account_hash from partner_link
     where client = $1 and unlinked_at is null and (member = any($2::bigint[]) or account_hash = $3)`,
    [partner.client, family, hash],
  );
  if (open.rows.some((link) => !family.includes(link.member)))
    throw new Problem('identifier_taken', 'The account is linked with another member.', {
      pointer: '/account',
    });
  const same = open.rows.find((link) => link.account_hash.equals(hash));
  if (same) {
    const weaker = matches.slice(0, matches.indexOf(name));
    await tx.query(
      'update partner_link set name = $3 where client = $1 and account_hash = $2 and unlinked_at is null and name = any($4)',
      [partner.client, hash, name, weaker],
    );
    return;
  }
  if (open.rows.length > 0)
    throw new Problem('identifier_taken', 'The member has linked another account; unlink it first.', {
      pointer: '/member',
    });
  await tx.query(
    `insert into partner_link (program, client, member, account_hash, account_sealed, code_of, name, linked_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      program.number,
      partner.client,
      member,
      hash,
      identity.encrypt(program.number, member, account),
      codeOf,
      name,
      actor,
    ],
  );
  await note(tx, program, actor, `member.link:${partner.name}`, member);
}

/** Another process may link the same account or member at the same moment; one of them is second. */
function taken(error: unknown): never {
  if (error instanceof Error && 'code' in error && error.code === '23505')
    throw new Problem('identifier_taken', 'The account or the member was linked at this moment.', {
      pointer: '/account',
    });
  throw error;
}

/** Links by a code of the partner's that it has confirmed. The same link again changes nothing, or says more of the name. */
export function linkConfirmed(
  { pool, identity }: Context,
  program: Program,
  partner: Partner,
  link: NewLink,
): Promise<void> {
  return shortTransaction(pool, (tx) => insertLink(tx, identity, program, partner, link)).catch(taken);
}

/** Uses a code of ours up and links; throws `link_code_invalid` for one that is not this member's for this partner, or too old. */
export function linkByCode(
  { pool, identity }: Context,
  program: Program,
  partner: Partner,
  code: string,
  link: Omit<NewLink, 'codeOf'>,
): Promise<void> {
  const usedFor = accountHash(identity, program.number, link.account);
  return shortTransaction(pool, async (tx) => {
    const family = await familyOf(tx, link.member);
    const used = await tx.query(
      `update partner_link_code set used_at = coalesce(used_at, now()), used_for = $5
       where code_hash = $1 and program = $2 and client = $3 and member = any($4::bigint[]) and ends_at > now()
         and (used_at is null or used_for = $5) returning member`,
      [codeHash(identity, program, code), program.number, partner.client, family, usedFor],
    );
    if (used.rowCount !== 1) throw new Problem('link_code_invalid');
    await insertLink(tx, identity, program, partner, { ...link, codeOf: 'us' });
  }).catch(taken);
}

export interface Link {
  readonly client: number;
  readonly member: MemberNumber;
  readonly linkedAt: Date;
  readonly codeOf: 'us' | 'partner';
  readonly name: NameMatch;
  /** The member's account at the partner, in clear. */
  readonly account: string;
}

/** The links of members that are open, also those of members who were merged into them. */
export async function openLinksOf(
  { pool, identity }: Context,
  asked: readonly { readonly program: number; readonly member: MemberNumber }[],
): Promise<ReadonlyMap<MemberNumber, Link[]>> {
  const { rows } = await pool.query<{
    place: number;
    client: number;
    member: MemberNumber;
    linked_at: Date;
    code_of: Link['codeOf'];
    name: NameMatch;
    account_sealed: Buffer;
  }>({
    name: 'links-open',
    // `offset 0`: each member's are looked up by the index. While few are linked, PostgreSQL would read all of them, for each anew.
    text: `select a.place, l.* from unnest($1::bigint[]) with ordinality as a (member, place)
     cross join lateral (${familyQuery('a.member')}) f
     cross join lateral (
       select client, member, linked_at, code_of, name, account_sealed, link from partner_link
       where member = f.number and unlinked_at is null offset 0) l
     order by a.place, l.linked_at, l.link`,
    values: [asked.map(({ member }) => member)],
  });
  const links = new Map<MemberNumber, Link[]>(asked.map(({ member }) => [member, []]));
  for (const row of rows) {
    const { program, member } = asked[row.place - 1]!;
    links.get(member)!.push({
      ...{ client: row.client, member: row.member, linkedAt: row.linked_at, codeOf: row.code_of },
      name: row.name,
      account: identity.decrypt(program, row.member, row.account_sealed),
    });
  }
  return links;
}

/** The links of a member that are open, also those of members who were merged into it. */
export async function linksOf(
  context: Context,
  { number }: Pick<Program, 'number'>,
  member: MemberNumber,
): Promise<Link[]> {
  return (await openLinksOf(context, [{ program: number, member }])).get(member)!;
}

export interface LinkedAccount {
  readonly program: number;
  readonly partner: number;
  readonly member: MemberNumber;
  /** The member's account at the partner, in clear. */
  readonly account: string;
}

/** What limits want to know of a link that is open. */
export interface LinkFacts {
  /** Keyed hash in hex. */
  readonly account: string;
  readonly name: NameMatch;
}

/** The link of each of these accounts with its member, where it is open. Until the database transaction ends, none of them gets unlinked. */
export async function linkFacts(
  tx: pg.PoolClient,
  identity: Pick<Identity, 'keyOf'>,
  asked: readonly LinkedAccount[],
): Promise<(LinkFacts | undefined)[]> {
  const hashes = asked.map(({ program, account }) => accountHash(identity, program, account).toString('hex'));
  const { rows } = await tx.query<{ place: number; name: NameMatch }>({
    name: 'links-held',
    // By the account alone, in a subquery of its own: a plan that was made while there were no links would take any index.
    text: `select a.place::int as place, l.name from unnest($1::bigint[], $2::integer[], $3::text[]) with ordinality as a (member, partner, hash, place)
       join partner p on p.partner = a.partner
       cross join lateral (
         select client, member, name from partner_link where account_hash = decode(a.hash, 'hex') and unlinked_at is null for share) l
     where l.client = p.client and l.member in (${familyQuery('a.member')})`,
    values: [asked.map(({ member }) => member), asked.map(({ partner }) => partner), hashes],
  });
  const linked = new Map(rows.map(({ place, name }) => [place, name]));
  return hashes.map((account, i) => {
    const name = linked.get(i + 1);
    return name && { account, name };
  });
}

/** Ends a member's link with a partner; false where there is none. */
export function unlink(
  { pool }: Pick<Context, 'pool'>,
  program: Program,
  partner: Partner,
  member: MemberNumber,
  actor: string,
): Promise<boolean> {
  return shortTransaction(pool, async (tx) => {
    const ended = await tx.query<{ member: MemberNumber }>(
      `update partner_link set unlinked_at = now(), unlinked_by = $3
       where client = $1 and member = any($2::bigint[]) and unlinked_at is null returning member`,
      [partner.client, await familyOf(tx, member), actor],
    );
    // A code that was used may be sent again for a while; after this it would link once more.
    await tx.query('delete from partner_link_code where client = $1 and member = any($2::bigint[])', [
      partner.client,
      await familyOf(tx, member),
    ]);
    for (const row of ended.rows) await note(tx, program, actor, `member.unlink:${partner.name}`, row.member);
    return ended.rows.length > 0;
  });
}
