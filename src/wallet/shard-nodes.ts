/** Where the shards are: the servers that hold them, found by the hash tag in the keys of each. */
import { openNodes, type RedisNodes } from '#src/platform/redis-nodes.ts';
import { slotOfTag } from '#src/platform/redis-topology.ts';
import { shardTag } from './keys.ts';

/** The slot of Redis Cluster in which all keys of a shard lie. */
export function slotOfShard(shard: number): number {
  return slotOfTag(shardTag(shard));
}

/** Opens connections to the Redis, or to the masters of the Redis Cluster, that hold the shards. */
export function openShardNodes(
  redisUrl: string,
  shardCount: number,
  options: { readonly commandTimeoutMs?: number; readonly watchesIdentity?: boolean } = {},
): Promise<RedisNodes> {
  return openNodes({ redisUrl, shardCount, slotOf: slotOfShard, ...options });
}
