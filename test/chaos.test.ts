/**
 * A short run of the chaos harness with a fixed seed: every process of the service, broken again and again under load, and
 * not one acknowledged operation lost, doubled or changed. `CHAOS_SECONDS=600` is the long form; `npm run chaos` has every fault
 * and other seeds.
 */
import { expect, test } from 'vitest';
import { faultsFor } from '../loadtest/chaos/faults/all.ts';
import { chaosRun, lengthOf } from './house/chaos.ts';
import { checkout } from './house/folders.ts';

const length = lengthOf(6);
/** Long ones, and what not every machine can do. */
const tooLong = ['postgres-away', 'rolling-restart', 'redis-full-disk', 'redis-slow-fdatasync'];
test(
  'under faults that destroy no disk nothing that was acknowledged is lost, repeated or changed',
  async () => {
    const chosen = faultsFor(false).filter(({ name, destroys }) => !destroys && !tooLong.includes(name));
    const names = chosen.map(({ name }) => name);
    const { verdict, troubles, runs, said } = await chaosRun('chaos', {
      ...length,
      faults: names,
      root: checkout,
    });
    expect({ findings: verdict.findings, troubles }, said).toEqual({ findings: [], troubles: [] });
    expect(verdict.forfeited, said).toBe(0);
    expect(verdict.acknowledged, said).toBeGreaterThan(100);
    expect(runs.length, said).toBeGreaterThan(3);
  },
  300_000 + 2_000 * length.seconds,
);
