/** Brings up the usual design: its own PostgreSQL with the settings of ours, and one process with the best pool size. */
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { freeLoopbackPort } from '#src/platform/local/ports.ts';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { run } from '#src/platform/local/processes.ts';
import { type Contestant, type Standing, type Surroundings, startNode } from '../contestant.ts';
import { runLoad } from '../load.ts';
import { accrual } from '../requests.ts';

const poolSizes = [5, 10, 20] as const;
/** With the 128 of the others it is slower: 448 requests/s beside 479 (2026-11-22). */
const connections = 64;

/** Generates the client below the checkout, where `@prisma/client` is found; inside node_modules Node strips no types. */
async function generateClient({ folder, checkout, abort }: Surroundings): Promise<string> {
  const schema = join(folder, 'usual.prisma');
  await copyFile(join(checkout, 'loadtest/contestants/usual.prisma'), schema);
  const outcome = await run(
    {
      file: process.execPath,
      args: ['node_modules/prisma/build/index.js', 'generate', '--schema', schema],
      cwd: checkout,
      // The engine is only needed for migrations, and cannot be downloaded everywhere.
      env: { PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true', PRISMA_HIDE_UPDATE_MESSAGE: '1' },
    },
    120_000,
    abort,
  );
  if (outcome.code !== 0) throw new Error(`prisma generate failed:\n${outcome.stdout}\n${outcome.stderr}`);
  return pathToFileURL(join(folder, 'client', 'client.ts')).href;
}

export function usualDesign(around: Surroundings): Contestant {
  const dataDir = join(around.folder, 'usual');
  let clientUrl = '';
  let bestPoolSize: number = poolSizes[0];

  async function begin(poolSize: number): Promise<Standing> {
    await using stack = new AsyncDisposableStack();
    const postgres = await startLocalPostgres({ dataDir, cacheDir: around.cacheDir, abort: around.abort });
    stack.defer(() => postgres.stop());
    const pool = new pg.Pool({ connectionString: postgres.url, max: 1 });
    pool.on('error', () => undefined);
    stack.defer(() => pool.end());
    const there = await pool.query<{ present: boolean }>(
      `select to_regclass('"Member"') is not null as present`,
    );
    if (!there.rows[0]!.present) {
      await pool.query(await readFile(join(around.checkout, 'loadtest/contestants/usual.sql'), 'utf8'));
    }
    const port = await freeLoopbackPort();
    const settings = JSON.stringify({ port, databaseUrl: postgres.url, poolSize, clientUrl });
    const api = startNode('prisma', ['loadtest/contestants/prisma.ts', settings], around);
    stack.defer(() => api.stop());
    await api.message();
    const standing = stack.move();
    const count = () =>
      pool
        .query<{ count: number }>('select count(*)::int as count from "Accrual"')
        .then(({ rows }) => rows[0]!.count);
    const before = await count();
    return {
      port,
      processes: { api: api.pid, postgres: postgres.pid },
      stored: async () => (await count()) - before,
      stop: () => standing.disposeAsync(),
    };
  }

  async function trial(poolSize: number): Promise<number> {
    const standing = await begin(poolSize);
    try {
      const [warmupMs, measureMs] = around.isQuick ? [1_500, 2_000] : [2_000, 4_000];
      const { port } = standing;
      const load = runLoad(
        { port, connections, members: around.members, warmupMs, measureMs, request: accrual },
        around,
      );
      const { requests, seconds } = await load.measured;
      return requests / seconds;
    } finally {
      await standing.stop();
    }
  }

  return {
    name: 'prisma',
    title: 'Express with one Prisma interactive transaction',
    durability: 'PostgreSQL, synchronous commit',
    connections,
    isAccrual: true,
    request: accrual,
    async prepare() {
      await mkdir(dataDir, { recursive: true });
      clientUrl = await generateClient(around);
      const speeds: number[] = [];
      for (const size of poolSizes) speeds.push(await trial(size));
      bestPoolSize = poolSizes[speeds.indexOf(Math.max(...speeds))]!;
      const found = poolSizes.map((size, i) => `${size}: ${Math.round(speeds[i]!)}/s`).join(', ');
      return `pool of ${bestPoolSize} (${found})`;
    },
    start: () => begin(bestPoolSize),
  };
}
