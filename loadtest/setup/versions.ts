/** Puts an installation's only program under another file, so that loads are compared on one installation. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ProgramFile } from '#src/earning/file/schema.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { applyVersion } from '#src/earning/versions.ts';
import { createPool } from '#src/platform/postgres.ts';

/** A version begins a second after it was applied, and processes know it by then. */
const inForceMs = 2_000;

export interface Versions extends AsyncDisposable {
  /** Resolves when the file's version judges. */
  apply(file: ProgramFile): Promise<void>;
}

export function openVersions(databaseUrl: string, abort: AbortSignal): Versions {
  const pool = createPool(databaseUrl, 1);
  return {
    async apply(file) {
      const program = (await loadPrograms(pool)).all()[0]!;
      const applied = await applyVersion(pool, program, {
        file,
        source: JSON.stringify(file),
        actor: 'bench',
      });
      if (applied.status === 'refused') throw new Error('the program of the benchmark was refused');
      await delay(inForceMs, undefined, { signal: abort });
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}
