/**
 * Breadth first through every order of steps within bounds, until nothing new comes or a counter-example is found; the
 * first one found is a shortest one. Every state is judged twice: as it stands (would anybody be told `ledger` for what
 * the books do not have?) and after it has healed (one writer goes on alone until nothing is left to do).
 *
 * Symmetry: the two APIs and the two members differ only in their number, so the second acts only after the first has.
 */
import { after } from './model.ts';
import type { Protocol, Step, Verb } from './protocol.ts';
import {
  coldBelow,
  encoded,
  encodedCore,
  firstState,
  hasScripts,
  inBooks,
  isWritten,
  lossesOf,
  type State,
} from './state.ts';
import { isOpen } from './writing.ts';

/** `operations`: one is lost, repeated, wrongly acknowledged or missing in a balance; `service`: somebody is not served. */
export interface Fault {
  readonly kind: 'operations' | 'service';
  readonly text: string;
}

export interface Found {
  readonly trace: readonly Step[];
  readonly fault: Fault;
}

export interface Searched {
  readonly states: number;
  readonly deepest: number;
  /** False where the search ended at a bound on states, not because nothing new came. */
  readonly exhausted: boolean;
  readonly found: Found | undefined;
}

/** Several steps in one go reach nothing new; they make traces of a recovery shorter, and counter-examples closer. */
type Move = readonly Step[];

function movesOf(verbs: readonly Verb[], whos: number, members: number): Move[] {
  const moves: Move[] = [];
  for (const verb of verbs)
    for (let who = 0; who < whos; who += 1)
      for (let member = 0; member < members; member += 1) moves.push([{ verb, who, member }]);
  return moves;
}

const recovery: readonly Verb[] = ['look', 'fence', 'compare', 'open', 'commit', 'book', 'script', 'serve'];
export const allMoves: readonly Move[] = [
  ...movesOf(['accrue', 'snapshot', 'evict'], 2, 2),
  ...movesOf(['install', 'refresh', 'read', 'write', 'trim', 'take', ...recovery], 2, 1),
  ...[0, 1].map((who) => recovery.map((verb) => ({ verb, who, member: 0 }))),
  ...[0, 1].map((who) => (['read', 'write'] as const).map((verb) => ({ verb, who, member: 0 }))),
  ...movesOf(['restart', 'wipe', 'copy', 'return', 'resync', 'reload'], 1, 1),
];

function apply(state: State, move: Move, protocol: Protocol): State | undefined {
  let next: State | undefined = state;
  for (const step of move) {
    next = after(next, step, protocol);
    if (!next) return undefined;
  }
  return next;
}

/** Who would be told `ledger` now for an operation that the books do not have: written.ts, verdict(). */
export function falselyWritten({ books, issued }: State, { without }: Protocol): number | undefined {
  const found = issued.findIndex(({ epoch, seq }, operation) => {
    const isReached =
      books.epoch === epoch ? books.seq >= seq : without === 'same epoch' && books.epoch > epoch;
    return isReached && !isWritten(books, operation);
  });
  return found < 0 ? undefined : found;
}

const roundsMax = 6;
const healing: readonly Verb[] = ['take', ...recovery, 'read', 'write'];

export interface Healed {
  readonly end: State;
  readonly steps: readonly Step[];
}

/** The writer that has the lease goes on, or a new one takes it, until there is nothing left to do. */
export function heal(state: State, protocol: Protocol): Healed {
  const unbounded = { ...protocol, bounds: { ...protocol.bounds, takeovers: 1_000 } };
  const steps: Step[] = [];
  let end = state;
  for (let round = 0; round < roundsMax; round += 1) {
    const before = steps.length;
    for (const verb of healing) {
      const step = { verb, who: end.books.owner, member: 0 };
      const next = after(end, step, unbounded);
      if (!next) continue;
      end = next;
      steps.push(step);
    }
    if (steps.length === before) break;
  }
  return { end, steps };
}

/** Whether a recovery named the operation's number as lost. */
function isNamed({ books, issued }: State, operation: number): boolean {
  const { epoch, seq } = issued[operation]!;
  return books.epochs.some(
    (row) => row.previous === epoch && row.lostFrom > 0 && row.lostFrom <= seq && seq <= row.lostTo,
  );
}

const broken = (text: string): Fault => ({ kind: 'operations', text });
const unserved = (text: string): Fault => ({ kind: 'service', text });

/** What is wrong in a state as it stands. */
function faultNow(state: State, protocol: Protocol): Fault | undefined {
  const early = falselyWritten(state, protocol);
  if (early !== undefined)
    return broken(`operation ${early} is acknowledged as written, and the books do not have it`);
  const { books, memory } = state;
  const isServed = hasScripts(state, books.epoch);
  if (isServed && memory.evictedEpoch === books.epoch && memory.evictedSeq > books.seq)
    return unserved('a member was evicted before its record was written: nobody can load it');
  return undefined;
}

/** Whether the shard serves once it has healed; PostgreSQL never goes back here, so nothing may wait for a person. */
function faultOfShard(end: State, protocol: Protocol): Fault | undefined {
  const { books, writers } = end;
  if (writers[books.owner]!.phase === 'stopped')
    return unserved('the shard waits for a person: its journal seems newer than the books');
  return isOpen(end, books.epoch, protocol) ? undefined : unserved('the shard is never served again');
}

/** What is wrong once everything is drained and recovered. */
function faultHealed(end: State, protocol: Protocol): Fault | undefined {
  const { books, memory, issued, used } = end;
  const late = falselyWritten(end, protocol);
  if (late !== undefined)
    return broken(`operation ${late} is acknowledged as written, and the books never get it`);
  const unserving = faultOfShard(end, protocol);
  if (unserving) return unserving;
  const isLossy = lossesOf(used) > 0;
  for (const operation of issued.keys()) {
    const times = books.rows.filter((row) => row.operation === operation).length;
    if (times > 1) return broken(`operation ${operation} is in the books ${times} times`);
    if (times === 0 && !(isLossy && isNamed(end, operation)))
      return broken(`operation ${operation} is lost, and no recovery named it`);
  }
  for (const [member, hot] of memory.members.entries()) {
    if (!hot || hot.epoch < coldBelow(books, books.epoch)) continue;
    if (hot.operations !== inBooks(end, member))
      return broken(`the balance of member ${member} is not the sum of its operations`);
  }
  return undefined;
}

export function faultOf(state: State, protocol: Protocol): Fault | undefined {
  return faultNow(state, protocol) ?? faultHealed(heal(state, protocol).end, protocol);
}

/** The second API and the second member act only after the first. */
function isFirstOfItsKind(state: State, { verb, who, member }: Step): boolean {
  if (member === 1 && state.used.loads === 0) return true;
  if (who === 1 && (verb === 'accrue' || verb === 'snapshot') && state.used.loads === 0) return true;
  return false;
}

/** Searches from the first state within the protocol's bounds for a fault that counts. */
export function search(
  protocol: Protocol,
  statesMax: number,
  counts: (fault: Fault) => boolean = () => true,
): Searched {
  const first = firstState();
  const seen = new Set([encoded(first)]);
  const healthy = new Set<string>();
  const parents: number[] = [-1];
  const how: number[] = [-1];
  const moves = allMoves;
  let level = [first];
  let firstOfLevel = 0;
  let deepest = 0;
  const trace = (index: number, last: Move): Step[] => {
    const steps: Move[] = [last];
    for (let at = index; parents[at]! >= 0; at = parents[at]!) steps.unshift(moves[how[at]!]!);
    return steps.flat();
  };
  while (level.length > 0) {
    const next: State[] = [];
    const firstOfNext = firstOfLevel + level.length;
    for (const [i, state] of level.entries()) {
      for (const [m, move] of moves.entries()) {
        if (isFirstOfItsKind(state, move[0]!)) continue;
        const reached = apply(state, move, protocol);
        if (!reached) continue;
        const key = encoded(reached);
        if (seen.has(key)) continue;
        seen.add(key);
        const core = encodedCore(reached);
        if (!healthy.has(core)) {
          const fault = faultOf(reached, protocol);
          if (fault && counts(fault)) {
            return {
              states: seen.size,
              deepest: deepest + 1,
              exhausted: false,
              found: { trace: trace(firstOfLevel + i, move), fault },
            };
          }
          healthy.add(core);
        }
        if (seen.size >= statesMax) return { states: seen.size, deepest, exhausted: false, found: undefined };
        parents.push(firstOfLevel + i);
        how.push(m);
        next.push(reached);
      }
    }
    level = next;
    firstOfLevel = firstOfNext;
    deepest += 1;
  }
  return { states: seen.size, deepest: deepest - 1, exhausted: true, found: undefined };
}

const sentences: Readonly<Record<Verb, (who: number, member: number) => string>> = {
  accrue: (api, member) => `API ${api} accrues for member ${member}, and acknowledges`,
  snapshot: (api, member) => `API ${api} hears that member ${member} is cold, and reads it in the books`,
  install: (api) => `API ${api} installs what it has read`,
  evict: (api, member) => `API ${api} evicts member ${member}`,
  refresh: (api) => `API ${api} learns the newest epoch`,
  read: (writer) => `writer ${writer} reads the journal`,
  write: (writer) => `writer ${writer} writes to the books`,
  trim: (writer) => `writer ${writer} trims the journal`,
  take: (writer) => `writer ${writer} takes the lease`,
  look: (writer) => `writer ${writer} begins a recovery: it reserves the numbers of a fence and an epoch`,
  fence: (writer) => `writer ${writer} appends the fence`,
  compare: (writer) => `writer ${writer} writes what the journal holds, and decides whether members stay`,
  open: (writer) => `writer ${writer} appends the opening record and what is booked again`,
  commit: (writer) => `writer ${writer} commits the epoch`,
  book: (writer) => `writer ${writer} writes what stands in the epoch`,
  script: (writer) => `writer ${writer} loads the scripts`,
  serve: (writer) => `writer ${writer} serves`,
  restart: () => 'Redis restarts on its data',
  wipe: () => 'Redis loses everything (FLUSHALL)',
  copy: () => 'a copy of Redis is made (a replica falls behind here)',
  return: () => 'Redis comes back as the copy (a stale replica is promoted)',
  resync: () => 'Redis becomes the copy and keeps its scripts (demoted, resynchronised, promoted)',
  reload: () => 'the copy is loaded into the Redis that runs (DEBUG RELOAD)',
};

/** A counter-example to read. */
export function printed({ trace, fault }: Found): string {
  const lines = trace.map(({ verb, who, member }, i) => `${i + 1}. ${sentences[verb](who, member)}`);
  return `${lines.join('\n')}\n=> ${fault.text}`;
}
