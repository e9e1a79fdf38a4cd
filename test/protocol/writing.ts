/** What a ledger writer does while its shard is served: leases, turns, trimming. */
import { counted, fenced, isOurs, type Make, type Protocol, withMemory, withWriter } from './protocol.ts';
import { mayCall } from './serving.ts';
import {
  type Books,
  type Entry,
  fence,
  freeze,
  hasScripts,
  isWritten,
  type Memory,
  nobody,
  opened,
  type State,
  type Writer,
} from './state.ts';

export function operationAt({ rows }: Books, epoch: number, seq: number): number {
  return rows.find((row) => row.epoch === epoch && row.seq === seq)?.operation ?? opened;
}

/** turnOf(): what the journal holds beyond a writer's position; undefined where it does not continue the books. */
export function turnOf(
  memory: Memory,
  { epoch, seq, operation }: Pick<Writer, 'epoch' | 'seq' | 'operation'>,
  { without }: Protocol,
  lastSeq = Number.POSITIVE_INFINITY,
): number[] | undefined {
  const entries = (memory.journal ?? []).filter(
    (entry) => entry.epoch === epoch && entry.seq >= seq && entry.seq <= lastSeq,
  );
  if (without === 'position check') {
    if (entries[0]?.seq === seq) entries.shift();
  } else {
    const witness = entries.shift();
    if (witness?.seq !== seq || witness.operation !== operation) return undefined;
  }
  if (entries.some((entry, i) => entry.operation < 0 || entry.seq !== seq + 1 + i)) return undefined;
  return entries.map((entry) => entry.operation);
}

/** Also an empty turn is written once a second, so a writer whose position is not the books' notices. */
export const read: Make = (state, { who }, protocol) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'serving' || writer.broken || writer.turn.length > 0) return undefined;
  const turn = turnOf(state.memory, writer, protocol);
  if (turn?.length === 0)
    return written(state, who, [], protocol) ? undefined : withWriter(state, who, nobody);
  return withWriter(state, who, turn ? { turn } : { broken: true });
};

export function holdsLease({ owner, term }: Books, who: number, writer: Writer): boolean {
  return owner === who && term === writer.term;
}

/** writeTurn(): one database transaction that locks the position and checks lease and position. */
export function written(
  state: State,
  who: number,
  turn: readonly number[],
  { without }: Protocol,
): State | undefined {
  const writer = state.writers[who]!;
  const { books } = state;
  if (!holdsLease(books, who, writer) && without !== 'lease term') return undefined;
  if (books.epoch !== writer.epoch || books.seq !== writer.seq) return undefined;
  // The primary key of `operation` refuses a repeat.
  if (turn.some((operation) => operation !== freeze && isWritten(books, operation))) return undefined;
  const rows: Entry[] = turn.map((operation, i) => ({
    epoch: books.epoch,
    seq: books.seq + 1 + i,
    operation,
  }));
  const seq = books.seq + turn.length;
  const moved = { turn: [], seq, operation: turn.at(-1) ?? writer.operation };
  return withWriter({ ...state, books: { ...books, seq, rows: [...books.rows, ...rows] } }, who, moved);
}

export const write: Make = (state, { who }, protocol) => {
  const { turn } = state.writers[who]!;
  if (turn.length === 0) return undefined;
  return written(state, who, turn, protocol) ?? withWriter(state, who, nobody);
};

/** trim.lua: everything before the written position goes. */
export const trim: Make = (state, { who }, protocol) => {
  const { phase, epoch, seq } = state.writers[who]!;
  const { memory } = state;
  if (protocol.bounds.trims === 0 || phase !== 'serving' || seq === 0) return undefined;
  if (!mayCall(state, epoch, protocol) || fenced(memory, epoch)) return undefined;
  if (memory.journal!.at(-1)!.seq < seq) return undefined;
  const kept = memory.journal!.filter(
    (entry) => entry.epoch > epoch || (entry.epoch === epoch && entry.seq >= seq),
  );
  return kept.length === memory.journal!.length ? undefined : withMemory(state, { journal: kept });
};

/** openEpoch(): whether an epoch can be served as it stands. */
export function isOpen(state: State, epoch: number, protocol: Protocol): boolean {
  const last = state.memory.journal?.at(-1);
  const newest = Math.max(...state.books.epochs.map((row) => row.epoch));
  if (newest !== epoch || last?.epoch !== epoch || last.operation === fence) return false;
  return isOurs(state, epoch, protocol) && hasScripts(state, epoch);
}

/** A writer takes the lease and reads where the books stand. That the other's connection is ended is not relied on. */
export const take: Make = (state, { who }, protocol) => {
  const { books } = state;
  const isMine = books.owner === who;
  if (isMine && state.writers[who]!.phase !== 'away') return undefined;
  const term = isMine ? books.term : books.term + 1;
  const phase = isOpen(state, books.epoch, protocol) ? 'serving' : 'recovering';
  const { epoch, seq } = books;
  const operation = operationAt(books, epoch, seq);
  const taken = withWriter({ ...state, books: { ...books, owner: who, term } }, who, {
    ...nobody,
    phase,
    term,
    epoch,
    seq,
    operation,
  });
  return counted(taken, 'takeovers', protocol);
};
