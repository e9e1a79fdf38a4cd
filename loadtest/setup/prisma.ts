/** Brings up the usual design: its own PostgreSQL with the settings of ours, and one process with the best pool size. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { run } from '#src/platform/local/processes.ts';
import {
  type Contestant,
  type Stage,
  type Standing,
  type Surroundings,
  startListening,
} from '../contestant.ts';
import { accrual, only } from '../requests.ts';
import { bestPoolSize } from './pool-size.ts';
import { type Database, openDatabase } from './postgres.ts';

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

const contestant: Contestant = {
  name: 'prisma',
  title: 'Express with one Prisma interactive transaction',
  durability: 'PostgreSQL, synchronous commit',
  // With the 128 of the others it is slower: 448 requests/s beside 479 (2026-11-22).
  connections: 64,
  counted: { name: 'accruals', perRequest: 1 },
  isAccrual: true,
  traffic: only(accrual),
};
const indexes =
  'indexes: member (id), (code); accrual (id), (reference); entry (id), (member, id); three foreign keys';

export function usualDesign(around: Surroundings): Stage {
  let clientUrl = '';
  let poolSize = 0;

  const startApi = (database: Database, size: number) =>
    startListening(
      'loadtest/contestants/prisma.ts',
      { databaseUrl: database.url, poolSize: size, clientUrl },
      around,
    );

  return {
    name: 'prisma',
    contestants: [contestant],
    async prepare() {
      clientUrl = await generateClient(around);
      await using database = await openDatabase('usual', 'usual.sql', around);
      const best = await bestPoolSize(contestant, around, (size) => startApi(database, size));
      poolSize = best.size;
      return `${best.found}; ${indexes}`;
    },
    async start(): Promise<Standing> {
      await using stack = new AsyncDisposableStack();
      const database = stack.use(await openDatabase('usual', 'usual.sql', around));
      const api = await startApi(database, poolSize);
      stack.defer(() => api.stop());
      const standing = stack.move();
      return {
        port: api.port,
        processes: { api: api.pid, postgres: database.pid },
        stored: () => database.count('Accrual'),
        stop: () => standing.disposeAsync(),
      };
    },
  };
}
