/** Where load tests run: the checkout, the programs that had to be fetched, and a folder for the data and logs of one run. */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { logTail } from '#src/platform/local/processes.ts';

export const checkout = fileURLToPath(new URL('../', import.meta.url)).replace(/\/$/, '');
export const cacheDir = join(checkout, 'node_modules/.cache/points-engine');

/** On the disk of the checkout: the folder for temporary files may be memory, where durability costs nothing. */
export async function makeRunFolder(name: string): Promise<string> {
  const parent = join(checkout, '.data');
  await mkdir(parent, { recursive: true });
  return mkdtemp(join(parent, `${name}-`));
}

/** The ends of the logs in it, for a run that failed. */
export async function logTails(folder: string): Promise<string[]> {
  const logs = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.log'));
  const tails = await Promise.all(
    logs.map(async (name) => [name, (await logTail(join(folder, name))).split('\n').slice(-5).join('\n')]),
  );
  return tails.flatMap(([name, tail]) => (tail === '' ? [] : [`The end of ${name}:\n${tail}`]));
}

/** Tries again for some seconds: a process that is about to end may still write into it. */
export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}
