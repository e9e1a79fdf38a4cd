/**
 * The guards of the protocol: how each is left out of the real code (a change of its source text, which must fit exactly
 * once), and the smallest bounds within which the search finds what goes wrong without it.
 */
import type { Guard, Protocol } from './protocol.ts';
import type { Fault } from './search.ts';
import { type Bounds, unused } from './state.ts';

/** A change of a source file; `find` must stand in it exactly once. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

export interface GuardCase {
  readonly guard: Guard;
  readonly bounds: Partial<Bounds>;
  readonly kind: Fault['kind'];
  /** Only faults that say this count, where the bounds contain the open hole. */
  readonly says?: string;
  readonly edits: readonly Edit[];
}

const nothing: Bounds = { ...unused, operations: 0, trims: 0 };

export function boundsOf(bounds: Partial<Bounds>): Bounds {
  return { ...nothing, ...bounds };
}

const writer = 'src/ledger/writer.ts';
const recovery = 'src/ledger/recovery.ts';
const fence = 'src/ledger/fence.ts';
const lineage = 'src/ledger/lineage.ts';
const lua = (name: string) => `src/wallet/scripts/${name}.lua`;

const newestEpochOfJournal =
  "tonumber(string.match((redis.call('XREVRANGE', JOURNAL, '+', '-', 'COUNT', 1)[1] or { '0-0' })[1], '^(%d+)-'))";

const leaseAtCommit = {
  file: recovery,
  find: 'p.shard = $1 and l.owner = $2 and l.term = $3 and p.epoch = $4 and p.seq = $5 for update of p',
  put: 'p.shard = $1 and $2::text <> $3::text || $4::text || $5::text for update of p',
};
const withoutHistory = {
  file: lua('prelude'),
  find: "return not string.find(redis.call('INFO', 'replication'), HISTORY, 1, true)",
  put: 'return false',
};
const reserving =
  'update lease set term = greatest(term, $4::bigint) + 2 where shard = $1 and owner = $2 and term = $3 returning term';

/** Whether a fault is one that a guard's absence is to show. */
export function countsFor({ kind, says = '' }: Pick<GuardCase, 'kind' | 'says'>): (fault: Fault) => boolean {
  return (fault) => fault.kind === kind && fault.text.includes(says);
}

export const guardCases: readonly GuardCase[] = [
  {
    guard: 'position check',
    bounds: { operations: 1, loads: 1, copies: 1, returns: 1 },
    kind: 'operations',
    edits: [
      {
        file: writer,
        find: `      \`\${epoch}-\${seq}\`,\n`,
        put: `      \`(\${epoch}-\${seq}\`,\n`,
      },
      {
        file: writer,
        find: '  const first = entries[0];\n  if (!first) throw',
        put: '  entries = [["", []], ...entries];\n  const first = undefined;\n  if (first) throw',
      },
      {
        file: writer,
        find: '  const witness = readEntry(first[0], first[1]).record;\n  if (witness.epoch !== epoch || witness.seq !== seq)',
        put: '  const witness = { kind: "opened" };\n  if (first)',
      },
      { file: writer, find: 'if (operation !== progress.operation)', put: 'if (first)' },
      { file: lineage, find: "if (epoch === 0) return 'same';", put: "if (epoch >= 0) return 'same';" },
    ],
  },
  {
    guard: 'evictedThrough',
    bounds: { operations: 1, loads: 2, evictions: 1 },
    kind: 'operations',
    edits: [{ file: lua('load'), find: 'if evicted then', put: 'if false then' }],
  },
  {
    guard: 'fence',
    bounds: { operations: 1, loads: 2, wipes: 1 },
    kind: 'operations',
    edits: [
      {
        file: lua('prelude'),
        find: "'NOMKSTREAM', NEXT_ID,",
        put: `'NOMKSTREAM', math.max(EPOCH, ${newestEpochOfJournal}) .. '-*',`,
      },
    ],
  },
  {
    guard: 'fence record',
    bounds: { operations: 1, loads: 1, copies: 1, resyncs: 1, takeovers: 1 },
    kind: 'operations',
    edits: [
      {
        file: fence,
        find: 'await redis.eval(appendFence, 1, key, epoch, ...fields);',
        put: 'void [appendFence, key, epoch, fields];',
      },
    ],
  },
  {
    guard: 'opening record',
    bounds: { operations: 1, loads: 1, restarts: 1 },
    kind: 'operations',
    edits: [
      {
        file: recovery,
        find: "redis.call('XADD', KEYS[1], ARGV[1] .. '-0', unpack(ARGV, 4))",
        put: '',
      },
      { file: recovery, find: 'if (!isWritten) throw', put: 'if (isWritten === undefined) throw' },
    ],
  },
  {
    guard: 'drained check',
    bounds: { operations: 1, loads: 1, evictions: 1 },
    kind: 'service',
    edits: [{ file: lua('evict'), find: 'if seq <= written or senseless then', put: 'if true then' }],
  },
  {
    guard: 'lease term',
    bounds: { operations: 1, loads: 1, takeovers: 1, copies: 1, returns: 1 },
    kind: 'operations',
    edits: [
      {
        file: writer,
        find: 'if (row?.owner !== owner || row.term !== progress.term)',
        put: 'if (row === undefined || owner === "")',
      },
      {
        file: fence,
        find: 'where shard = $1 and owner = $2 and term = $3 returning term',
        put: 'where shard = $1 and $2::text <> $3::text returning term',
      },
      leaseAtCommit,
    ],
  },
  {
    guard: 'same epoch',
    bounds: { operations: 1, loads: 1, returns: 1 },
    kind: 'operations',
    edits: [
      {
        file: 'src/wallet/written.ts',
        find: "if (now.epoch > position.epoch) return 'moved';",
        put: "if (now.epoch > position.epoch) return 'written';",
      },
    ],
  },
  {
    guard: 'reserved number',
    bounds: { operations: 1, loads: 1, takeovers: 1, restarts: 1, copies: 1, returns: 1 },
    kind: 'operations',
    edits: [
      {
        file: fence,
        find: reserving,
        put: 'select $4::bigint + 2 as term from lease where shard = $1 and owner = $2 and term = $3',
      },
      { file: fence, find: 'stores.raised(raised);', put: '' },
      { file: fence, find: 'progress: { ...progress, term: raised } };', put: 'progress };' },
    ],
  },
  {
    guard: 'identity',
    bounds: { operations: 2, loads: 1, copies: 1, resyncs: 1 },
    kind: 'operations',
    edits: [
      {
        file: 'src/wallet/epochs.ts',
        find: 'return row?.redisIdentity === identity(shard) ? row : undefined;',
        put: 'return row;',
      },
      {
        file: recovery,
        find: 'if ((await identityOf(redis)) !== identity)',
        put: 'if (identity === "")',
      },
      { file: recovery, find: 'if (redisIdentity !== identity) return undefined;', put: '' },
      withoutHistory,
    ],
  },
  {
    guard: 'history',
    bounds: { operations: 2, loads: 1, copies: 1, resyncs: 1 },
    kind: 'operations',
    edits: [withoutHistory],
  },
  {
    guard: 'identity at the opening',
    bounds: { operations: 1, loads: 1, restarts: 1, copies: 1, returns: 1 },
    kind: 'operations',
    edits: [{ file: recovery, find: 'await checkIdentity(stores.redis, shard, identity);', put: '' }],
  },
  {
    guard: 'witness of an opening',
    bounds: { operations: 1, loads: 1, restarts: 1, copies: 1, returns: 1 },
    kind: 'operations',
    edits: [{ file: lineage, find: 'if (!isCold) {', put: 'if (!isCold && !isAtEnd) {' }],
  },
  {
    guard: 'loads behind what is booked again',
    bounds: { operations: 2, loads: 2, copies: 1, reloads: 1 },
    kind: 'operations',
    says: 'the balance of member',
    edits: [{ file: recovery, find: 'if #entries > 0 then', put: 'if false then' }],
  },
  {
    guard: 'lease at the commit',
    bounds: { operations: 1, loads: 1, takeovers: 1, restarts: 1 },
    kind: 'service',
    edits: [leaseAtCommit],
  },
];

/**
 * The bounds within which the whole protocol is searched to the end. Together they contain those of every guard, so a
 * guard's absence is the only difference between a search that finds nothing and one that does.
 */
export const scopes: Readonly<Record<string, Bounds>> = {
  'loads and evictions': boundsOf({ operations: 3, loads: 3, evictions: 2, takeovers: 1, trims: 1 }),
  'a restart and a takeover': boundsOf({
    operations: 2,
    loads: 1,
    evictions: 1,
    takeovers: 1,
    restarts: 1,
    trims: 1,
  }),
  'a lost Redis': boundsOf({ operations: 2, loads: 2, takeovers: 1, wipes: 1, trims: 1 }),
  'Redis lost twice': boundsOf({ operations: 1, loads: 2, takeovers: 1, wipes: 2 }),
  'an older Redis': boundsOf({ operations: 2, loads: 1, takeovers: 1, copies: 1, returns: 1 }),
  'an older Redis in a recovery': boundsOf({
    operations: 1,
    loads: 1,
    takeovers: 1,
    restarts: 1,
    copies: 1,
    returns: 1,
  }),
  'an older Redis with its scripts': boundsOf({
    operations: 2,
    loads: 1,
    takeovers: 1,
    copies: 1,
    resyncs: 1,
  }),
  'an older Redis twice': boundsOf({ operations: 1, loads: 1, copies: 2, returns: 2 }),
};

/**
 * What no script can see: older data put into a Redis while it runs (DEBUG RELOAD, RESTORE of every key), by somebody who
 * may do what the service's own user may not. Until a writer has read the journal, numbers are given again.
 */
export const reloaded: Protocol = {
  without: undefined,
  bounds: boundsOf({ operations: 2, loads: 1, copies: 1, reloads: 1 }),
};

export function isFalselyWritten({ text }: Fault): boolean {
  return text.includes('acknowledged as written, and the books do not have it');
}
