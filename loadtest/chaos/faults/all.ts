/** Every fault there is. */
import { clusterFaults } from './cluster.ts';
import { diskFaults } from './disk.ts';
import type { Fault } from './fault.ts';
import { moveFaults } from './moves.ts';
import { networkFaults } from './network.ts';
import { postgresFaults } from './postgres.ts';
import { processFaults } from './processes.ts';
import { redisFaults } from './redis.ts';
import { repeatFaults } from './repeats.ts';
import { staleReplica } from './stale-replica.ts';

export const faults: readonly Fault[] = [
  ...processFaults,
  ...redisFaults,
  staleReplica,
  ...postgresFaults,
  ...networkFaults,
  ...diskFaults,
  ...repeatFaults,
  ...clusterFaults,
  ...moveFaults,
];

/** The faults that a house with one Redis, or with a cluster, can have. */
export function faultsFor(isCluster: boolean): readonly Fault[] {
  return faults.filter(({ needs }) => needs === undefined || (needs === 'a cluster') === isCluster);
}
