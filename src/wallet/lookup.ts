/**
 * "Known before? who is it?" Everything that the requests of one turn of the event loop need from PostgreSQL goes into one
 * query, and under load that of several turns: references that may have been used, identifiers and members. A member that this
 * process has seen is answered from memory; the scripts check the version of what is remembered (`stale_facts`).
 *
 * "Not seen" is knowledge only when the books are fresh: the answer names the shards whose books are older than half the
 * window, and a caller whose member lives in one of them is told to come back.
 */
import { LRUCache } from 'lru-cache';
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import type { MemberNumber, OperationHex, Soon } from '#src/values.ts';
import { gathering } from './gathering.ts';
import { idempotencyWindowMs, requestQuery } from './limits.ts';

/** What a process remembers of a member. */
export interface MemberFacts {
  readonly member: MemberNumber;
  readonly program: number;
  readonly factsVersion: number;
  /** The survivor of a merge, whom the member's identifiers mean now. */
  readonly mergedInto: MemberNumber | undefined;
}

/** An identifier as it is stored: type and keyed hash in hex. */
export interface IdentifierKey {
  readonly type: string;
  readonly hash: string;
}

export interface Lookup {
  /** The operation that used a reference, if any; its absence says nothing about the shards that are `behind`. */
  reference(
    referenceKey: string,
  ): Promise<{ readonly operation: OperationHex | undefined; readonly behind: readonly number[] }>;
  /**
   * Which of many references were used, in one query of their own: for whoever has a thousand at once, one by one they cost
   * 7 µs each. `behind` as above.
   */
  references(
    referenceKeys: readonly string[],
  ): Promise<{ readonly used: ReadonlySet<string>; readonly behind: readonly number[] }>;
  member(program: number, member: MemberNumber): Soon<MemberFacts | undefined>;
  identifier(program: number, key: IdentifierKey): Soon<MemberFacts | undefined>;
  /** Forgets what is remembered of a member, after `stale_facts` or a change made here. */
  forget(member: MemberNumber): void;
  /** Forgets an identifier that was linked, moved or unlinked. */
  forgetIdentifier(program: number, key: IdentifierKey): void;
}

/** A chain of merges is as long as people are merged one after the other; eight is beyond any real one. */
export const mergeHopsMax = 8;

/** The member that somebody became by merges. */
export async function survivorOf(
  lookup: Pick<Lookup, 'member'>,
  facts: MemberFacts | undefined,
): Promise<MemberFacts | undefined> {
  let current = facts;
  for (let hop = 0; current?.mergedInto !== undefined && hop < mergeHopsMax; hop += 1) {
    current = await lookup.member(current.program, current.mergedInto);
  }
  return current;
}

/** A row where there is one, and the shards whose books are too far behind for its absence to mean anything. */
interface Answer {
  readonly row: AnswerRow | undefined;
  readonly behind: readonly number[];
}

interface Question {
  readonly what: 'reference' | 'member' | 'identifier';
  readonly key: string;
}

interface AnswerRow {
  readonly what: Question['what'] | 'books';
  readonly key: string;
  readonly operation: OperationHex | null;
  readonly member: MemberNumber | null;
  readonly program: number | null;
  readonly facts_version: number | null;
  readonly merged_into: MemberNumber | null;
}

const booksBehind = `written_through_at < clock_timestamp() - interval '${idempotencyWindowMs / 2} milliseconds'`;

/** In one statement, which is one snapshot. */
const referencesQuery = `
  select replace(reference_key::text, '-', '') as key, null::int as behind from reference where reference_key = any($1::uuid[])
  union all select null, shard from position where ${booksBehind}`;

const query = `
  select 'reference' as what, replace(reference_key::text, '-', '') as key, replace(operation::text, '-', '') as operation,
    null::bigint as member, null::int as program, null::int as facts_version, null::bigint as merged_into
  from reference where reference_key = any($1::uuid[])
  union all
  select 'member', m.number::text, null, m.number, m.program, m.facts_version, case when m.status = 'merged' then m.merged_into end
  from member m where m.number = any($2::bigint[])
  union all
  select 'identifier', i.program || ':' || i.type || ':' || encode(i.value_hash, 'hex'), null, m.number, m.program, m.facts_version, case when m.status = 'merged' then m.merged_into end
  from unnest($3::int[], $4::text[], $5::bytea[]) as k(program, type, value_hash)
  join identifier i on i.program = k.program and i.type = k.type and i.value_hash = k.value_hash
  join member m on m.number = i.member
  union all
  select 'books', shard::text, null, null, null, null, null
  from position where ${booksBehind}`;

const rememberedMax = 200_000;

export function createLookup(pool: pg.Pool): Lookup {
  const members = new LRUCache<number, MemberFacts>({ max: rememberedMax });
  // With the version of the member's facts that it was read under: an unlinked identifier must not outlive a raised one.
  const identifiers = new LRUCache<string, Pick<MemberFacts, 'member' | 'factsVersion'>>({
    max: rememberedMax,
  });
  const ask = gathering<Question, Answer>(async (questions) => {
    const keysOf = (what: Question['what']) => [
      ...new Set(questions.filter((q) => q.what === what).map((q) => q.key)),
    ];
    const wanted = keysOf('identifier').map((key) => key.split(':') as [string, string, string]);
    const result = await pool.query<AnswerRow>({
      ...requestQuery,
      name: 'lookup',
      text: query,
      values: [
        keysOf('reference'),
        keysOf('member'),
        wanted.map(([program]) => Number(program)),
        wanted.map(([, type]) => type),
        wanted.map(([, , hash]) => Buffer.from(hash, 'hex')),
      ],
    });
    const rows = new Map<string, AnswerRow>();
    const behind: number[] = [];
    for (const row of result.rows) {
      if (row.what === 'books') behind.push(Number(row.key));
      else rows.set(`${row.what}:${row.key}`, row);
    }
    return questions.map(({ what, key }) => ({ row: rows.get(`${what}:${key}`), behind }));
  });

  async function asked(what: Question['what'], key: string): Promise<Answer> {
    try {
      return await ask({ what, key });
    } catch (error) {
      throw new Problem('not_ready', 'the books cannot be asked at the moment', {}, { cause: error });
    }
  }

  function remember(row: AnswerRow | undefined): MemberFacts | undefined {
    if (!row || row.member === null || row.program === null) return undefined;
    const facts: MemberFacts = {
      member: row.member,
      program: row.program,
      factsVersion: row.facts_version ?? 0,
      mergedInto: row.merged_into ?? undefined,
    };
    members.set(facts.member, facts);
    return facts;
  }

  async function askMember(program: number, number: MemberNumber): Promise<MemberFacts | undefined> {
    const facts = remember((await asked('member', String(number))).row);
    return facts?.program === program ? facts : undefined;
  }

  async function askIdentifier(key: string): Promise<MemberFacts | undefined> {
    const facts = remember((await asked('identifier', key)).row);
    if (facts) identifiers.set(key, facts);
    return facts;
  }

  return {
    async reference(referenceKey) {
      const { row, behind } = await asked('reference', referenceKey);
      return { operation: row?.operation ?? undefined, behind };
    },
    async references(referenceKeys) {
      const { rows } = await pool.query<{ key: string | null; behind: number | null }>({
        ...requestQuery,
        name: 'references',
        text: referencesQuery,
        values: [referenceKeys],
      });
      return {
        used: new Set(rows.flatMap(({ key }) => key ?? [])),
        behind: rows.flatMap(({ behind }) => behind ?? []),
      };
    },
    member(program, number) {
      const facts = members.get(number);
      if (!facts) return askMember(program, number);
      return facts.program === program ? facts : undefined;
    },
    identifier(program, { type, hash }) {
      const key = `${program}:${type}:${hash}`;
      const known = identifiers.get(key);
      if (known !== undefined) {
        const facts = members.get(known.member);
        if (facts?.factsVersion === known.factsVersion) return facts;
      }
      return askIdentifier(key);
    },
    forget: (number) => void members.delete(number),
    forgetIdentifier: (program, { type, hash }) => void identifiers.delete(`${program}:${type}:${hash}`),
  };
}
