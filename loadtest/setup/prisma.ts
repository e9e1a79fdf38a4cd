/** Brings up the usual design: its own PostgreSQL with the settings of ours, and one process with the best pool size. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { run } from '#src/platform/local/processes.ts';
import type { Contestant, Stage, Surroundings } from '../contestant.ts';
import { accrual, only } from '../requests.ts';
import { pooledStage } from './pooled.ts';

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

export function usualDesign(around: Surroundings): Stage {
  const pooled = {
    contestant,
    database: 'usual',
    sqlPath: 'usual.sql',
    table: 'Accrual',
    indexes: 'member (id), (code); accrual (id), (reference); entry (id), (member, id); three foreign keys',
    script: 'loadtest/contestants/prisma.ts',
    settings: async () => ({ clientUrl: await generateClient(around) }),
  };
  return pooledStage(pooled, around);
}
