/** The composition of a process: stores, wallet and domains, wired by hand. No web framework here, so workers share it. */

import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Soon } from '#src/values.ts';
import type { Config } from './config.ts';
import { budgetTerms } from './earning/budgets.ts';
import type { Program, Programs } from './earning/program.ts';
import { loadPrograms } from './earning/registry.ts';
import { ensureInstallation } from './ledger/installation.ts';
import { enrolEach } from './members/enrol-each.ts';
import { createEnrolment, type Enrolment } from './members/enrolment.ts';
import { createIdentity, type Identity } from './members/identity.ts';
import { loadIdentityKey } from './members/identity-key.ts';
import { createJudgedMembers, type JudgedMembers } from './members/judged-member.ts';
import { type MemberRef, resolveMember } from './members/member-ref.ts';
import { seeingSegments } from './members/segmented-member.ts';
import { createPartnerBook, type PartnerBook } from './partners/contracts/book.ts';
import { createSealing, type Sealing } from './partners/sealing.ts';
import { checkSchema } from './platform/migrate.ts';
import { createKeyedPool, createPool } from './platform/postgres.ts';
import {
  type AnyRedis,
  createAnyRedis,
  createBlockingAnyRedis,
  type RedisNodes,
  whenReady,
} from './platform/redis-nodes.ts';
import { isClusterUrl } from './platform/redis-topology.ts';
import { type Standing, watchStanding } from './platform/standing.ts';
import { createTelemetry, type Telemetry } from './platform/telemetry.ts';
import { createEpochs, type Epochs } from './wallet/epochs.ts';
import { changedChannel, keys } from './wallet/keys.ts';
import { createLeases, type LeasesOptions } from './wallet/leases.ts';
import { clockSkewMsMax } from './wallet/limits.ts';
import { createLoader } from './wallet/load.ts';
import { createLookup, type MemberFacts } from './wallet/lookup.ts';
import { createOperations, type Operations } from './wallet/operations.ts';
import { createScriptPresence, type ScriptPresence } from './wallet/script-presence.ts';
import { createScriptNote, type ScriptNote } from './wallet/script-versions.ts';
import { openShardNodes } from './wallet/shard-nodes.ts';
import { createWallet } from './wallet/wallet.ts';
import { createWritten } from './wallet/written.ts';

export interface App {
  readonly config: Config;
  readonly telemetry: Telemetry;
  readonly pool: pg.Pool;
  /** For named statements that ask by keys, many a second; of its own, so that no till waits behind an exchange that waits for a lock. */
  readonly keyedPool: pg.Pool;
  readonly nodes: RedisNodes;
  readonly programs: Programs;
  readonly epochs: Epochs;
  readonly operations: Operations;
  readonly identity: Identity;
  /** Of secrets of calls between partners. */
  readonly sealing: Sealing;
  readonly enrolment: Enrolment;
  readonly standing: Standing;
  resolveMember(program: Program, ref: MemberRef): Soon<MemberFacts | undefined>;
  resolvePathMember(program: Program, text: string): Soon<MemberFacts | undefined>;
  enrolMember(program: Program, ref: MemberRef): Promise<MemberFacts>;
  /** Partners with their contracts and rates. */
  readonly partners: PartnerBook;
  /** What rules may know of a member. */
  readonly judgedMember: JudgedMembers;
  /** A rule failed while it ran; everything else was given without it. */
  ruleFailed(program: Program, rule: string, reason: string): void;
  /** Tells every process that a table changed. */
  announce(table: ChangedTable): Promise<void>;
  /** Calls back whenever another process says that a table changed. */
  onChanged(listener: (table: ChangedTable) => void): void;
  close(): Promise<void>;
}

export type ChangedTable = 'api_key' | 'program' | 'epoch';

const refreshMs = 400;
const version = '0.1.0';

interface Stores {
  readonly pool: pg.Pool;
  readonly keyedPool: pg.Pool;
  readonly nodes: RedisNodes;
  /** For what belongs to no shard. */
  readonly anyRedis: AnyRedis;
  readonly subscriber: AnyRedis;
}

/** Which epochs there are, and what this process needs in them. */
interface Epochal {
  readonly epochs: Epochs;
  readonly presence: ScriptPresence;
  readonly note: ScriptNote;
}

/**
 * Reads programs and epochs again on a timer and whenever a change is announced; keeps the note of this process's scripts,
 * and looks for them where they have not been seen yet.
 */
function keepFresh(
  programs: Programs,
  { epochs, presence, note }: Epochal,
  subscriber: AnyRedis,
): { onChanged: App['onChanged']; stop(): void } {
  const listeners: ((table: ChangedTable) => void)[] = [];
  const refresh = () => {
    programs.refresh().catch(() => {});
    epochs
      .refresh()
      .then(() => presence.refresh())
      .catch(() => {});
    note.write().catch(() => {});
  };
  const timer = setInterval(refresh, refreshMs);
  timer.unref();
  void subscriber.subscribe(changedChannel).catch(() => {});
  subscriber.on('message', (channel, message) => {
    if (channel !== changedChannel) return;
    refresh();
    for (const listener of listeners) listener(message as ChangedTable);
  });
  return { onChanged: (listener) => void listeners.push(listener), stop: () => clearInterval(timer) };
}

async function connect(config: Config): Promise<Stores> {
  const { databaseUrl, databaseConnectionsMax } = config;
  const pool = createPool(databaseUrl, databaseConnectionsMax);
  await checkSchema(pool);
  await ensureInstallation(pool, config.shardCount);
  const nodes = await openShardNodes(config.redisUrl, config.shardCount, { watchesIdentity: true });
  const anyRedis = isClusterUrl(config.redisUrl) ? createAnyRedis(config.redisUrl) : nodes.of(0);
  await whenReady(anyRedis);
  return {
    pool,
    keyedPool: createKeyedPool(databaseUrl, databaseConnectionsMax),
    nodes,
    anyRedis,
    subscriber: createBlockingAnyRedis(config.redisUrl),
  };
}

function watch(
  config: Config,
  { pool, nodes }: Stores,
  telemetry: Telemetry,
  presence: ScriptPresence,
): Promise<Standing> {
  const { metrics, log } = telemetry;
  const shards = Array.from({ length: config.shardCount }, (_, shard) => shard);
  metrics.journalLimitBytes.set(config.journalLimitBytes);
  return watchStanding({
    pool,
    nodes,
    log,
    processId: randomUUID(),
    noteFolder: config.dataDir,
    journalKeys: shards.map((shard) => keys.journal(shard)),
    journalLimitBytes: config.journalLimitBytes,
    clockSkewMsMax,
    closedShards: presence.lacking,
    journalSize: (bytes) => metrics.journalBytes.set(bytes),
    lag(lags) {
      for (const { shard, records, seconds } of lags) {
        metrics.ledgerLagRecords.set({ shard }, records);
        metrics.ledgerLagSeconds.set({ shard }, seconds);
      }
    },
  });
}

/** Budgets of programs by their numbers, as they are now. */
function budgetsOf(programs: Programs): LeasesOptions['termsOf'] {
  return (number, budget) => {
    const program = programs.get(number);
    return program && budgetTerms(program, budget);
  };
}

/** Builds everything that serving processes share. Throws where the stores are not there or not ours. */
export async function createApp(config: Config, processName: string): Promise<App> {
  const telemetry = createTelemetry({ logLevel: config.logLevel, processName, version });
  const identityKey = await loadIdentityKey(config);
  const stores = await connect(config);
  const { pool, keyedPool, nodes, anyRedis, subscriber } = stores;
  const identity = createIdentity(identityKey);
  const programs = await loadPrograms(pool);
  const epochs = createEpochs(pool, config.shardCount, nodes.identity);
  const presence = createScriptPresence(nodes.of, epochs, config.shardCount);
  const note = createScriptNote(pool);
  // Ledger writers load what is noted: without it this version's calls would be refused.
  await note.write();
  await epochs.refresh();
  const fresh = keepFresh(programs, { epochs, presence, note }, subscriber);
  const standing = await watch(config, stores, telemetry, presence);
  const written = createWritten(subscriber, pool);
  const loader = createLoader(nodes, pool, epochs, config.shardCount, () =>
    telemetry.metrics.membersLoaded.inc(),
  );
  const [{ shardCount }, { acknowledged, journalFull }] = [config, standing];
  const leases = createLeases({ pool, nodes, epochs, written, shardCount, termsOf: budgetsOf(programs) });
  const wallet = createWallet({
    nodes,
    epochs,
    loader,
    leases,
    written,
    shardCount,
    acknowledged,
    decided: telemetry.decided,
    journalFull,
  });
  const lookup = createLookup(pool);
  const secret = identityKey.toString('hex');
  const operations = createOperations(pool, nodes, anyRedis, wallet, lookup, epochs, secret);
  const enrolment = createEnrolment(pool, identity);
  const resolve = (program: Program, ref: MemberRef) => resolveMember(lookup, identity, program, ref);
  return {
    config,
    telemetry,
    pool,
    keyedPool,
    nodes,
    programs,
    epochs,
    operations,
    identity,
    sealing: createSealing(identityKey),
    enrolment,
    standing,
    resolveMember: resolve,
    resolvePathMember: resolve,
    enrolMember: enrolEach(enrolment, lookup),
    partners: createPartnerBook(pool),
    judgedMember: seeingSegments(pool, createJudgedMembers(pool, identity)),
    ruleFailed(program, rule, reason) {
      telemetry.metrics.rulesFailed.inc({ program: program.name, rule });
      telemetry.log.warn({ program: program.name, rule, reason }, 'a rule failed; all others were judged');
    },
    async announce(table) {
      await anyRedis.publish(changedChannel, table);
    },
    onChanged: fresh.onChanged,
    async close() {
      fresh.stop();
      await standing.stop();
      written.stop();
      for (const redis of [subscriber, anyRedis]) redis.disconnect();
      nodes.close();
      await Promise.all([pool.end(), keyedPool.end()]);
    },
  };
}
