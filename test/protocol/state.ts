/**
 * What the search keeps of the engine: one shard, two members, two writers, two APIs. An operation is a number, a balance
 * the set of operations in it (a bit each), so "the balance is the sum of the acknowledged operations" is equality of
 * sets. States never change; a step makes a new one that shares what it did not touch.
 */

/** A journal record, or a row of the books. */
export interface Entry {
  readonly epoch: number;
  readonly seq: number;
  /** From 0 on an operation; else one of the marks below. */
  readonly operation: number;
  /** What an opening record says. */
  readonly says?: EpochRow;
}

export const opened = -1;
/** The record that only fences: its epoch never serves. */
export const fence = -2;
/** The freeze of a member that follows what was booked again; nobody asked for it. */
export const freeze = 13;

/** A member in Redis: last record and the operations in the balance. */
export interface Hot {
  readonly epoch: number;
  readonly seq: number;
  readonly operations: number;
}

/** Everything in Redis that a copy of it would have; the script cache is not. */
export interface Memory {
  readonly journal: readonly Entry[] | undefined;
  /** The stream's last generated id, which trimming does not change. */
  readonly lastEpoch: number;
  readonly lastSeq: number;
  readonly members: readonly (Hot | undefined)[];
  readonly evictedEpoch: number;
  readonly evictedSeq: number;
}

export interface EpochRow {
  readonly epoch: number;
  readonly previous: number;
  readonly previousLastSeq: number;
  readonly coldBelow: number;
  readonly lostFrom: number;
  readonly lostTo: number;
  /** The Redis that the epoch was opened on; 0 where a recovery only passed through it. */
  readonly identity: number;
}

export interface Books {
  readonly epoch: number;
  readonly seq: number;
  readonly rows: readonly Entry[];
  readonly epochs: readonly EpochRow[];
  readonly owner: number;
  readonly term: number;
  /** By epoch, the highest sequence that an API noted as acknowledged. */
  readonly noted: readonly number[];
}

/**
 * `away` has no lease, or crashed: what it held is gone and its next step is to take the lease. The phases from `looked`
 * to `loaded` are the places inside a recovery at which a process can stand still. `stopped` waits for a person.
 */
export type Phase =
  | 'away'
  | 'serving'
  | 'recovering'
  | 'looked'
  | 'fenced'
  | 'compared'
  | 'opened'
  | 'committed'
  | 'booked'
  | 'loaded'
  | 'stopped';

export interface Writer {
  readonly phase: Phase;
  readonly term: number;
  readonly epoch: number;
  readonly seq: number;
  /** The operation at the position; -1 at an opening record. */
  readonly operation: number;
  /** Operations that it has read and not written. */
  readonly turn: readonly number[];
  readonly broken: boolean;
  /** The number of the epoch that it opens. */
  readonly opening: number;
  /** The Redis that answered at the beginning of the recovery. */
  readonly identity: number;
  /** Everything in the journal below this epoch is at rest. */
  readonly fence: number;
  /** There was no journal when the recovery began. */
  readonly isEmpty: boolean;
  /** Operations that it books again in the epoch that it opens, and the freeze of their members. */
  readonly again: readonly number[];
  readonly coldBelow: number;
  readonly lostTo: number;
}

export interface Snapshot {
  readonly member: number;
  readonly epoch: number;
  readonly seq: number;
  readonly operations: number;
}

export interface Api {
  readonly epoch: number;
  readonly load: Snapshot | undefined;
}

/** An acknowledged operation and the position that its caller may wait for. */
export interface Issued {
  readonly member: number;
  readonly epoch: number;
  readonly seq: number;
}

/** How often each bounded kind of step has been taken. */
export interface Used {
  readonly loads: number;
  readonly evictions: number;
  readonly takeovers: number;
  readonly restarts: number;
  readonly wipes: number;
  readonly copies: number;
  readonly returns: number;
  readonly resyncs: number;
  readonly reloads: number;
}
export type Bounds = Used & { readonly operations: number; readonly trims: number };

export interface State {
  readonly memory: Memory;
  /** One bit an epoch whose scripts Redis knows. */
  readonly scripts: number;
  /** Which Redis answers: `run_id` and `master_replid`. */
  readonly identity: number;
  /** An older state that Redis can come back to. */
  readonly copy: Memory;
  readonly books: Books;
  readonly writers: readonly Writer[];
  readonly apis: readonly Api[];
  readonly issued: readonly Issued[];
  readonly used: Used;
}

export const nobody: Writer = {
  phase: 'away',
  term: 0,
  epoch: 0,
  seq: 0,
  operation: -1,
  turn: [],
  broken: false,
  opening: 0,
  identity: 0,
  fence: 0,
  isEmpty: false,
  again: [],
  coldBelow: 0,
  lostTo: 0,
};

export const unused: Used = {
  loads: 0,
  evictions: 0,
  takeovers: 0,
  restarts: 0,
  wipes: 0,
  copies: 0,
  returns: 0,
  resyncs: 0,
  reloads: 0,
};

/** A shard in its first epoch, two above the term of the first lease: the first writer serves it, both APIs know it, nobody is hot, nothing was acknowledged. */
export function firstState(): State {
  const epoch = 3;
  const row = {
    epoch,
    previous: 0,
    previousLastSeq: 0,
    coldBelow: epoch,
    lostFrom: 0,
    lostTo: 0,
    identity: 1,
  };
  const memory: Memory = {
    journal: [{ epoch, seq: 0, operation: opened, says: { ...row, identity: 0 } }],
    lastEpoch: epoch,
    lastSeq: 0,
    members: [undefined, undefined],
    evictedEpoch: 0,
    evictedSeq: 0,
  };
  return {
    memory,
    scripts: 1 << epoch,
    identity: 1,
    copy: memory,
    books: {
      epoch,
      seq: 0,
      rows: [],
      epochs: [row],
      owner: 0,
      term: epoch,
      noted: [],
    },
    writers: [{ ...nobody, phase: 'serving', term: epoch, epoch }, nobody],
    apis: [
      { epoch, load: undefined },
      { epoch, load: undefined },
    ],
    issued: [],
    used: unused,
  };
}

export function isWritten(books: Books, operation: number): boolean {
  return books.rows.some((row) => row.operation === operation);
}

/** The operations of a member that the books have. */
export function inBooks({ books, issued }: State, member: number): number {
  let operations = 0;
  for (const { operation } of books.rows)
    if (issued[operation]?.member === member) operations |= 1 << operation;
  return operations;
}

export function coldBelow(books: Books, epoch: number): number {
  return books.epochs.find((row) => row.epoch === epoch)?.coldBelow ?? Number.POSITIVE_INFINITY;
}

export function identityOf(books: Books, epoch: number): number | undefined {
  return books.epochs.find((row) => row.epoch === epoch)?.identity;
}

export function hasScripts(state: State, epoch: number): boolean {
  return ((state.scripts >> epoch) & 1) === 1;
}

/** How often Redis has lost data. */
export function lossesOf({ wipes, returns, resyncs, reloads }: Used): number {
  return wipes + returns + resyncs + reloads;
}

/** Three small numbers in one character: within the bounds of a search no epoch is above 120, no number above 31. */
function packed(epoch: number, seq: number, operation: number): number {
  return (epoch << 9) | (seq << 4) | (operation + 2);
}

function putRow(out: number[], row: EpochRow): void {
  out.push(packed(row.epoch, row.lostFrom, row.identity), packed(row.previous, row.lostTo, 0));
  out.push(packed(row.coldBelow, row.previousLastSeq, 0));
}

function putEntries(out: number[], entries: readonly Entry[]): void {
  out.push(entries.length);
  for (const { epoch, seq, operation, says } of entries) {
    out.push(packed(epoch, seq, operation));
    if (says) putRow(out, says);
  }
}

function putMemory(out: number[], memory: Memory): void {
  const { journal, lastEpoch, lastSeq, members, evictedEpoch, evictedSeq } = memory;
  if (journal) putEntries(out, journal);
  else out.push(99);
  out.push(packed(lastEpoch, lastSeq, 0), packed(evictedEpoch, evictedSeq, 0));
  for (const hot of members) out.push(hot ? packed(hot.epoch, hot.seq, hot.operations) : 0);
}

function putBooks(out: number[], books: Books): void {
  const { epoch, seq, rows, epochs, owner, term, noted } = books;
  out.push(packed(epoch, seq, owner), term);
  putEntries(out, rows);
  out.push(epochs.length);
  for (const row of epochs) putRow(out, row);
  out.push(noted.length);
  // An epoch in which nothing was noted leaves a hole.
  for (let i = 0; i < noted.length; i += 1) out.push(noted[i] ?? 0);
}

const phases: readonly Phase[] = [
  'away',
  'serving',
  'recovering',
  'looked',
  'fenced',
  'compared',
  'opened',
  'committed',
  'booked',
  'loaded',
  'stopped',
];

function putWriter(out: number[], writer: Writer): void {
  const { phase, term, epoch, seq, operation, turn, broken, again } = writer;
  out.push(phases.indexOf(phase), term, packed(epoch, seq, operation), writer.opening);
  out.push((broken ? 1 : 0) + (writer.isEmpty ? 2 : 0), turn.length, ...turn, again.length, ...again);
  out.push(packed(writer.fence, writer.lostTo, writer.identity), writer.coldBelow);
}

function putIssued(out: number[], issued: readonly Issued[]): void {
  out.push(issued.length);
  for (const { member, epoch, seq } of issued) out.push(packed(epoch, seq, member));
}

/** A text that two states share only when they are the same state. */
export function encoded(state: State): string {
  const { memory, scripts, identity, copy, books, writers, apis, issued, used } = state;
  const out: number[] = [scripts & 0xffff, scripts >>> 16, identity];
  putMemory(out, memory);
  putMemory(out, copy);
  putBooks(out, books);
  for (const writer of writers) putWriter(out, writer);
  for (const { epoch, load } of apis) {
    out.push(epoch, load ? packed(load.epoch, load.seq, load.operations) : 0, load ? load.member + 1 : 0);
  }
  putIssued(out, issued);
  out.push(used.loads, used.evictions, used.takeovers, used.restarts);
  out.push(used.wipes, used.copies, used.returns, used.resyncs, used.reloads);
  return String.fromCharCode(...out);
}

/** What decides how a state heals: everything but what APIs and the writer without the lease hold. */
export function encodedCore({ memory, scripts, identity, books, writers, issued, used }: State): string {
  const out: number[] = [scripts & 0xffff, scripts >>> 16, identity, lossesOf(used)];
  putMemory(out, memory);
  putBooks(out, books);
  putWriter(out, writers[books.owner]!);
  putIssued(out, issued);
  return String.fromCharCode(...out);
}
