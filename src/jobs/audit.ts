/**
 * The audit that never stops. Five parts go over everything again and again, each run for a bounded time from the place
 * where the last one ended:
 *
 *   hot        what is in Redis, against the books at the same sequence
 *   books      operations in order: numbers, hash chain, entries, terms of lots
 *   entries    each belongs to an operation
 *   rows       every member's lots, debts and holds, against entries
 *   transfers  settled ones left nothing on the way; what is on the way belongs to open ones
 *
 * What is found of a member goes to `mismatch.ts`; everything is counted and published with how long a pass takes.
 */
import type pg from 'pg';
import { z } from 'zod';
import type { App } from '#src/app.ts';
import { auditShardBooksFrom } from '#src/ledger/audit-books.ts';
import type { BlockRow } from '#src/ledger/audit-chain.ts';
import {
  compareHotMembers,
  compareHotOperations,
  type HotComparison,
  hotPerBatch,
} from '#src/ledger/audit-hot.ts';
import { type AuditPart, movePlace, passes, readPlace } from '#src/ledger/audit-place.ts';
import { createCollector, type Finding, whereText } from '#src/ledger/audit-report.ts';
import {
  auditMemberRows,
  auditSettledTransfers,
  auditTransfersInFlight,
  auditUnclaimed,
  membersAfter,
} from '#src/ledger/audit-rows.ts';
import { differenceText, pointsOf } from '#src/ledger/audit-standing.ts';
import { scanNodes } from '#src/platform/redis-nodes.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { shardOfKey, shardPrefix, statePattern } from '#src/wallet/keys.ts';
import { type Mismatch, settleFindings, treat } from './mismatch.ts';

/** What one step of a part came to. `next` undefined: the pass is over. */
interface StepDone {
  readonly next: unknown;
  readonly compared: number;
  readonly found: readonly Finding[];
  readonly mismatches: readonly Mismatch[];
}

type Step = (app: App, connection: pg.PoolClient, place: unknown) => Promise<StepDone>;

const scanCount = 1_000;
const scansPerStepMax = 50;
const hotPerStep = 3_200;
const membersPerStep = 200;
const operationsPerStep = 2_000;
const entriesPerStep = 5_000;
const transfersPerStep = 500;
const patienceMs = 500;
const mismatchesPerStepMax = 100;

const nameOf = { m: /^\d{1,15}$/, o: /^[0-9a-f]{32}$/ } as const;

/** Names of one sort in a shard's keys: `m` members, `o` operations. */
function namesOf(group: readonly string[], shard: number, sort: 'm' | 'o'): string[] {
  const prefix = `${shardPrefix(shard)}${sort}:`;
  const names = group.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  // SCAN may say a name twice.
  return [...new Set(names)].filter((name) => nameOf[sort].test(name));
}

function* chunksOf<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let from = 0; from < all.length; from += size) yield all.slice(from, from + size);
}

async function memberOf(connection: pg.PoolClient, operation: string): Promise<MemberNumber | undefined> {
  const { rows } = await connection.query<{ member: MemberNumber }>(
    'select member from operation where operation = $1',
    [operation],
  );
  return rows[0]?.member;
}

/** One mismatch a state, with the first of its differences in words. */
async function mismatchesOf(
  connection: pg.PoolClient,
  shard: number,
  sort: 'm' | 'o',
  { differences, unreadable }: HotComparison,
): Promise<Mismatch[]> {
  const byName = new Map<string, { detail: string; points: number }>();
  for (const difference of differences) {
    const { member, operation } = difference.figure.where;
    const name = String(member ?? operation);
    const before = byName.get(name);
    byName.set(name, {
      detail: before?.detail ?? differenceText(difference),
      points: (before?.points ?? 0) + pointsOf(difference),
    });
  }
  for (const name of unreadable)
    byName.set(name, {
      detail: 'the state in Redis cannot be read, or names a record that never was',
      points: 0,
    });
  const mismatches: Mismatch[] = [];
  for (const [name, what] of byName) {
    const member = sort === 'm' ? (Number(name) as MemberNumber) : await memberOf(connection, name);
    if (member !== undefined && Number.isSafeInteger(member))
      mismatches.push({ member, suffix: `${sort}:${name}`, shard, ...what });
  }
  return mismatches;
}

/** Reads names from the key space from a place on; a pass ends without a next one. */
async function scan(
  app: App,
  from: string | undefined,
): Promise<{ place: string | undefined; found: string[] }> {
  let place = from;
  const found: string[] = [];
  for (let i = 0; i < scansPerStepMax && found.length < hotPerStep; i += 1) {
    const { names, next } = await scanNodes(app.nodes, place, statePattern, scanCount);
    place = next;
    found.push(...names);
    if (place === undefined) break;
  }
  return { place, found };
}

const hotPlace = z.string().nullable();

const stepHot: Step = async (app, connection, place) => {
  const { place: next, found } = await scan(app, hotPlace.parse(place) ?? undefined);
  const stores = { nodes: app.nodes, connection, patience: { leftMs: patienceMs } };
  const mismatches: Mismatch[] = [];
  let compared = 0;
  for (const [shard, group] of Map.groupBy(found, shardOfKey)) {
    for (const names of chunksOf(namesOf(group, shard, 'm'), hotPerBatch)) {
      const seen = await compareHotMembers(stores, shard, names.map(Number) as MemberNumber[]);
      mismatches.push(...(await mismatchesOf(connection, shard, 'm', seen)));
      compared += seen.compared;
    }
    for (const names of chunksOf(namesOf(group, shard, 'o'), hotPerBatch)) {
      const seen = await compareHotOperations(stores, shard, names as OperationHex[]);
      mismatches.push(...(await mismatchesOf(connection, shard, 'o', seen)));
      compared += seen.compared;
    }
  }
  return { next, compared, found: [], mismatches };
};

const booksPlace = z
  .object({
    shard: z.int(),
    block: z
      .object({
        epoch: z.int(),
        first_seq: z.int(),
        last_seq: z.int(),
        previous_hash: z.base64(),
        hash: z.base64(),
      })
      .nullable(),
  })
  .nullable();

async function inSnapshot<T>(connection: pg.PoolClient, work: () => Promise<T>): Promise<T> {
  await connection.query('begin isolation level repeatable read read only');
  try {
    return await work();
  } finally {
    await connection.query('rollback');
  }
}

const stepBooks: Step = async (app, connection, place) => {
  const { shard, block } = booksPlace.parse(place) ?? { shard: 0, block: null };
  const from: BlockRow | undefined = block
    ? {
        ...block,
        previous_hash: Buffer.from(block.previous_hash, 'base64'),
        hash: Buffer.from(block.hash, 'base64'),
      }
    : undefined;
  const collector = createCollector();
  const reached = await inSnapshot(connection, () =>
    auditShardBooksFrom(connection, shard, from, operationsPerStep, collector),
  );
  const { findings, checks } = collector.report();
  const isLast = !reached && shard + 1 >= app.config.shardCount;
  const next = reached
    ? {
        shard,
        block: {
          ...reached,
          previous_hash: reached.previous_hash.toString('base64'),
          hash: reached.hash.toString('base64'),
        },
      }
    : { shard: shard + 1, block: null };
  const compared = checks.find((row) => row.check === 'density')?.compared ?? 0;
  return { next: isLast ? undefined : next, compared, found: findings, mismatches: [] };
};

/** PostgreSQL's `query_canceled`: the statement took longer than it may. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '57014';
}

/** A member whose history is too long to add up in time is left out and said, rather than stopping the others. */
async function rowsOf(
  app: App,
  connection: pg.PoolClient,
  members: readonly MemberNumber[],
): Promise<Finding[]> {
  try {
    return await auditMemberRows(connection, members);
  } catch (error) {
    if (!isTimeout(error)) throw error;
    if (members.length > 1) {
      const middle = members.length >> 1;
      return [
        ...(await rowsOf(app, connection, members.slice(0, middle))),
        ...(await rowsOf(app, connection, members.slice(middle))),
      ];
    }
    app.telemetry.log.warn({ err: error, member: members[0] }, 'a member cannot be added up in time');
    return [];
  }
}

const rowsPlace = z.int().nullable();

const stepRows: Step = async (app, connection, place) => {
  const members = await membersAfter(connection, rowsPlace.parse(place) ?? 0, membersPerStep);
  const found = members.length === 0 ? [] : await rowsOf(app, connection, members);
  const next = members.length < membersPerStep ? undefined : members.at(-1);
  return { next, compared: members.length, found, mismatches: [] };
};

const idPlace = z.uuid().nullable();
const firstId = '00000000-0000-0000-0000-000000000000';

const stepEntries: Step = async (_, connection, place) => {
  const { last, looked, findings } = await auditUnclaimed(
    connection,
    idPlace.parse(place) ?? firstId,
    entriesPerStep,
  );
  return { next: last, compared: looked, found: findings, mismatches: [] };
};

const stepTransfers: Step = (_, connection, place) =>
  inSnapshot(connection, async () => {
    const after = idPlace.parse(place) ?? firstId;
    const { last, looked, findings } = await auditSettledTransfers(connection, after, transfersPerStep);
    const isLast = looked < transfersPerStep;
    // Once a pass, at its end: it looks at everything that is on the way.
    const flying = isLast ? await auditTransfersInFlight(connection) : [];
    return {
      next: isLast ? undefined : last,
      compared: looked,
      found: [...findings, ...flying],
      mismatches: [],
    };
  });

const steps: Readonly<Record<AuditPart, Step>> = {
  hot: stepHot,
  books: stepBooks,
  entries: stepEntries,
  rows: stepRows,
  transfers: stepTransfers,
};

/** Findings that name a member become a mismatch of its books. */
function ofBooks(app: App, findings: readonly Finding[]): Mismatch[] {
  return findings.flatMap(({ where, detail, points }) => {
    const { member } = where;
    if (member === undefined) return [];
    const shard = app.operations.wallet.shardOf(member);
    return [{ member, suffix: undefined, shard, detail: `${whereText(where)}: ${detail}`, points }];
  });
}

async function report(app: App, part: AuditPart, done: StepDone): Promise<void> {
  app.telemetry.metrics.auditCompared.inc({ part }, done.compared);
  for (const { check, where, detail } of done.found)
    app.telemetry.log.error(
      { check, where: whereText(where), detail },
      'the audit found a fault in the books',
    );
  const mismatches = [...done.mismatches, ...ofBooks(app, done.found)];
  for (const mismatch of mismatches.slice(0, mismatchesPerStepMax)) await treat(app, mismatch);
}

/** Runs steps of a part from its place for about `budgetMs`. Answers how much was compared. */
export async function auditPart(app: App, part: AuditPart, budgetMs: number): Promise<number> {
  const deadline = performance.now() + budgetMs;
  let compared = 0;
  do {
    const row = await readPlace(app.pool, part);
    const connection = await app.pool.connect();
    let done: StepDone;
    try {
      done = await steps[part](app, connection, row.place);
    } finally {
      connection.release();
    }
    await report(app, part, done);
    compared += done.compared;
    const moved = await movePlace(app.pool, part, row, done.next, done.found.length + done.mismatches.length);
    if (!moved || done.next === undefined) break;
  } while (performance.now() < deadline);
  return compared;
}

/** Looks again at what was found and publishes how the audit stands. */
export async function publishAudit(app: App): Promise<void> {
  await settleFindings(app);
  const { metrics } = app.telemetry;
  for (const { part, pass_seconds, age_seconds, found } of await passes(app.pool)) {
    if (pass_seconds !== null) metrics.auditPassSeconds.set({ part }, pass_seconds);
    metrics.auditPassAge.set({ part }, age_seconds);
    metrics.auditFindings.set({ part }, found);
  }
  // What was repaired at once would never be seen by who asks every fifteen seconds: it stays visible for ten minutes.
  const { rows } = await app.pool.query<{ points: number }>(
    `select coalesce(sum(points), 0)::float8 as points from audit_finding
     where settled_at is null or found_at > now() - interval '10 minutes'`,
  );
  metrics.ledgerDrift.set(rows[0]!.points);
}
