/** A PostgreSQL that came back as an older copy of itself. */
import { chmod, cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Stores } from './stores.ts';

let copies = 0;

function folderOf(stores: Stores): string {
  return join(stores.folder, 'postgres');
}

async function stopped(
  stores: Stores,
  signal: 'SIGINT' | 'SIGKILL',
  work: () => Promise<void>,
): Promise<void> {
  process.kill(stores.postgresPid(), signal);
  await stores.startPostgresAgain(work);
}

/** Stops PostgreSQL, copies its folder and starts it again: a backup. Answers where the copy is. */
export async function backUp(stores: Stores): Promise<string> {
  copies += 1;
  const copy = join(stores.folder, `backup-${copies}`);
  await stopped(stores, 'SIGINT', () => cp(folderOf(stores), copy, { recursive: true }));
  return copy;
}

/** Kills PostgreSQL and starts it on an older copy of its folder. */
export function putBackPostgres(stores: Stores, copy: string): Promise<void> {
  return stopped(stores, 'SIGKILL', async () => {
    await rm(folderOf(stores), { recursive: true });
    await cp(copy, folderOf(stores), { recursive: true });
    await chmod(folderOf(stores), 0o700);
  });
}
