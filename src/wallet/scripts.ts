/**
 * The wallet scripts as Redis runs them. The text of a script carries its shard and its epoch, so every epoch has scripts
 * of its own: recovery loads them, everybody else calls them by digest only. A Redis that restarted, was promoted or lost
 * its cache does not know the digest and answers NOSCRIPT, which is the fence (DESIGN §3).
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { shardPrefix } from './keys.ts';
import {
  clockSkewMsMax,
  idempotencyWindowMs,
  lotsMax,
  openHoldsMax,
  rememberedRefusalsMax,
} from './limits.ts';

const wallet = ['prelude', 'member', 'run'] as const;
const parts = {
  accrue: [...wallet, 'accrue'],
  spend: [...wallet, 'spend'],
  hold: [...wallet, 'hold'],
  settle: [...wallet, 'settle'],
  undo: [...wallet, 'undo'],
  receive: [...wallet, 'receive'],
  status: [...wallet, 'status'],
  correct: [...wallet, 'correct'],
  expire: [...wallet, 'expire'],
  balance: ['prelude', 'member', 'balance'],
  load: ['prelude', 'load'],
  evict: ['prelude', 'evict'],
  trim: ['prelude', 'trim'],
} as const;

export type ScriptName = keyof typeof parts;
/** Scripts that move points: they take items and append records. */
export type MovementScript =
  | 'accrue'
  | 'spend'
  | 'hold'
  | 'settle'
  | 'undo'
  | 'receive'
  | 'status'
  | 'correct'
  | 'expire';
export const scriptNames = Object.keys(parts) as ScriptName[];

const sources = new Map<string, string>();
for (const name of new Set(Object.values(parts).flat())) {
  // Comments and indentation are for readers; Redis keeps 16 copies of each text.
  const source = readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8');
  sources.set(name, source.replace(/^\s*--.*\n/gm, '').replace(/^\s+/gm, ''));
}

/** The epoch of a shard: which scripts are valid, and from which epoch on a member in Redis may be trusted. */
export interface ShardEpoch {
  readonly shard: number;
  readonly epoch: number;
  readonly coldBelow: number;
  /** `master_replid` of the Redis that the epoch was opened on; the scripts run on no other data. */
  readonly replicationId: string;
}

export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** The text and digest of every script of a shard in an epoch. */
export function scriptsOf({
  shard,
  epoch,
  coldBelow,
  replicationId,
}: ShardEpoch): Readonly<Record<ScriptName, Script>> {
  const literals =
    `local PREFIX,EPOCH,COLD_BELOW,NEXT_ID='${shardPrefix(shard)}',${epoch},${coldBelow},'${epoch}-*'\n` +
    `local HISTORY='master_replid:${replicationId}'\n` +
    `local CLOCK_SKEW_MS,WINDOW_MS,LOTS_MAX,HOLDS_MAX,REFUSALS_MAX=` +
    `${clockSkewMsMax},'${idempotencyWindowMs}',${lotsMax},${openHoldsMax},${rememberedRefusalsMax}\n`;
  const scripts = {} as Record<ScriptName, Script>;
  for (const name of scriptNames) {
    const text = literals + parts[name].map((part) => sources.get(part)).join('');
    scripts[name] = { text, sha: createHash('sha1').update(text).digest('hex') };
  }
  return scripts;
}

/** Makes a shard's scripts callable. Only recovery calls this, on the master that owns the slot. */
export async function loadScripts(redis: Redis, shardEpoch: ShardEpoch): Promise<void> {
  const pipeline = redis.pipeline();
  for (const { text } of Object.values(scriptsOf(shardEpoch))) pipeline.script('LOAD', text);
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
}
