/**
 * The PostgreSQL of a bare machine, from npm, with its data in `postgres/` of the data folder.
 *
 * It listens on 127.0.0.1 alone, with a random password that stands in `postgres.json` beside the data (mode 600). A data
 * folder is made beside its place and renamed when it is whole, so a kill during the first start leaves nothing half.
 * What is still running from a start that was killed is stopped first: that server and no other, recognised by the data
 * folder on its command line.
 */
import { randomBytes } from 'node:crypto';
import { chown, lstat, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { type Launching, launchingFor } from './account.ts';
import { type PostgresPrograms, postgresPrograms } from './postgres-programs.ts';
import { type Command, endRunning, run, StartRefusal, type StopStep } from './processes.ts';
import { readRecord, writeRecord } from './record.ts';
import { type LocalOptions, type LocalServer, startServer } from './server.ts';

const userName = 'points';
const databaseName = 'points';

/**
 * Durability is asked for by name, although these are the defaults: the service refuses anything less. 200 connections
 * are two API processes and the workers with their pools, and room for a person to look.
 */
const settings: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  max_connections: '200',
  shared_buffers: '256MB',
  effective_cache_size: '1GB',
  wal_buffers: '16MB',
  min_wal_size: '256MB',
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  random_page_cost: '1.1',
  jit: 'off',
  logging_collector: 'off',
  log_destination: 'stderr',
  log_line_prefix: '%m [%p] ',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

/** SIGINT is the fast shutdown; SIGQUIT skips the checkpoint, which the next start makes up from the log. */
const stopSteps: readonly StopStep[] = [
  { signal: 'SIGINT', waitMs: 30_000 },
  { signal: 'SIGQUIT', waitMs: 10_000 },
  { signal: 'SIGKILL', waitMs: 5_000 },
];

/** Starts it, making the data folder on the first start. */
export async function startLocalPostgres(options: LocalOptions): Promise<LocalServer> {
  const { abort } = options;
  const dataDir = resolve(options.dataDir);
  const folder = join(dataDir, 'postgres');
  const recordPath = join(dataDir, 'postgres.json');
  await mkdir(dataDir, { recursive: true });
  const programs = await postgresPrograms(join(dataDir, 'postgres-libraries'));
  const launching = await launchingFor(dataDir, programs.folder);
  await stopLeftover(folder);

  const record = await readRecord(recordPath);
  const password =
    typeof record?.password === 'string' ? record.password : randomBytes(24).toString('base64url');
  if (await exists(folder)) {
    if (typeof record?.password !== 'string') throw lostPassword(recordPath, folder);
    await checkVersion(folder, programs);
    await giveToOwner(folder, launching);
  } else {
    await writeRecord(recordPath, { password });
    await createFolder(folder, password, programs, launching, abort);
  }

  const urlFor = (port: number): string =>
    `postgres://${userName}:${password}@127.0.0.1:${port}/${databaseName}?sslmode=disable`;
  const { port, running, stop } = await startServer(
    {
      name: 'PostgreSQL',
      logPath: join(dataDir, 'logs', 'postgres.log'),
      preferredPort: typeof record?.port === 'number' ? record.port : undefined,
      command: async (at) => serverCommand(programs, launching, folder, at),
      isReady: (at) => isReady(urlFor(at), recordPath),
      // After a kill it replays at most 2 GB of log before it answers.
      readyMs: 120_000,
      stopSteps,
      transient:
        /Address already in use|could not bind|shared memory block|lock file "postmaster.pid" already exists/,
    },
    abort,
  );
  const url = urlFor(port);
  await writeRecord(recordPath, { url, port, password });
  return { url, port, pid: running.pid!, exited: running.exited, stop };
}

function serverCommand(
  programs: PostgresPrograms,
  launching: Launching,
  folder: string,
  port: number,
): Command {
  const args = ['-D', folder, '-p', String(port)];
  for (const [name, value] of Object.entries(settings)) args.push('-c', `${name}=${value}`);
  return wrapped(launching, programs, programs.postgres, args);
}

function wrapped(launching: Launching, programs: PostgresPrograms, program: string, args: string[]): Command {
  const [file, ...rest] = [...launching.wrapper, program, ...args];
  return { file: file!, args: rest, cwd: '/', env: { LC_ALL: 'C', ...programs.env }, ...launching.account };
}

async function createFolder(
  folder: string,
  password: string,
  programs: PostgresPrograms,
  launching: Launching,
  abort: AbortSignal | undefined,
): Promise<void> {
  const draft = `${folder}.new`;
  const passwordFile = `${folder}.password`;
  // A killed start may have left its initdb at work.
  await endRunning([`-D ${draft}`], [{ signal: 'SIGKILL', waitMs: 5_000 }]);
  await rm(draft, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  await mkdir(draft, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  try {
    if (launching.owner !== undefined) {
      await chown(draft, launching.owner.uid, launching.owner.gid);
      await chown(passwordFile, launching.owner.uid, launching.owner.gid);
    }
    const args = ['-D', draft, '-U', userName, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    args.push('--encoding=UTF8', '--locale=C', '--no-instructions');
    const made = await run(wrapped(launching, programs, programs.initdb, args), 60_000, abort);
    if (made.code !== 0) {
      const text = `${made.stdout}\n${made.stderr}`.trim();
      throw new StartRefusal(
        `The PostgreSQL of npm does not run on this machine (start one yourself and give its DATABASE_URL):\n${text}`,
      );
    }
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(draft, folder);
}

/** Stops the server that a killed start has left running on this folder; removes a lock file that names a stranger. */
async function stopLeftover(folder: string): Promise<void> {
  if (await endRunning([/(^|\/)postgres /, `-D ${folder}`], stopSteps)) return;
  const lockFile = join(folder, 'postmaster.pid');
  const pid = Number((await readFile(lockFile, 'utf8').catch(() => '')).split('\n')[0]);
  // PostgreSQL itself sees through the number of a dead process, but not through one that now is somebody else's.
  if (Number.isSafeInteger(pid) && pid > 1 && isAlive(pid)) await rm(lockFile, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function checkVersion(folder: string, programs: PostgresPrograms): Promise<void> {
  const made = (await readFile(join(folder, 'PG_VERSION'), 'utf8').catch(() => '')).trim();
  const answer = await run({ file: programs.postgres, args: ['--version'], env: programs.env }, 10_000);
  const installed = /\b(\d+)\./.exec(answer.stdout)?.[1];
  if (installed === undefined || made === installed) return;
  throw new StartRefusal(
    `${folder} was made by PostgreSQL ${made || 'of an unknown version'}, installed is ${installed}: move the data with ` +
      'pg_dump, or start with an empty folder (`DATA_DIR=folder npm start`).',
  );
}

/** The folder may have been made under another account, by an ordinary user or before the checkout moved. */
async function giveToOwner(folder: string, { owner }: Launching): Promise<void> {
  if (owner === undefined || (await lstat(folder)).uid === owner.uid) return;
  const changed = await run(
    { file: 'chown', args: ['-R', '-h', `${owner.uid}:${owner.gid}`, folder] },
    300_000,
  );
  if (changed.code !== 0)
    throw new StartRefusal(`Cannot give ${folder} to PostgreSQL's account: ${changed.stderr}`);
}

async function isReady(url: string, recordPath: string): Promise<boolean> {
  const address = new URL(url);
  address.pathname = '/postgres';
  const client = new pg.Client({
    connectionString: address.href,
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const found = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [databaseName]);
    if (found.rowCount === 0) await client.query(`CREATE DATABASE ${databaseName}`);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === '28P01') {
      throw new StartRefusal(
        `PostgreSQL refuses the password in ${recordPath}: put back the file that belongs to its data.`,
      );
    }
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function lostPassword(recordPath: string, folder: string): StartRefusal {
  return new StartRefusal(
    `${recordPath} with the password of the data in ${folder} is missing: put it back, or start with an empty folder ` +
      '(`DATA_DIR=folder npm start`).',
  );
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
