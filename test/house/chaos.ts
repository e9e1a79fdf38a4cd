/** A short run of the chaos harness with a fixed seed. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';
import { type RunResult, sentences } from '../../loadtest/chaos/report.ts';
import { runChaos } from '../../loadtest/chaos/run.ts';
import { cacheFolder } from './folders.ts';

const seed = 20_261_122;

/** How long a run breaks things: until so many faults have bitten, or for CHAOS_SECONDS. */
export function lengthOf(faultsMax: number): { readonly seconds: number; readonly faultsMax: number } {
  const seconds = process.env.CHAOS_SECONDS;
  return seconds === undefined
    ? { seconds: 90, faultsMax }
    : { seconds: Number(seconds), faultsMax: Infinity };
}

interface Run {
  readonly seconds: number;
  readonly faultsMax?: number;
  readonly faults: readonly string[];
  readonly root: string;
  readonly isCluster?: boolean;
  readonly callers?: number;
}

/** A run with data of its own; answers the result and everything that it said. */
export async function chaosRun(name: string, options: Run): Promise<RunResult & { readonly said: string }> {
  const folder = join(inject('folder'), name);
  await mkdir(folder, { recursive: true });
  const said: string[] = [];
  const result = await runChaos({
    isCluster: false,
    callers: 8,
    ...options,
    seed,
    folder,
    cacheDir: cacheFolder,
    abort: new AbortController().signal,
    print: (text) => said.push(text),
  });
  return { ...result, said: [...said, ...sentences(result)].join('\n') };
}
