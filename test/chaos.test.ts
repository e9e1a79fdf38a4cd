/**
 * A short run of the chaos harness with a fixed seed: every process of the service, broken again and again under load, and
 * not one acknowledged operation lost, doubled or changed. `npm run chaos` runs longer and with every fault.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { brokenBuilds, buildBroken } from '../loadtest/chaos/broken.ts';
import { faults } from '../loadtest/chaos/faults/all.ts';
import { type RunResult, sentences } from '../loadtest/chaos/report.ts';
import { runChaos } from '../loadtest/chaos/run.ts';
import { cacheFolder, checkout } from './house/folders.ts';

/** Long ones, and what not every machine can do. */
const tooLong = ['postgres-away', 'rolling-restart', 'redis-full-disk', 'redis-slow-fdatasync'];
const seed = 20_261_122;

interface Run {
  readonly seconds: number;
  readonly faults: readonly string[];
  readonly root: string;
}

/** A run with data of its own; answers the result and everything that it said. */
async function run(name: string, options: Run): Promise<RunResult & { readonly said: string }> {
  const folder = join(inject('folder'), name);
  await mkdir(folder, { recursive: true });
  const said: string[] = [];
  const result = await runChaos({
    ...options,
    seed,
    callers: 8,
    folder,
    cacheDir: cacheFolder,
    isCluster: false,
    abort: new AbortController().signal,
    print: (text) => said.push(text),
  });
  return { ...result, said: [...said, ...sentences(result)].join('\n') };
}

test('under faults that destroy no disk nothing that was acknowledged is lost, repeated or changed', async () => {
  const chosen = faults.filter(({ name, destroys }) => !destroys && !tooLong.includes(name));
  const names = chosen.map(({ name }) => name);
  const { verdict, troubles, runs, said } = await run('chaos', {
    seconds: 40,
    faults: names,
    root: checkout,
  });
  expect({ findings: verdict.findings, troubles }, said).toEqual({ findings: [], troubles: [] });
  expect(verdict.forfeited, said).toBe(0);
  expect(verdict.acknowledged, said).toBeGreaterThan(100);
  expect(runs.length, said).toBeGreaterThan(3);
}, 300_000);

test.each(['append', 'position', 'fence', 'refundCap', 'waiter'])(
  'a build without its guard is caught: %s',
  async (name) => {
    const broken = brokenBuilds.find((each) => each.name === name)!;
    const root = await buildBroken(broken, checkout, join(inject('folder'), `broken-${name}`));
    const { verdict, said } = await run(`chaos-${name}`, {
      seconds: broken.seconds,
      faults: broken.faults,
      root,
    });
    expect(verdict.findings.length, said).toBeGreaterThan(0);
  },
  300_000,
);
