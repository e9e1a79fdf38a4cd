/**
 * A short run of the chaos harness with a fixed seed: every process of the service, broken again and again under load, and
 * not one acknowledged operation lost, doubled or changed. `npm run chaos` runs longer and with every fault.
 */
import { expect, test } from 'vitest';
import { faultsFor } from '../loadtest/chaos/faults/all.ts';
import { chaosRun } from './house/chaos.ts';
import { checkout } from './house/folders.ts';

/** Long ones, and what not every machine can do. */
const tooLong = ['postgres-away', 'rolling-restart', 'redis-full-disk', 'redis-slow-fdatasync'];
test('under faults that destroy no disk nothing that was acknowledged is lost, repeated or changed', async () => {
  const chosen = faultsFor(false).filter(({ name, destroys }) => !destroys && !tooLong.includes(name));
  const names = chosen.map(({ name }) => name);
  const { verdict, troubles, runs, said } = await chaosRun('chaos', {
    seconds: 40,
    faults: names,
    root: checkout,
  });
  expect({ findings: verdict.findings, troubles }, said).toEqual({ findings: [], troubles: [] });
  expect(verdict.forfeited, said).toBe(0);
  expect(verdict.acknowledged, said).toBeGreaterThan(100);
  expect(runs.length, said).toBeGreaterThan(3);
}, 300_000);
