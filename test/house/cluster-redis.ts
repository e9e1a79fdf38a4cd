/**
 * A Redis Cluster as tests use "the Redis", as the user who may do everything: a command on a key goes to the key's master,
 * one about a whole server to every master.
 */
import { Cluster, type Redis } from 'ioredis';
import type { RedisCluster } from '../../loadtest/setup/redis-cluster.ts';
import { withRedis } from '../../loadtest/setup/with-redis.ts';

type Command = (...args: unknown[]) => Promise<unknown>;

/** Commands about whole servers; what the masters answer is put together. */
const onEveryMaster: Readonly<Record<string, (answers: unknown[]) => unknown>> = {
  keys: (answers) => answers.flat(),
  flushall: (answers) => answers[0],
  script: (answers) => answers[0],
  config: (answers) => answers[0],
  client: (answers) => answers.join('\n'),
};

export interface AdminCluster {
  readonly redis: Redis;
  /** Connections of the service's user to any node. */
  serviceClients(): Promise<string[]>;
}

/** `client` is closed by its own `disconnect`. */
export function adminOf(cluster: RedisCluster): AdminCluster {
  const { adminUrl } = cluster.nodes[0]!.server;
  const client = new Cluster(
    cluster.nodes.map(({ announced }) => ({ host: '127.0.0.1', port: announced.port })),
    {
      clusterRetryStrategy: (attempt) => Math.min(attempt * 50, 1_000),
      redisOptions: { password: decodeURIComponent(new URL(adminUrl).password), commandTimeout: 10_000 },
    },
  );
  client.on('error', () => {});

  async function everywhere(name: string, args: unknown[]): Promise<unknown> {
    const masters = await cluster.masters();
    const answers = await Promise.all(
      masters.map(({ node }) =>
        cluster.ask(node, (redis) => (redis as unknown as Record<string, Command>)[name]!(...args)),
      ),
    );
    return onEveryMaster[name]!(answers);
  }

  /** Keys of several slots are deleted one by one. */
  async function del(...names: (string | string[])[]): Promise<number> {
    const deleted = await Promise.all(names.flat().map((name) => client.del(name)));
    return deleted.reduce((sum, one) => sum + one, 0);
  }

  const redis = new Proxy(client, {
    get(of, name) {
      if (name === 'del') return del;
      if (typeof name === 'string' && name in onEveryMaster)
        return (...args: unknown[]) => everywhere(name, args);
      const value: unknown = Reflect.get(of, name);
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
  return {
    redis: redis as unknown as Redis,
    async serviceClients() {
      const lists = await Promise.all(
        cluster.nodes.map(({ server }) =>
          withRedis(server.adminUrl, async (each) => String(await each.client('LIST'))).catch(() => ''),
        ),
      );
      // After a MIGRATE the source keeps its connection to the target for ten seconds, under the name that it logged in with.
      return lists
        .flatMap((list) => list.split('\n'))
        .filter((line) => line.includes(' user=points ') && !line.includes(' cmd=restore-asking '));
    },
  };
}
