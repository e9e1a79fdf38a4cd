/**
 * One PostgreSQL for the whole run, with a migrated template from which every test file's database is cloned, and the
 * Redis program fetched once. The data lives in a temporary folder; a run that is interrupted stops its server too.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { startLocalPostgres } from '#src/platform/local/postgres.ts';
import { endRunning, findRunning } from '#src/platform/local/processes.ts';
import { startLocalRedis } from '#src/platform/local/redis.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { cacheFolder, codesFolder } from './house/folders.ts';
import { guard } from './house/guarding.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A database of the run's PostgreSQL, to create and drop others from. */
    postgresUrl: string;
    /** Name of the migrated database that is cloned. */
    template: string;
    /** Temporary folder of the run. */
    folder: string;
  }
}

const template = 'migrated';

function urlOf(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}

async function createTemplate(postgresUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  await client.query(`create database ${template}`);
  await client.end();
  await prepareDatabase(urlOf(postgresUrl, template));
}

/** Whatever still runs on the run's folder has been left behind by a test: it is ended, and the run fails. */
async function endForgotten(folder: string): Promise<void> {
  const onFolder = new RegExp(`${folder}/`);
  const left = await findRunning([onFolder]);
  if (left.length === 0) return;
  console.error(`processes were left running on ${folder}: ${left.join(', ')}`);
  process.exitCode = 1;
  await endRunning(
    [onFolder],
    [
      { signal: 'SIGTERM', waitMs: 5_000 },
      { signal: 'SIGKILL', waitMs: 5_000 },
    ],
  );
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'points-engine-test-'));
  const guardian = guard(folder);
  // Every process that the tests start reads some 400 files of TypeScript: 1.3 s of a core, and 0.6 s once they are compiled.
  process.env.NODE_COMPILE_CACHE = join(folder, 'compiled');
  await rm(codesFolder, { recursive: true, force: true });
  await mkdir(codesFolder, { recursive: true });
  // The first of many starts fetches the program; files that start side by side then only find it.
  const probe = await startLocalRedis({
    dataDir: join(folder, 'probe'),
    cacheDir: cacheFolder,
    maxmemoryMb: 16,
  });
  await probe.stop();
  const postgres = await startLocalPostgres({ dataDir: folder, cacheDir: cacheFolder });
  await createTemplate(postgres.url);
  project.provide('postgresUrl', postgres.url);
  project.provide('template', template);
  project.provide('folder', folder);
  return async () => {
    await postgres.stop();
    await endForgotten(folder);
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    guardian.stdin?.end();
  };
}
