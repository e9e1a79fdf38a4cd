/**
 * `npm run bench -- --bytes`: what a hot member, a remembered reference, a journal record and an entry of the books take, and the
 * CPU seconds of a million accruals by process. Memory is what Redis says of the keys (MEMORY USAGE), disk what PostgreSQL says of
 * tables with their indexes.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import pg from 'pg';
import { createProgram } from '#src/earning/versions.ts';
import { createKey } from '#src/http/keys.ts';
import { type MemberNumber, parseMemberId, shardOfMember } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import type { Surroundings } from './contestant.ts';
import { drained } from './lag.ts';
import { machine } from './machine.ts';
import { type Mark, markOf } from './marks.ts';
import { marksText, table } from './report.ts';
import { accrual } from './requests.ts';
import { underLoad } from './round.ts';
import { type Installation, shardCount } from './setup/installation.ts';
import { populate } from './setup/members.ts';
import { accruals, openStand } from './setup/stand.ts';
import { withPostgres } from './setup/with-postgres.ts';
import { withRedis } from './setup/with-redis.ts';

const sampledMax = 1_000;
const dayMs = 86_400_000;
const keyKnownMsMax = 20_000;
/** Points of a lot live so long; two lots of one member begin a month apart. */
const expiresAfterDays = 1_000;
const daysApart = 30;
const bytesPerMemberMax = 250;

/** What is measured: an API and its stores. */
export interface Measured {
  readonly url: string;
  readonly databaseUrl: string;
  /** As the user who may do everything. */
  readonly redis: Redis;
  readonly shardCount: number;
  /** Members of each kind, and references, to take the mean of; at most a thousand. */
  readonly samples: number;
}

export interface BytesFigures {
  readonly memberOfThreeLots: number;
  readonly memberOfManyLots: number;
  readonly idempotencyEntry: number;
  readonly journalRecord: number;
  /** By table: its rows, and bytes a row with all indexes. */
  readonly books: Readonly<Record<string, { readonly rows: number; readonly bytesPerRow: number }>>;
  /** Operation, entries and reference of an accrual, with all indexes. */
  readonly accrualInBooks: number;
}

const manyLots = 24;
const bookTables = ['operation', 'entry', 'reference'] as const;

/** A program whose points expire, because in the sample program every member has one lot; answers a till's key. */
async function programWithLots(databaseUrl: string): Promise<string> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1, query_timeout: 10_000 });
  try {
    const { number } = await createProgram(pool, {
      name: `lots-${Date.now()}`,
      mode: 'live',
      file: {
        timeZone: 'UTC',
        currencies: [{ code: 'points' }],
        rules: [
          {
            name: 'spend',
            currency: 'points',
            earn: { by: 'amount', points: 1, perMinorUnits: 100 },
            expiry: { kind: 'days', days: expiresAfterDays },
          },
        ],
      },
    });
    const key = await createKey(pool, { program: number, client: 'tills', role: 'pos', actor: 'bench' });
    return key.token;
  } finally {
    await pool.end();
  }
}

interface BulkReply {
  readonly data: readonly { readonly status: number; readonly accrual?: { readonly member: string } }[];
}

/** A receipt for each member of a group, so many days ago; asked again until the API has learned the key. */
async function receipts(
  { url, samples }: Measured,
  token: string,
  group: string,
  daysAgo: number,
): Promise<MemberNumber[]> {
  const occurredAt = new Date(Date.now() - daysAgo * dayMs).toISOString();
  const items = Array.from({ length: samples }, (_, index) => ({
    member: `${group}-${index}`,
    reference: `${group}/${daysAgo}/${index}`,
    enrol: true,
    occurredAt,
    purchase: { currency: 'EUR', lines: [{ line: 1, amount: 2_500 + index * 17 }] },
  }));
  for (const endMs = performance.now() + keyKnownMsMax; ; ) {
    const answer = await fetch(`${url}/v1/accruals/bulk`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ items }),
      signal: AbortSignal.timeout(30_000),
    });
    if (answer.status !== 200 && performance.now() < endMs) {
      await answer.arrayBuffer();
      await delay(100);
      continue;
    }
    if (answer.status !== 200) throw new Error(`receipts were answered with ${answer.status}`);
    const { data } = (await answer.json()) as BulkReply;
    return data.map(({ status, accrual }) => {
      const member = accrual && parseMemberId(accrual.member);
      if (!member) throw new Error(`a receipt was answered with ${status}`);
      return member;
    });
  }
}

/** Members of so many lots each, and what their keys take on average. */
async function memberBytes(measured: Measured, token: string, lots: number): Promise<number> {
  const { redis, shardCount } = measured;
  let members: MemberNumber[] = [];
  for (let lot = 0; lot < lots; lot += 1)
    members = await receipts(measured, token, `lots-${lots}`, (lots - lot) * daysApart);
  const names = members.map((member) => keys.member(shardOfMember(member, shardCount), member));
  return mean(await usage(redis, names));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

async function usage(redis: Redis, names: readonly string[]): Promise<number[]> {
  const pipeline = redis.pipeline();
  for (const name of names) pipeline.memory('USAGE', name, 'SAMPLES', 0);
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, bytes], i) => {
    if (error || typeof bytes !== 'number') throw error ?? new Error(`${names[i]} is not there`);
    return bytes;
  });
}

/** An entry with its place among the keys that expire, which MEMORY USAGE leaves out. */
async function entryBytes({ redis, shardCount, samples }: Measured): Promise<number> {
  const names = new Set<string>();
  for (let shard = 0; shard < shardCount && names.size < samples; shard += 1) {
    const pattern = keys.idempotency(shard, '*');
    let cursor = '0';
    do {
      const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 10_000);
      for (const name of found) names.add(name);
      cursor = next;
    } while (cursor !== '0' && names.size < samples);
  }
  const expiring = Number(/expires=(\d+)/.exec(await redis.info('keyspace'))?.[1]);
  const stats = (await redis.call('MEMORY', 'STATS')) as unknown[];
  const database = stats[stats.indexOf('db.0') + 1] as unknown[];
  const overhead = Number(database[database.indexOf('overhead.hashtable.expires') + 1]);
  return mean(await usage(redis, [...names].slice(0, samples))) + overhead / expiring;
}

async function recordBytes({ redis, shardCount }: Measured): Promise<number> {
  const journals = Array.from({ length: shardCount }, (_, shard) => keys.journal(shard));
  const bytes = await usage(redis, journals);
  const lengths = await Promise.all(journals.map((journal) => redis.xlen(journal)));
  return (mean(bytes) * shardCount) / lengths.reduce((sum, length) => sum + length, 0);
}

async function bookBytes(client: pg.Client): Promise<BytesFigures['books']> {
  const books: Record<string, { rows: number; bytesPerRow: number }> = {};
  for (const name of bookTables) {
    // The whole of a partitioned table is its partitions.
    const { rows } = await client.query<{ rows: number; bytes: number }>(
      `select (select count(*) from ${name})::float8 as rows,
         coalesce((select sum(pg_total_relation_size(relid)) from pg_partition_tree('${name}'::regclass)),
           pg_total_relation_size('${name}'::regclass))::float8 as bytes`,
    );
    const { rows: count, bytes } = rows[0]!;
    books[name] = { rows: count, bytesPerRow: bytes / count };
  }
  return books;
}

/** Measures what has booked some accruals. Adds members of its own. */
export async function bytesOf(measured: Measured): Promise<BytesFigures> {
  const books = await withPostgres(measured.databaseUrl, bookBytes, 120_000);
  const journalRecord = await recordBytes(measured);
  const idempotencyEntry = await entryBytes(measured);
  const token = await programWithLots(measured.databaseUrl);
  const { operation, entry, reference } = books;
  return {
    memberOfThreeLots: await memberBytes(measured, token, 3),
    memberOfManyLots: await memberBytes(measured, token, manyLots),
    idempotencyEntry,
    journalRecord,
    books,
    accrualInBooks:
      operation!.bytesPerRow +
      (entry!.bytesPerRow * entry!.rows) / operation!.rows +
      (reference!.bytesPerRow * reference!.rows) / operation!.rows,
  };
}

/** The same of an installation of the benchmark. */
export async function bytesOfInstallation({
  port,
  redis: { adminUrl },
  postgres,
}: Pick<Installation, 'port' | 'redis' | 'postgres'>): Promise<BytesFigures> {
  const installed = { url: `http://127.0.0.1:${port}`, databaseUrl: postgres.url, shardCount };
  return withRedis(adminUrl, (redis) => bytesOf({ ...installed, redis, samples: sampledMax }), 60_000);
}

export function bytesText(figures: BytesFigures): string {
  const text = (bytes: number) => bytes.toFixed(0);
  const books = Object.entries(figures.books).map(([name, { rows, bytesPerRow }]) => [
    `PostgreSQL, a row of ${name} with its indexes (${rows.toLocaleString('en')} rows)`,
    text(bytesPerRow),
  ]);
  return table([
    ['what', 'bytes'],
    ['Redis, a hot member of one currency and three lots', text(figures.memberOfThreeLots)],
    [`Redis, the same with ${manyLots} lots`, text(figures.memberOfManyLots)],
    ['Redis, a remembered reference (twenty minutes)', text(figures.idempotencyEntry)],
    ['Redis, a journal record', text(figures.journalRecord)],
    ...books,
    ['PostgreSQL, an accrual: operation, entries, reference', text(figures.accrualInBooks)],
  ]);
}

export function bytesMark({ memberOfThreeLots }: BytesFigures): Mark {
  const bound = { atMost: bytesPerMemberMax, aim: 180 };
  return markOf('bytes of a hot member with three lots', [memberOfThreeLots], bound);
}

/** CPU seconds of a million accruals by process, and together. */
export function cpuText(cpuPerMillion: Readonly<Record<string, number>>): string {
  const parts = Object.entries(cpuPerMillion).map(([name, seconds]) => `${name} ${seconds.toFixed(0)}`);
  const whole = Object.values(cpuPerMillion).reduce((sum, seconds) => sum + seconds, 0);
  return `CPU seconds of a million accruals: ${parts.join(', ')}; together ${whole.toFixed(0)}`;
}

/** Brings an installation up, loads it once and measures it; answers the figures as data. */
export async function measureBytes(around: Surroundings): Promise<object> {
  await using stack = new AsyncDisposableStack();
  around.print(`bytes: enrolling ${around.members} members …`);
  const { standing, installation } = await openStand(around, join(around.folder, 'bytes'));
  stack.defer(() => standing.stop());
  await populate(standing.port, around.members);
  await drained(standing.lag);
  const settings = { warmupMs: 2_000, measureMs: 6_000 };
  const { cpuPerMillion } = await underLoad(accruals('service', accrual), standing, settings, around);
  const figures = await bytesOfInstallation(installation);
  const mark = bytesMark(figures);
  around.print(`\n${bytesText(figures)}\n\n${cpuText(cpuPerMillion)}\n\n${marksText([mark])}`);
  return { machine: machine(), figures, cpuPerMillion, marks: [mark] };
}
