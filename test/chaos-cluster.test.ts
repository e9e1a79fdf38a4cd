/**
 * The chaos harness against a Redis Cluster, with a fixed seed: masters are lost, replaced and come back, shards move.
 * `CHAOS_SECONDS=600` is the long form.
 */
import { expect, test } from 'vitest';
import { chaosRun, lengthOf } from './house/chaos.ts';
import { checkout } from './house/folders.ts';

const length = lengthOf(3);
const faults = [
  'cluster-master-killed',
  'cluster-master-stopped',
  'cluster-failover',
  'cluster-takeover',
  'cluster-minority',
  'cluster-shard-moved',
];

test(
  'failovers of a cluster lose nothing but what recovery names at `journal`, and repeat nothing',
  async () => {
    const { verdict, troubles, runs, said } = await chaosRun('chaos-cluster', {
      ...length,
      faults,
      root: checkout,
      isCluster: true,
    });
    expect({ findings: verdict.findings, troubles }, said).toEqual({ findings: [], troubles: [] });
    expect(verdict.acknowledged, said).toBeGreaterThan(100);
    expect(runs.length, said).toBeGreaterThan(1);
  },
  300_000 + 2_000 * length.seconds,
);
