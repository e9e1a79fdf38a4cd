/**
 * A service of the fuzzer's own: stores, API, writer, upkeep and the worker of exchanges as processes, two programs with a key of
 * every role, and a partner of both, which is the simulator.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type pg from 'pg';
import { createProgram } from '#src/earning/versions.ts';
import { createKey, createPartnerKey } from '#src/http/keys.ts';
import { createIdentity } from '#src/members/identity.ts';
import { applyPartner } from '#src/partners/contracts/applying.ts';
import { readPartnerFile } from '#src/partners/contracts/resolve.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import { createSealing } from '#src/partners/sealing.ts';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import type { LocalOptions } from '#src/platform/local/server.ts';
import { createPool } from '#src/platform/postgres.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import { openShardNodes } from '#src/wallet/shard-nodes.ts';
import { type Surroundings, startNode } from '../contestant.ts';
import { openStores, until } from '../setup/installation.ts';
import { startRedisCluster } from '../setup/redis-cluster.ts';
import type { FuzzKey, FuzzProgram } from './call.ts';
import { fuzzFile, partnerFile, partnerName } from './files.ts';

export interface FuzzEngine {
  readonly port: number;
  readonly url: string;
  readonly databaseUrl: string;
  readonly pool: pg.Pool;
  readonly nodes: RedisNodes;
  readonly programs: readonly FuzzProgram[];
  readonly logPath: string;
  /** The name of a process that has died; undefined while all live. */
  dead(): string | undefined;
  stop(): Promise<void>;
}

const roles = ['pos', 'checkout', 'care', 'finance', 'partner', 'admin'] as const;
const shardCount = 4;

/** What the simulator signs with, and is called with. */
const simulatorKey = { keyId: 'pk_fuzz', secret: 'ls_a-secret-of-the-simulator' };
/** Accounts at the partner, for both programs. */
export const partnerAccounts = 24;

interface Founding {
  readonly pool: pg.Pool;
  readonly identityKey: Buffer;
  readonly simulatorUrl: string;
}

async function foundProgram(
  { pool, identityKey, simulatorUrl }: Founding,
  mode: 'live' | 'test',
): Promise<FuzzProgram> {
  const name = `fuzz-${mode}`;
  const program = await createProgram(pool, { name, mode, file: fuzzFile });
  const keys: FuzzKey[] = [];
  for (const role of roles) {
    const { token } = await createKey(pool, { program: program.number, client: role, role, actor: 'fuzz' });
    keys.push({ role, token });
  }
  const source = JSON.stringify(partnerFile);
  const { file } = readPartnerFile(source, program.timeZone);
  const applied = await applyPartner(
    pool,
    program,
    { file: file!, source, actor: 'fuzz' },
    { dryRun: false },
  );
  if (applied.status === 'refused') throw new Error(JSON.stringify(applied.findings));
  const partner = (await partnerNamed(pool, program.number, partnerName))!;
  const identity = createIdentity(identityKey);
  const endpoint = { partner: partner.number, program: program.number, url: simulatorUrl };
  await setEndpoint(pool, identity, { ...endpoint, ...simulatorKey });
  const draft = { program: program.number, client: partnerName, actor: 'fuzz' };
  const { key, secret } = await createPartnerKey(pool, createSealing(identityKey), draft);
  return { name, keys, signer: { keyId: key.id, secret } };
}

/** Starts it all; `stop` ends what was started, also after a failure half way. */
export async function startFuzzEngine(around: Surroundings, isOnCluster: boolean): Promise<FuzzEngine> {
  await using stack = new AsyncDisposableStack();
  const dataDir = join(around.folder, 'service');
  const start = isOnCluster ? startRedisCluster : startLocalRedis;
  const startRedis = async (servers: LocalOptions) => start({ ...servers, maxmemoryMb: 256 });
  const { postgres, redis } = await openStores(around, dataDir, startRedis, stack);
  const pool = createPool(postgres.url, 2);
  stack.defer(() => pool.end());
  const nodes = await openShardNodes(redis.url, shardCount);
  stack.defer(() => nodes.close());
  const identityKey = randomBytes(32);
  const [port, simulatorPort] = [await freeLoopbackPort(), await freeLoopbackPort()];
  const founding = { pool, identityKey, simulatorUrl: `http://127.0.0.1:${simulatorPort}` };
  const programs = [await foundProgram(founding, 'live'), await foundProgram(founding, 'test')];
  const env = {
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    DATA_DIR: dataDir,
    PORT: String(port),
    LISTEN_HOST: '127.0.0.1',
    SHARD_COUNT: String(shardCount),
    IDENTITY_KEY: identityKey.toString('base64'),
  };
  const startProcess = (name: string, script: string, args: readonly string[]) => {
    const node = startNode(name, [script, ...args], around, env);
    stack.defer(() => node.stop());
    return { name, node };
  };
  const workers = ['ledger-writer', 'upkeep', 'alliance'];
  const processes = [
    ...workers.map((name) => startProcess(name, `workers/${name}.ts`, [dataDir])),
    startProcess('main', 'src/main.ts', [dataDir]),
    startProcess('simulator', 'src/partners/simulator/command.ts', [
      ...['--port', String(simulatorPort), '--data', join(around.folder, 'partner')],
      ...['--key', simulatorKey.keyId, '--secret', simulatorKey.secret],
      ...['--accounts', String(partnerAccounts), '--slow-ms', '1500'],
    ]),
  ];
  const dead = () => processes.find(({ node }) => node.hasExited())?.name;
  const url = `http://127.0.0.1:${port}`;
  await until(`${url}/readyz`, dead, around.abort);
  const all = stack.move();
  return {
    port,
    url,
    databaseUrl: postgres.url,
    pool,
    nodes,
    programs,
    logPath: join(around.folder, 'main.log'),
    dead,
    stop: () => all.disposeAsync(),
  };
}
