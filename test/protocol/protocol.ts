/** What a step is, what can be left out of the protocol, and the few changes of a state that all steps are made of. */
import { type Bounds, identityOf, type Memory, type State, type Used, type Writer } from './state.ts';

/** What can be left out of the protocol. */
export type Guard =
  | 'position check'
  | 'evictedThrough'
  | 'fence'
  | 'opening record'
  | 'drained check'
  | 'lease term'
  | 'same epoch'
  | 'lease at the commit'
  | 'reserved number'
  | 'fence record'
  | 'identity'
  | 'history'
  | 'identity at the opening'
  | 'witness of an opening'
  | 'loads behind what is booked again';

export type Verb =
  | 'accrue'
  | 'snapshot'
  | 'install'
  | 'evict'
  | 'refresh'
  | 'read'
  | 'write'
  | 'trim'
  | 'take'
  | 'look'
  | 'fence'
  | 'compare'
  | 'open'
  | 'commit'
  | 'book'
  | 'script'
  | 'serve'
  | 'restart'
  | 'wipe'
  | 'copy'
  | 'return'
  | 'resync'
  | 'reload';

export interface Step {
  readonly verb: Verb;
  /** API or writer. */
  readonly who: number;
  readonly member: number;
}

export interface Protocol {
  readonly without: Guard | undefined;
  readonly bounds: Bounds;
}

export type Make = (state: State, step: Step, protocol: Protocol) => State | undefined;

export function replaced<T>(list: readonly T[], index: number, value: T): T[] {
  const copy = [...list];
  copy[index] = value;
  return copy;
}

export function withMemory(state: State, change: Partial<Memory>): State {
  return { ...state, memory: { ...state.memory, ...change } };
}

export function withWriter(state: State, who: number, change: Partial<Writer>): State {
  return { ...state, writers: replaced(state.writers, who, { ...state.writers[who]!, ...change }) };
}

export function counted(state: State, what: keyof Used, { bounds }: Protocol): State | undefined {
  if (state.used[what] >= bounds[what]) return undefined;
  return { ...state, used: { ...state.used, [what]: state.used[what] + 1 } };
}

/** Whether the Redis that answers is the one that an epoch was opened on. */
export function isOurs({ identity, books }: State, epoch: number, { without }: Protocol): boolean {
  return without === 'identity' || identityOf(books, epoch) === identity;
}

/** prelude.lua, fenced(): the journal's last record must be of the script's epoch. */
export function fenced(memory: Memory, epoch: number): boolean {
  return memory.journal?.at(-1)?.epoch !== epoch;
}
