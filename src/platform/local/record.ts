/** Small private files in the data folder: a server's port and password, the processes of a start. */
import { readFile, rename, writeFile } from 'node:fs/promises';

/** What was recorded; undefined when there is no readable record. */
export async function readRecord(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** Replaces a file as a whole, readable by its owner only: a kill leaves the old content or the new, never half. */
export async function writePrivate(path: string, content: string): Promise<void> {
  await writeFile(`${path}.new`, content, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

export async function writeRecord(path: string, record: object): Promise<void> {
  await writePrivate(path, `${JSON.stringify(record, null, 2)}\n`);
}
