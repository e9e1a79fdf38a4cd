/** Ports of this machine, and the lock that keeps two starts out of one data folder. */
import { randomInt } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartRefusal } from './processes.ts';
import { readRecord } from './record.ts';

/** Tries to listen; answers the port, or the code of the error. */
function tryPort(port: number, host: string): Promise<number | string> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ port, host, exclusive: true }, () => {
      server.close(() => resolve(port));
    });
  });
}

/**
 * Below the ports that Linux (from 32,768) and macOS (from 49,152) give to outgoing connections: else one of these takes the port before
 * its server listens, or while it is started again.
 */
const listening = { from: 20_000, to: 32_000 };
const triesMax = 50;

/** A port of 127.0.0.1 that nobody listens on: the preferred one when it is free. */
export async function freeLoopbackPort(preferred?: number): Promise<number> {
  const drawn = Array.from({ length: triesMax }, () => randomInt(listening.from, listening.to));
  let answer: number | string = 'none was tried';
  for (const port of preferred === undefined ? drawn : [preferred, ...drawn]) {
    answer = await tryPort(port, '127.0.0.1');
    if (answer === port) return port;
  }
  throw new StartRefusal(`No free port on 127.0.0.1: ${answer}.`);
}

/** Refuses when the API could not listen on its port, naming one that is free. */
export async function assertPortFree(port: number): Promise<void> {
  // Both addresses: macOS lets a listener on all addresses sit beside one on 127.0.0.1.
  const answers = [await tryPort(port, '127.0.0.1'), await tryPort(port, '0.0.0.0')];
  const problem = answers.find((answer) => answer !== port);
  if (problem === undefined) return;
  if (problem === 'EACCES') {
    throw new StartRefusal(
      `Port ${port} may only be used by root: choose one above 1023, e.g. \`PORT=3000 npm start\`.`,
    );
  }
  if (problem !== 'EADDRINUSE') throw new StartRefusal(`Cannot listen on port ${port}: ${problem}.`);
  const free = await nextFreePort(port);
  throw new StartRefusal(`Port ${port} is already in use: choose another, e.g. \`PORT=${free} npm start\`.`);
}

async function nextFreePort(taken: number): Promise<number> {
  for (let port = taken + 1; port <= Math.min(taken + 20, 65_535); port += 1) {
    if ((await tryPort(port, '0.0.0.0')) === port) return port;
  }
  return freeLoopbackPort();
}

export interface FolderLock {
  release(): void;
}

/**
 * Creates the data folder and locks it until `release` or the end of the process. The lock is the kernel's, held on a
 * SQLite file: it dies with its holder, where a file with a process number survives kill -9 and names a stranger later.
 */
export async function lockDataFolder(dataDir: string): Promise<FolderLock> {
  let database: DatabaseSync;
  try {
    await mkdir(dataDir, { recursive: true });
    database = new DatabaseSync(join(dataDir, 'lock'), { timeout: 0 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartRefusal(
      `Cannot write to the data folder ${dataDir} (${reason}): run as the user who owns it, or choose another with ` +
        '`DATA_DIR=folder npm start`.',
    );
  }
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (!(error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy)) {
      throw new StartRefusal(`Cannot lock the data folder ${dataDir}: ${String(error)}.`);
    }
    const holder = await readRecord(join(dataDir, 'supervisor.json'));
    const who =
      typeof holder?.pid === 'number' ? ` (process ${holder.pid}, port ${String(holder.port)})` : '';
    throw new StartRefusal(
      `Another \`npm start\`${who} is using the data folder ${dataDir}: stop it, or start a second copy beside it with ` +
        '`DATA_DIR=.data-2 PORT=3001 npm start`.',
    );
  }
  return { release: () => database.close() };
}

const sqliteBusy = 5;
