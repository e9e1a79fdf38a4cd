/**
 * As whom the servers run.
 *
 * An ordinary user: as that user. Root in a data folder that belongs to somebody: everything as that somebody, so that
 * both can go on using it. Root in a folder of its own: as root, except PostgreSQL, which refuses that and runs as an
 * account without rights (`postgres` or `nobody`), which then owns `postgres/` in the data folder. That account must be
 * able to enter the data folder and the folder of the PostgreSQL programs. Below /root (mode 700) it cannot, and nobody
 * should open /root for it: there PostgreSQL runs in a user namespace, in which root's own number looks like that of the
 * account. Its files stay root's, and nothing of the system changes.
 */
import { chmod, readFile, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { run, StartRefusal } from './processes.ts';

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** How to start PostgreSQL's programs: all fields empty unless we are root. */
export interface Launching {
  /** Program and arguments to put before the command. */
  readonly wrapper: readonly string[];
  /** The account to change to. */
  readonly account?: { readonly uid: number; readonly gid: number };
  /** Who has to own PostgreSQL's files. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** As root with a data folder of somebody who can also enter the checkout: gives up root for that account, for good. */
export async function becomeOwnerOf(dataDir: string, checkout: string): Promise<void> {
  if (!isRoot()) return;
  const { uid } = (await stat(dataDir).catch(() => undefined)) ?? { uid: 0 };
  const account = (await knownAccounts()).find((known) => known.uid === uid);
  if (uid === 0 || account === undefined) return;
  if ((await firstClosedFolder(account, [dataDir, checkout])) !== undefined) return;
  process.setgroups?.([account.gid]);
  process.setgid?.(account.gid);
  process.setuid?.(account.uid);
}

/** How to start PostgreSQL's programs so that they can enter the data folder and their own. */
export async function launchingFor(dataDir: string, programs: string): Promise<Launching> {
  if (!isRoot()) return { wrapper: [] };
  const account = await unprivilegedAccount();
  const closed = await firstClosedFolder(account, [dataDir, programs]);
  if (closed === undefined) return { wrapper: [], account, owner: account };
  const wrapper = ['--user', `--map-user=${account.uid}`, `--map-group=${account.gid}`, '--'];
  const probe = await run({ file: 'unshare', args: [...wrapper, 'id', '-u'] }, 5_000);
  if (probe.stdout.trim() === String(account.uid))
    return { wrapper: ['unshare', ...wrapper], owner: { uid: 0, gid: 0 } };
  // A container without user namespaces. What stands in the data folder has modes of its own: it may be walked through.
  if (closed === (await realpath(dataDir))) {
    await chmod(closed, 0o711);
    return launchingFor(dataDir, programs);
  }
  throw new StartRefusal(
    `PostgreSQL refuses to run as root, and the account ${account.name} may not enter ${closed}: run as an ordinary ` +
      'user, or keep the checkout and the data elsewhere (the data: `DATA_DIR=/var/lib/points-engine npm start`), or give ' +
      'a DATABASE_URL.',
  );
}

async function knownAccounts(): Promise<Account[]> {
  const lines = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n');
  return lines.flatMap((line) => {
    const [name = '', , uid, gid] = line.split(':');
    return uid === undefined || gid === undefined ? [] : [{ name, uid: Number(uid), gid: Number(gid) }];
  });
}

async function unprivilegedAccount(): Promise<Account> {
  const known = await knownAccounts();
  const found = known.find(({ name }) => name === 'postgres') ?? known.find(({ name }) => name === 'nobody');
  // macOS writes the number of nobody as -2, which cannot be changed to.
  if (found !== undefined && found.uid > 0) return found;
  throw new StartRefusal(
    'PostgreSQL refuses to run as root and this machine has neither an account `postgres` nor `nobody`: run as an ' +
      'ordinary user, or give a DATABASE_URL.',
  );
}

async function firstClosedFolder(account: Account, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    for (let path = await realpath(folder); ; path = dirname(path)) {
      const { mode, uid, gid } = await stat(path);
      const search = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
      if ((mode & search) === 0) return path;
      if (path === dirname(path)) break;
    }
  }
  return undefined;
}
