/**
 * Where the identity key comes from: the setting IDENTITY_KEY, or on a bare machine a file in the data folder that the
 * first process creates. The file belongs into the backup: without it no identifier in the database can be found again.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '#src/config.ts';
import { identityKeyBytes } from './identity.ts';

function keyOf(base64: string, source: string): Buffer {
  const key = Buffer.from(base64.trim(), 'base64');
  if (key.length !== identityKeyBytes) {
    throw new Error(
      `${source} is not the base64 of ${identityKeyBytes} bytes; make one with: openssl rand -base64 32`,
    );
  }
  return key;
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Creates the file whole or not at all, also when API and workers start at the same moment: link() never overwrites. */
async function createOnce(path: string): Promise<void> {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(draft, `${randomBytes(identityKeyBytes).toString('base64')}\n`, {
    mode: 0o600,
    flag: 'wx',
    flush: true,
  });
  try {
    await link(draft, path);
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  } finally {
    await unlink(draft);
  }
}

/** The installation's identity key. Throws with one clear sentence when it is not usable. */
export async function loadIdentityKey(config: Pick<Config, 'identityKey' | 'dataDir'>): Promise<Buffer> {
  if (config.identityKey !== undefined) return keyOf(config.identityKey, 'IDENTITY_KEY');
  const path = join(config.dataDir, 'identity.key');
  try {
    return keyOf(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
  await mkdir(config.dataDir, { recursive: true });
  await createOnce(path);
  return keyOf(await readFile(path, 'utf8'), path);
}
