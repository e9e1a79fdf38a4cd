/**
 * Enrolment of one or a thousand members with a few statements. Who somebody is stands in PostgreSQL alone: the first
 * movement of a new member loads it from there, on any API process.
 *
 * Two processes that enrol the same person at the same time: identifiers are inserted in one order with ON CONFLICT DO
 * NOTHING, which waits for the other database transaction; whoever finds that one was taken rolls everything back and
 * starts again with what stands there now. So one of them creates the member, and nobody is ever half enrolled.
 */
import type pg from 'pg';
import { type Program, presentVersion } from '#src/earning/program.ts';
import { Problem, validationProblem } from '#src/errors.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { type Identifier, type Identity, normalized } from './identity.ts';
import { identifierOf, type MemberRef, ownIdType } from './member-ref.ts';
import { birthDayOf, type Profile, profileDifference, profileOf, profileText } from './profile.ts';
import { shortTransaction } from './records.ts';

interface Details extends Profile {
  readonly joinedAt?: EpochMs | undefined;
}

/** Somebody to enrol. What is absent is not compared with what is stored. */
export interface EnrolmentDraft extends Details {
  readonly member: MemberRef;
  readonly identifiers?: readonly Identifier[] | undefined;
}

export type Enrolled =
  | { readonly status: 'created' | 'existing'; readonly member: MemberNumber }
  | { readonly status: 'refused'; readonly problem: Problem };

export interface Enrolment {
  /** Enrols members, in the order of the drafts; at most a thousand. A refusal concerns its draft alone. */
  enrol(program: Program, drafts: readonly EnrolmentDraft[]): Promise<Enrolled[]>;
}

export const draftsMax = 1_000;
const attemptsMax = 8;

interface Keyed extends Identifier {
  /** Type and hash; equal for equal identifiers. */
  readonly key: string;
  readonly hash: string;
  readonly pointer: string;
}

/** A member that stands in the books already, or one that this call is about to create. */
interface Person {
  readonly member: MemberNumber | undefined;
  readonly details: Details;
  readonly identifiers: readonly Keyed[];
}

interface FoundRow {
  key: string;
  member: MemberNumber;
  joined_at: EpochMs;
  profile: Buffer | null;
}

type Decided =
  | { readonly person: Person; readonly status: 'created' | 'existing' }
  | { readonly problem: Problem };

/** Another process took an identifier between our look and our insert. */
class Overtaken extends Error {}

/** Types of identifiers that a program knows; `id` is always the caller's own. */
export function knowsType(program: Program, type: string): boolean {
  return type === ownIdType || presentVersion(program).definition.identifierTypes.includes(type);
}

function keyedOf(identity: Identity, program: Program, identifier: Identifier, pointer: string): Keyed {
  if (!knowsType(program, identifier.type)) {
    throw validationProblem([
      { pointer: `${pointer}/type`, detail: 'is not a type of identifier of this program' },
    ]);
  }
  const found = identity.keyOf(program.number, identifier);
  if (!found) throw validationProblem([{ pointer, detail: 'has nothing left once separators are removed' }]);
  return {
    type: identifier.type,
    value: normalized(identifier),
    hash: found.hash,
    key: `${found.type}:${found.hash}`,
    pointer,
  };
}

/** A draft's identifiers, the one that names the member first, each once. */
function keyedDraft(identity: Identity, program: Program, draft: EnrolmentDraft): Keyed[] {
  const own = identifierOf(draft.member);
  if (!own) throw validationProblem([{ pointer: '/member', detail: 'a mem_ id is given by the service' }]);
  const all = [
    keyedOf(identity, program, own, '/member'),
    ...(draft.identifiers ?? []).map((identifier, i) =>
      keyedOf(identity, program, identifier, `/identifiers/${i}`),
    ),
  ];
  return [...new Map(all.toReversed().map((keyed) => [keyed.key, keyed])).values()].toReversed();
}

const findQuery = `
  select i.type || ':' || encode(i.value_hash, 'hex') as key, m.number as member, m.profile,
    (extract(epoch from m.joined_at) * 1000)::bigint as joined_at
  from unnest($2::text[], $3::bytea[]) as k(type, value_hash)
  join identifier i on i.program = $1 and i.type = k.type and i.value_hash = k.value_hash
  join member m on m.number = i.member`;

function detailsOf(identity: Identity, program: Program, row: FoundRow): Details {
  const profile = row.profile ? profileOf(identity.decrypt(program.number, row.member, row.profile)) : {};
  return { joinedAt: row.joined_at, ...profile };
}

async function findOwners(
  pool: pg.Pool,
  identity: Identity,
  program: Program,
  keyed: readonly Keyed[],
): Promise<Map<string, Person>> {
  const result = await pool.query<FoundRow>({
    name: 'enrolment-find',
    text: findQuery,
    values: [program.number, keyed.map((k) => k.type), keyed.map((k) => Buffer.from(k.hash, 'hex'))],
  });
  const people = new Map<MemberNumber, Person>();
  const owners = new Map<string, Person>();
  for (const row of result.rows) {
    const person = people.get(row.member) ?? {
      member: row.member,
      details: detailsOf(identity, program, row),
      identifiers: [],
    };
    people.set(row.member, person);
    owners.set(row.key, person);
  }
  return owners;
}

function refusal(code: 'member_exists' | 'identifier_taken', pointer: string): { problem: Problem } {
  return { problem: new Problem(code, undefined, { pointer }) };
}

/** What becomes of one draft, given who owns which identifier; a new person is added to the owners. */
function decide(draft: EnrolmentDraft, identifiers: readonly Keyed[], owners: Map<string, Person>): Decided {
  const owner = owners.get(identifiers[0]!.key);
  const others = identifiers.slice(1);
  const taken = others.find(({ key }) => owners.has(key) && owners.get(key) !== owner);
  if (taken) return refusal('identifier_taken', taken.pointer);
  if (!owner) {
    const person = { member: undefined, details: draft, identifiers };
    for (const { key } of identifiers) owners.set(key, person);
    return { person, status: 'created' };
  }
  const missing = others.find(({ key }) => !owners.has(key));
  if (missing) return refusal('member_exists', missing.pointer);
  if (draft.joinedAt !== undefined && draft.joinedAt !== owner.details.joinedAt) {
    return refusal('member_exists', '/joinedAt');
  }
  const different = profileDifference(draft, owner.details);
  return different === undefined
    ? { person: owner, status: 'existing' }
    : refusal('member_exists', different);
}

async function insertMembers(
  tx: pg.PoolClient,
  identity: Identity,
  program: Program,
  people: readonly Person[],
  numbers: readonly MemberNumber[],
): Promise<void> {
  const now = Date.now() + program.clockOffsetMs;
  await tx.query(
    `insert into member (number, program, joined_at, profile, birth_day)
     select n, $1::int, j, p, d from unnest($2::bigint[], $3::timestamptz[], $4::bytea[], $5::smallint[]) as t(n, j, p, d)`,
    [
      program.number,
      numbers,
      people.map((person) => new Date(person.details.joinedAt ?? now).toISOString()),
      people.map((person, i) => {
        const text = profileText(person.details);
        return text === undefined ? null : identity.encrypt(program.number, numbers[i]!, text);
      }),
      people.map((person) => birthDayOf(person.details.birthday)),
    ],
  );
  const rows = people
    .flatMap((person, i) => person.identifiers.map((keyed) => ({ ...keyed, member: numbers[i]! })))
    // One order for everybody, so that two enrolments can wait for each other but never in a circle.
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const inserted = await tx.query(
    `insert into identifier (program, type, value_hash, member, value_encrypted)
     select $1::int, t, h, m, e from unnest($2::text[], $3::bytea[], $4::bigint[], $5::bytea[]) as k(t, h, m, e) on conflict do nothing`,
    [
      program.number,
      rows.map((row) => row.type),
      rows.map((row) => Buffer.from(row.hash, 'hex')),
      rows.map((row) => row.member),
      rows.map((row) => identity.encrypt(program.number, row.member, row.value)),
    ],
  );
  if (inserted.rowCount !== rows.length) throw new Overtaken();
}

/** Creates all or none; answers their numbers, or undefined where somebody else took an identifier meanwhile. */
async function create(
  pool: pg.Pool,
  identity: Identity,
  program: Program,
  people: readonly Person[],
): Promise<MemberNumber[] | undefined> {
  const result = await pool.query<{ number: MemberNumber }>(
    `select nextval(pg_get_serial_sequence('member', 'number'))::bigint as number from generate_series(1, $1::int)`,
    [people.length],
  );
  const numbers = result.rows.map((row) => row.number);
  try {
    await shortTransaction(pool, (tx) => insertMembers(tx, identity, program, people, numbers));
    return numbers;
  } catch (error) {
    if (error instanceof Overtaken) return undefined;
    throw error;
  }
}

/** Enrolment for one installation; also the accrual path's way to enrol on the fly. */
export function createEnrolment(pool: pg.Pool, identity: Identity): Enrolment {
  async function enrol(program: Program, drafts: readonly EnrolmentDraft[]): Promise<Enrolled[]> {
    if (drafts.length > draftsMax)
      throw new Error(`${drafts.length} drafts at once, at most ${draftsMax} may be`);
    const keyed = drafts.map((draft): Keyed[] | Problem => {
      try {
        return keyedDraft(identity, program, draft);
      } catch (error) {
        if (error instanceof Problem) return error;
        throw error;
      }
    });
    const wanted = keyed.flatMap((identifiers) => (identifiers instanceof Problem ? [] : identifiers));
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const owners =
        wanted.length > 0 ? await findOwners(pool, identity, program, wanted) : new Map<string, Person>();
      const decided = keyed.map(
        (identifiers, i): Decided =>
          identifiers instanceof Problem ? { problem: identifiers } : decide(drafts[i]!, identifiers, owners),
      );
      const people = decided.flatMap((d) => ('person' in d && d.status === 'created' ? [d.person] : []));
      const numbers = people.length > 0 ? await create(pool, identity, program, people) : [];
      if (!numbers) continue;
      const created = new Map(people.map((person, i) => [person, numbers[i]!]));
      return decided.map((d) =>
        'problem' in d
          ? { status: 'refused', problem: d.problem }
          : { status: d.status, member: d.person.member ?? created.get(d.person)! },
      );
    }
    throw new Problem('not_ready', 'others enrol the same people at the same time; repeat the request');
  }

  return { enrol };
}
