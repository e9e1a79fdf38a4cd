/** A short run of the chaos harness with a fixed seed. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';
import { type RunResult, sentences } from '../../loadtest/chaos/report.ts';
import { runChaos } from '../../loadtest/chaos/run.ts';
import { cacheFolder } from './folders.ts';

const seed = 20_261_122;

interface Run {
  readonly seconds: number;
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
