import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/order.ts';

/**
 * Three groups: what needs no servers and the engine, then the check that all files together provoked every error code, and at
 * last, with the machine to itself, the guard of the benchmark's ratios.
 * Each file of the engine has servers of its own, so files run side by side, the longest first. Many wait for leases and timers
 * most of the time, so four at once keep two cores busy.
 */
const withoutServers = ['test/**/*.pure.test.ts', 'test/tidy.test.ts'];
const afterAllOthers = ['test/error-codes.test.ts'];
const alone = ['test/bench.guard.test.ts'];
/** With `REDIS_MODE=cluster`: these bring their own servers, or are about one Redis from end to end. */
const notOnCluster =
  process.env.REDIS_MODE === 'cluster'
    ? [
        'chaos',
        'chaos-broken',
        'protocol',
        'recovery',
        'script-flush',
        'eviction',
        'kill',
        'standing',
        'loadtest',
      ].map((name) => `test/${name}.test.ts`)
    : [];

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 4,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'pure', include: withoutServers, sequence: { groupOrder: 0 } } },
      {
        extends: true,
        test: {
          name: 'engine',
          include: ['test/**/*.test.ts'],
          exclude: [...withoutServers, ...afterAllOthers, ...alone, ...notOnCluster],
          globalSetup: 'test/global-setup.ts',
          sequence: { groupOrder: 0 },
        },
      },
      { extends: true, test: { name: 'codes', include: afterAllOthers, sequence: { groupOrder: 1 } } },
      { extends: true, test: { name: 'guard', include: alone, sequence: { groupOrder: 2 } } },
    ],
  },
});
