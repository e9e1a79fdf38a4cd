/**
 * Every Redis key name. All keys of a shard share one hash tag, so each script touches one slot and the same code runs
 * on one Redis and on Redis Cluster. The scripts build the same names from `prefix`, the only literal they get.
 */
import type { MemberNumber, OperationHex } from '#src/values.ts';

/** `s07`, what decides in which slot of a cluster a shard's keys lie. */
export function shardTag(shard: number): string {
  return `s${String(shard).padStart(2, '0')}`;
}

/** `{s07}:`, the first part of every key of a shard. */
export function shardPrefix(shard: number): string {
  return `{${shardTag(shard)}}:`;
}

export const keys = {
  /** Stream of journal records; its existence and last id are the fence. */
  journal: (shard: number) => `${shardPrefix(shard)}journal`,
  /** Hash: the installation that the shard belongs to, and the epoch that was opened last with its `coldBelow`. */
  opened: (shard: number) => `${shardPrefix(shard)}opened`,
  /** State of a hot member (msgpack, see `scripts/member.lua`). */
  member: (shard: number, member: MemberNumber) => `${shardPrefix(shard)}m:${member}`,
  /** What is left to refund or reverse of an operation. */
  operation: (shard: number, operation: OperationHex) => `${shardPrefix(shard)}o:${operation}`,
  /** What the shard may still give from a budget: leases (msgpack, see `scripts/limits.lua`). */
  budget: (shard: number, program: number, budget: number) => `${shardPrefix(shard)}b:${program}.${budget}`,
  /** Idempotency entry of a reference; lives twenty minutes. */
  idempotency: (shard: number, referenceKey: string) => `${shardPrefix(shard)}i:${referenceKey}`,
  /** Highest last-record sequence of any member evicted in this epoch, as `<epoch>-<seq>`. */
  evictedThrough: (shard: number) => `${shardPrefix(shard)}evictedThrough`,
  /** Points that a key has moved on a day of its program; in one slot of its own, because a key acts in every shard. */
  dailyPoints: (keyId: string, day: string) => `{${keyId}}:points:${day}`,
  /** A key of a shard by what scripts are given of its name: `m:7`, `o:<operation>`. */
  ofSuffix: (shard: number, suffix: string) => `${shardPrefix(shard)}${suffix}`,
  /** Match of all hot members of a shard, for SCAN. */
  memberPattern: (shard: number) => `${shardPrefix(shard)}m:*`,
} as const;

/** Match of every hot member and operation state of all shards, for SCAN. */
export const statePattern = '{s*}:[mo]:*';

/** The shard in a key's hash tag. */
export function shardOfKey(key: string): number {
  return Number(key.slice(2, key.indexOf('}')));
}

/** Channel on which writers announce how far the books reach; the message is `[[shard, epoch, seq], …]`. */
export const writtenChannel = 'loyalty:written';
/** Channel on which a changed configuration (keys, programs, epochs) is announced; the message is the table's name. */
export const changedChannel = 'loyalty:changed';
