/**
 * The real code with a guard left out: a copy of `src/` in a temporary folder in which a few places of the source text are
 * changed. Nothing in the service itself can switch a guard off. A place that is not found exactly once fails the test,
 * so a guard that was rewritten cannot silently stay in.
 */
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkout } from '../house/folders.ts';
import type { Edit } from './guards.ts';

/** The modules that a replay is made of. */
export interface Variant {
  readonly scripts: typeof import('#src/wallet/scripts.ts');
  readonly wallet: typeof import('#src/wallet/wallet.ts');
  readonly load: typeof import('#src/wallet/load.ts');
  readonly epochs: typeof import('#src/wallet/epochs.ts');
  readonly written: typeof import('#src/wallet/written.ts');
  readonly keys: typeof import('#src/wallet/keys.ts');
  readonly writer: typeof import('#src/ledger/writer.ts');
  readonly recovery: typeof import('#src/ledger/recovery.ts');
  readonly lease: typeof import('#src/ledger/lease.ts');
  readonly trim: typeof import('#src/ledger/trim.ts');
}

async function edit(folder: string, { file, find, put }: Edit): Promise<void> {
  const path = join(folder, file);
  const pieces = (await readFile(path, 'utf8')).split(find);
  if (pieces.length !== 2) throw new Error(`${file} has ${pieces.length - 1} times: ${find}`);
  await writeFile(path, pieces.join(put));
}

/** Copies the source into an empty folder, changes it and loads it. */
export async function loadVariant(folder: string, edits: readonly Edit[]): Promise<Variant> {
  await cp(join(checkout, 'src'), join(folder, 'src'), { recursive: true });
  await cp(join(checkout, 'package.json'), join(folder, 'package.json'));
  await symlink(join(checkout, 'node_modules'), join(folder, 'node_modules'));
  for (const each of edits) await edit(folder, each);
  const load = (path: string): Promise<unknown> =>
    import(/* @vite-ignore */ pathToFileURL(join(folder, 'src', path)).href);
  const modules = {
    scripts: await load('wallet/scripts.ts'),
    wallet: await load('wallet/wallet.ts'),
    load: await load('wallet/load.ts'),
    epochs: await load('wallet/epochs.ts'),
    written: await load('wallet/written.ts'),
    keys: await load('wallet/keys.ts'),
    writer: await load('ledger/writer.ts'),
    recovery: await load('ledger/recovery.ts'),
    lease: await load('ledger/lease.ts'),
    trim: await load('ledger/trim.ts'),
  };
  return modules as Variant;
}
