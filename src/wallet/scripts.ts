/**
 * The wallet scripts as Redis runs them. The text of a script carries its shard and its epoch, so every epoch has scripts
 * of its own: ledger writers load them, everybody else calls them by digest only. A Redis that restarted, was promoted or
 * lost its cache does not know the digest and answers NOSCRIPT, which is the fence (DESIGN §3).
 *
 * While a new version takes the place of an old one, both call scripts of their own in the same epoch. So that either's
 * writer can load both, a script is kept as a template, in which its literals have names: `@{epoch}`.
 */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { fieldNamed, recordFormat } from '#src/journal.ts';
import { shardPrefix } from './keys.ts';
import {
  clockSkewMsMax,
  idempotencyWindowMs,
  lotsMax,
  openHoldsMax,
  rememberedRefusalsMax,
} from './limits.ts';
import { settledPartiesFrom } from './lot-party.ts';
import { linked } from './script-text.ts';

/** The parts that stand in front of a script's own, as far as it names what they define. */
const shared = {
  accrue: ['prelude', 'member', 'due', 'terms', 'run', 'dropping', 'counters', 'weighing', 'limits'],
  spend: ['prelude', 'member', 'due', 'terms', 'run', 'dropping', 'counters'],
  hold: ['prelude', 'member', 'due', 'terms', 'run'],
  settle: ['prelude', 'member', 'due', 'terms', 'run'],
  undo: ['prelude', 'member', 'due', 'terms', 'run', 'dropping', 'counters', 'originals', 'past'],
  redate: ['prelude', 'member', 'due', 'terms', 'run', 'originals'],
  receive: ['prelude', 'member', 'due', 'terms', 'run', 'dropping', 'counters'],
  status: ['prelude', 'member', 'due', 'terms', 'run'],
  correct: ['prelude', 'member', 'due', 'terms', 'run', 'dropping', 'counters'],
  expire: ['prelude', 'member', 'due', 'terms', 'run'],
  balance: ['prelude', 'member', 'due'],
  weigh: ['prelude', 'member', 'due', 'terms', 'run', 'dropping', 'counters', 'weighing'],
  load: ['prelude'],
  lease: ['prelude', 'limits'],
  recall: ['prelude', 'limits'],
  evict: ['prelude'],
  trim: ['prelude'],
} as const;

export type ScriptName = keyof typeof shared;
/** Scripts that move points: they take items and append records. */
export type MovementScript =
  | 'accrue'
  | 'spend'
  | 'hold'
  | 'settle'
  | 'undo'
  | 'redate'
  | 'receive'
  | 'status'
  | 'correct'
  | 'expire';
export const scriptNames = Object.keys(shared) as ScriptName[];

function sourceOf(part: string): string {
  return readFileSync(new URL(`scripts/${part}.lua`, import.meta.url), 'utf8');
}

/** The epoch of a shard: which scripts are valid, and from which epoch on a member in Redis may be trusted. */
export interface ShardEpoch {
  readonly shard: number;
  readonly epoch: number;
  readonly coldBelow: number;
  /** `master_replid` of the Redis that the epoch was opened on; the scripts run on no other data. */
  readonly replicationId: string;
}

/** The literals that differ between shards and epochs. A template names them; a version may name fewer. */
function literalsOf({
  shard,
  epoch,
  coldBelow,
  replicationId,
}: ShardEpoch): Readonly<Record<string, string>> {
  return { prefix: shardPrefix(shard), epoch: String(epoch), coldBelow: String(coldBelow), replicationId };
}

/** The constants that the scripts of this version name and do not define themselves. */
const literals = {
  PREFIX: `'@{prefix}'`,
  JOURNAL: `'@{prefix}journal'`,
  EPOCH: '@{epoch}',
  COLD_BELOW: '@{coldBelow}',
  NEXT_ID: `'@{epoch}-*'`,
  HISTORY: `'master_replid:@{replicationId}'`,
  RECORD: `'${fieldNamed('record')}'`,
  CLOCK_SKEW_MS: String(clockSkewMsMax),
  WINDOW_MS: `'${idempotencyWindowMs}'`,
  LOTS_MAX: String(lotsMax),
  SETTLED_FROM: String(settledPartiesFrom),
  HOLDS_MAX: String(openHoldsMax),
  REFUSALS_MAX: String(rememberedRefusalsMax),
} as const;

/** The scripts of one version of this service, before shard and epoch are put in. */
export interface ScriptVersion {
  /** Digest of the templates. */
  readonly version: string;
  /** Of the records that they append. */
  readonly format: number;
  readonly templates: Readonly<Record<string, string>>;
}

function versionOf(templates: Readonly<Record<string, string>>): ScriptVersion {
  const version = hash('sha256', JSON.stringify(templates), 'hex');
  return { version, format: recordFormat, templates };
}

/** The scripts of this version. */
export const ownScripts: ScriptVersion = versionOf(
  Object.fromEntries(
    scriptNames.map((name) => [name, linked(sourceOf(name), shared[name].map(sourceOf), literals)]),
  ),
);

const placeholder = /@\{(\w*)\}/g;
const knownLiterals = Object.keys(literalsOf({ shard: 0, epoch: 0, coldBelow: 0, replicationId: '' }));

/** Each template cut at its literals: every second piece is the name of one. Searching 140 kB for them takes longer than their digests. */
const cut = new WeakMap<ScriptVersion['templates'], Readonly<Record<string, readonly string[]>>>();

function piecesOf(templates: ScriptVersion['templates']): Readonly<Record<string, readonly string[]>> {
  const known = cut.get(templates);
  if (known) return known;
  const pieces = Object.fromEntries(
    Object.entries(templates).map(([name, template]) => [name, template.split(placeholder)]),
  );
  cut.set(templates, pieces);
  return pieces;
}

/** Literals that the templates of a version name and this version cannot put in: only a newer one can load them. */
export function unknownLiterals({ templates }: Pick<ScriptVersion, 'templates'>): string[] {
  const named = Object.values(piecesOf(templates)).flatMap((pieces) => pieces.filter((_, i) => i % 2 === 1));
  return [...new Set(named)].filter((name) => !knownLiterals.includes(name));
}

export interface Script {
  readonly text: string;
  readonly sha: string;
}

function scriptOf(pieces: readonly string[], values: Readonly<Record<string, string>>): Script {
  const filled = pieces.map((piece, i) => {
    const value = i % 2 === 0 ? piece : values[piece];
    if (value === undefined)
      throw new Error(`a script names the literal ${piece}, which this version does not know`);
    return value;
  });
  const text = filled.join('');
  return { text, sha: hash('sha1', text, 'hex') };
}

/** The text and digest of every script of a shard in an epoch, in the order in which they are loaded. */
export function scriptsOf<Name extends string = ScriptName>(
  shardEpoch: ShardEpoch,
  { templates }: Pick<ScriptVersion, 'templates'> = ownScripts,
): Readonly<Record<Name, Script>> {
  const values = literalsOf(shardEpoch);
  const scripts = Object.entries(piecesOf(templates)).map(([name, pieces]) => [
    name,
    scriptOf(pieces, values),
  ]);
  return Object.fromEntries(scripts) as Record<Name, Script>;
}

/** A version whose scripts Redis cannot compile. */
export interface Uncompiled {
  readonly version: string;
  readonly reason: string;
}

/**
 * Makes a shard's scripts of some versions callable. Only ledger writers call this, on the master that owns the slot. Scripts of
 * another version that Redis cannot compile are no reason to stop here; they are answered.
 */
export async function loadScripts(
  redis: Redis,
  shardEpoch: ShardEpoch,
  versions: readonly ScriptVersion[] = [ownScripts],
): Promise<Uncompiled[]> {
  const pipeline = redis.pipeline();
  const loading = versions.flatMap((version) =>
    Object.values(scriptsOf<string>(shardEpoch, version)).map(({ text }) => ({ version, text })),
  );
  for (const { text } of loading) pipeline.script('LOAD', text);
  const uncompiled: Uncompiled[] = [];
  for (const [i, [error]] of ((await pipeline.exec()) ?? []).entries()) {
    if (!error) continue;
    const { version } = loading[i]!;
    if (version === ownScripts || !/compiling script/i.test(error.message)) throw error;
    uncompiled.push({ version: version.version, reason: error.message });
  }
  return uncompiled;
}

/** The digests of a version's scripts in a shard's epoch. */
export function digestsIn(shardEpoch: ShardEpoch, version: ScriptVersion): string[] {
  return Object.values(scriptsOf<string>(shardEpoch, version)).map(({ sha }) => sha);
}

/** Of these versions, those all of whose scripts Redis knows: whoever loaded them may have died in between. */
export async function loadedVersions(
  redis: Redis,
  shardEpoch: ShardEpoch,
  versions: readonly ScriptVersion[],
): Promise<ScriptVersion[]> {
  const shas = versions.map((version) => digestsIn(shardEpoch, version));
  const exist = (await redis.script('EXISTS', ...shas.flat())) as number[];
  const present = new Set(shas.flat().filter((_, i) => exist[i] === 1));
  return versions.filter((_, i) => shas[i]!.every((sha) => present.has(sha)));
}
