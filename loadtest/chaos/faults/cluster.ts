/**
 * What only a Redis Cluster can suffer: failovers of every kind, wanted and not, and nodes that do not know yet that another
 * one has taken their place. Replication is asynchronous, so all but the clean failover may cost what stood at `journal`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '#src/platform/local/processes.ts';
import type { House } from '../house.ts';
import type { HouseCluster } from '../house-cluster.ts';
import type { RedisNode } from '../house-redis.ts';
import { isStopped } from '../member-process.ts';
import type { Random } from '../random.ts';
import { differing, kill, lastIdsOf, whileBooksAreBehind } from './destroying.ts';
import { type Bite, type Fault, momentary, type Stage, seen } from './fault.ts';

/** The node timeout is two seconds; a vote, and another one where the first was lost, take some more. */
const failoverMsMax = 30_000;

interface Pair {
  readonly cluster: HouseCluster;
  readonly master: RedisNode;
  readonly replica: RedisNode;
}

async function pairOf({ house, random }: Stage): Promise<Pair> {
  const { cluster, masters } = house.redis;
  if (!cluster) throw new Error('there is no cluster in this house');
  const master = random.pick(await masters());
  const [replica] = await cluster.replicasOf(cluster.nodeOf(master));
  if (!replica) throw new Error(`${master.name} has no replica`);
  return { cluster, master, replica };
}

/** Waits until the replica has taken over; heals where it does not. */
async function promoted({ cluster, master, replica }: Pair, heal: () => Promise<void>): Promise<void> {
  const isReplaced = await cluster.replaced(master, failoverMsMax);
  if (!isReplaced) await heal();
  seen(isReplaced, `${replica.name} takes the place of ${master.name}`);
}

/** Asks the replica to take over when it has everything. Redis gives up by itself after five seconds; then it is asked again. */
async function failOver({ cluster, master, replica }: Pair): Promise<void> {
  for (let times = 0; times < 5; times += 1) {
    await cluster.ask(cluster.nodeOf(replica), (redis) => redis.call('CLUSTER', 'FAILOVER'));
    if (await cluster.replaced(master, 6_000)) return;
  }
  seen(false, `${replica.name} takes the place of ${master.name}`);
}

const masterKilled: Fault = {
  name: 'cluster-master-killed',
  does: 'kill -9 of a master until its replica has taken over; it comes back as a replica',
  destroys: true,
  needs: 'a cluster',
  async inject(stage) {
    const pair = await pairOf(stage);
    const { master, replica } = pair;
    const pid = await whileBooksAreBehind(stage.house, stage.random, () => kill(master));
    const heal = () => master.start();
    await promoted(pair, heal);
    const evidence = `${master.name} (${pid}) is gone, ${replica.name} is the master`;
    return { evidence, holdMs: stage.random.whole(0, 3_000), heal };
  },
};

const masterStopped: Fault = {
  name: 'cluster-master-stopped',
  does: 'SIGSTOP of a master until its replica has taken over, then SIGCONT: it still believes that it is the master',
  destroys: true,
  needs: 'a cluster',
  async inject(stage) {
    const pair = await pairOf(stage);
    const { master, replica } = pair;
    const { pid } = master.server;
    const heal = async () => void process.kill(pid, 'SIGCONT');
    process.kill(pid, 'SIGSTOP');
    const stopped = await isStopped(pid);
    if (!stopped) await heal();
    seen(stopped, `${master.name} is stopped`);
    await promoted(pair, heal);
    const evidence = `${master.name} (${pid}) stands still, ${replica.name} is the master`;
    // At once, while nobody knows of the failover yet, or when everybody does.
    return { evidence, holdMs: stage.random.pick([0, 0, 300, 2_000]), heal };
  },
};

const cleanFailover: Fault = {
  name: 'cluster-failover',
  does: 'CLUSTER FAILOVER: a replica takes over when it has everything, so nothing may be lost',
  losesNothing: true,
  needs: 'a cluster',
  async inject(stage) {
    const pair = await pairOf(stage);
    const { replica, master } = pair;
    await failOver(pair);
    return momentary(`${replica.name} is the master instead of ${master.name}`);
  },
};

/** The shards that a node decides for. */
async function shardsOf(house: House, { name }: RedisNode): Promise<number[]> {
  const owners = await house.redis.byShard();
  return [...owners.keys()].filter((shard) => owners[shard]!.name === name);
}

/** The last id of every journal that a node has, also where it is a replica. */
async function lastIds(house: House, node: RedisNode, shards: readonly number[]): Promise<string[]> {
  return house.withRedis(node, async (redis) => {
    await redis.readonly();
    return lastIdsOf(redis, shards);
  });
}

/** A replica that has missed some of what its master did takes over. */
async function takeOver({ house, random }: Stage, pair: Pair): Promise<string> {
  const { cluster, master, replica } = pair;
  const shards = await shardsOf(house, master);
  cluster.cutOffReplicas(master);
  try {
    await delay(random.whole(100, 1_500));
    const [ahead, behind] = await Promise.all([
      lastIds(house, master, shards),
      lastIds(house, replica, shards),
    ]);
    const missed = differing(ahead, behind);
    seen(missed > 0, `${replica.name} is behind`);
    const how = random.pick(['FORCE', 'TAKEOVER']);
    await cluster.ask(cluster.nodeOf(replica), (redis) => redis.call('CLUSTER', 'FAILOVER', how));
    await promoted(pair, async () => cluster.heal());
    return `${how}: ${replica.name} is the master instead of ${master.name}, behind in ${missed} of ${shards.length} shards`;
  } finally {
    cluster.heal();
  }
}

const takeover: Fault = {
  name: 'cluster-takeover',
  does: 'CLUSTER FAILOVER FORCE or TAKEOVER at a replica that is behind, while its master lives',
  destroys: true,
  needs: 'a cluster',
  async inject(stage) {
    const evidence = await takeOver(stage, await pairOf(stage));
    return momentary(evidence);
  },
};

const thereAndBack: Fault = {
  name: 'cluster-there-and-back',
  does: 'a replica that is behind takes over, and the old master, which keeps its scripts, becomes master again at once',
  destroys: true,
  needs: 'a cluster',
  async inject(stage) {
    const pair = await pairOf(stage);
    const { cluster, master, replica } = pair;
    const there = await takeOver(stage, pair);
    await cluster.whole(failoverMsMax);
    await delay(stage.random.whole(0, 1_500));
    await failOver({ cluster, master: replica, replica: master });
    return momentary(`${there}; and back`);
  },
};

async function cutOff(stage: Stage, isServed: boolean): Promise<Bite> {
  const pair = await pairOf(stage);
  const { cluster, master, replica } = pair;
  const heal = async () => cluster.heal();
  cluster.isolate(master, isServed);
  await promoted(pair, heal);
  const evidence = `${master.name} is cut off, ${replica.name} is the master`;
  return { evidence, holdMs: stage.random.whole(0, 3_000), heal };
}

const partition: Fault = {
  name: 'cluster-partition',
  does: 'a master is cut off from all other nodes and from everybody until its replica has taken over',
  destroys: true,
  needs: 'a cluster',
  inject: (stage) => cutOff(stage, false),
};

const minority: Fault = {
  name: 'cluster-minority',
  does: 'a master is cut off from all other nodes until its replica has taken over, but everybody else still reaches it',
  destroys: true,
  needs: 'a cluster',
  inject: (stage) => cutOff(stage, true),
};

/** Waits until every shard that was the master's has begun a new epoch since. */
function recovered(house: House, shards: readonly number[], sinceMs: number): Promise<boolean> {
  return waitUntil(
    () =>
      house.withPostgres(async (client) => {
        const { rows } = await client.query<{ count: number }>(
          'select count(distinct shard)::int as count from epoch where shard = any($1) and opened_at > to_timestamp($2::float8 / 1000)',
          [shards, sinceMs],
        );
        return rows[0]?.count === shards.length;
      }),
    failoverMsMax,
    20,
  );
}

const blindApi: Fault = {
  name: 'cluster-blind-api',
  does: 'a master stands still until its shards are recovered elsewhere; one API, which reaches no other node, sent it calls',
  destroys: true,
  needs: 'a cluster',
  async inject(stage) {
    const { house, random } = stage;
    const pair = await pairOf(stage);
    const { cluster, master, replica } = pair;
    const { pid } = master.server;
    const victim = random.pick(house.of('api'));
    const shards = await shardsOf(house, master);
    const sinceMs = Date.now();
    const wake = async () => {
      process.kill(pid, 'SIGCONT');
      // Its late answers reach the API, which does not know yet.
      await delay(300);
      cluster.heal();
    };
    cluster.blind(victim.name, master);
    process.kill(pid, 'SIGSTOP');
    await promoted(pair, wake);
    const isRecovered = await recovered(house, shards, sinceMs);
    if (!isRecovered) await wake();
    seen(isRecovered, `shards ${shards.join(', ')} are recovered on ${replica.name}`);
    const evidence = `${victim.name} waited for ${master.name} when ${replica.name} already served its ${shards.length} shards`;
    return { evidence, holdMs: 0, heal: wake };
  },
};

const replicaKilled: Fault = {
  name: 'cluster-replica-killed',
  does: 'kill -9 of a replica; it comes back and copies what it has missed',
  needs: 'a cluster',
  async inject(stage) {
    const { replica } = await pairOf(stage);
    const pid = await kill(replica);
    const heal = () => replica.start();
    return { evidence: `${replica.name} (${pid}) is gone`, holdMs: holdOf(stage.random), heal };
  },
};

function holdOf(random: Random): number {
  return random.whole(500, 4_000);
}

export const clusterFaults: readonly Fault[] = [
  masterKilled,
  masterStopped,
  cleanFailover,
  takeover,
  thereAndBack,
  partition,
  minority,
  blindApi,
  replicaKilled,
];
