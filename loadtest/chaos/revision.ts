/** Trees of the service beside the one that the harness runs from: an earlier revision, and what it does to a database. */
import { access, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageFault } from '#src/platform/command.ts';
import { run } from '#src/platform/local/processes.ts';

const exportMs = 60_000;
const migrateMs = 120_000;
/** Since this file is there, versions know of each other. */
const since = 'src/wallet/script-versions.ts';

async function mustRun(file: string, args: readonly string[]): Promise<string> {
  const ended = await run({ file, args }, exportMs);
  if (ended.code !== 0) throw new UsageFault(`${file} ${args.join(' ')}: ${ended.stderr.trim()}`);
  return ended.stdout.trim();
}

interface Revision {
  readonly commit: string;
  readonly root: string;
}

/** Puts the tree of a revision into a folder, with this checkout's packages. */
export async function exportRevision(name: string, checkout: string, folder: string): Promise<Revision> {
  const commit = await mustRun('git', ['-C', checkout, 'rev-parse', '--verify', `${name}^{commit}`]);
  await mkdir(folder, { recursive: true });
  const archive = join(folder, 'tree.tar');
  await mustRun('git', ['-C', checkout, 'archive', `--output=${archive}`, commit]);
  const root = join(folder, 'tree');
  await mkdir(root);
  await mustRun('tar', ['-xf', archive, '-C', root]);
  await access(join(root, since)).catch(() => {
    throw new UsageFault(
      `${name} (${commit.slice(0, 12)}) is from before versions knew of each other, so it cannot run beside this one`,
    );
  });
  await symlink(join(checkout, 'node_modules'), join(root, 'node_modules'));
  return { commit, root };
}

/** Brings a database to the schema of a tree, by that tree's own command. */
export async function migrateBy(root: string, databaseUrl: string, dataDir: string): Promise<void> {
  // The command reads the settings of a process; it does not connect to Redis.
  const env = { DATABASE_URL: databaseUrl, REDIS_URL: 'redis://127.0.0.1', DATA_DIR: dataDir };
  const args = [join(root, 'src/platform/migrate-command.ts')];
  const ended = await run({ file: process.execPath, args, cwd: root, env }, migrateMs);
  if (ended.code !== 0) throw new Error(`the schema of ${root} is not there: ${ended.stderr}`);
}
