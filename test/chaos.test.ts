/**
 * A short run of the chaos harness with a fixed seed: every process of the service, broken again and again under load, and
 * not one acknowledged operation lost, doubled or changed. `npm run chaos` runs longer and with every fault.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { faults } from '../loadtest/chaos/faults/all.ts';
import { sentences } from '../loadtest/chaos/report.ts';
import { runChaos } from '../loadtest/chaos/run.ts';
import { cacheFolder, checkout } from './house/folders.ts';

/** Long ones, and what not every machine can do. */
const tooLong = ['postgres-away', 'rolling-restart', 'redis-full-disk', 'redis-slow-fdatasync'];
const seconds = 40;

test('under faults that destroy no disk nothing that was acknowledged is lost, repeated or changed', async () => {
  const folder = join(inject('folder'), 'chaos');
  await mkdir(folder, { recursive: true });
  const said: string[] = [];
  const chosen = faults.filter(({ name, destroys }) => !destroys && !tooLong.includes(name));
  const result = await runChaos({
    seconds,
    seed: 20_261_122,
    faults: chosen.map(({ name }) => name),
    callers: 8,
    folder,
    cacheDir: cacheFolder,
    root: checkout,
    abort: new AbortController().signal,
    print: (text) => said.push(text),
  });
  const all = [...said, ...sentences(result)].join('\n');
  expect({ findings: result.verdict.findings, troubles: result.troubles }, all).toEqual({
    findings: [],
    troubles: [],
  });
  expect(result.verdict.forfeited, all).toBe(0);
  expect(result.verdict.acknowledged, all).toBeGreaterThan(100);
  expect(result.runs.length, all).toBeGreaterThan(3);
}, 300_000);
