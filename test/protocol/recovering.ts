/** The steps of a recovery (recovery.ts), at each of which a process can stand still. */
import { type Make, withMemory, withWriter } from './protocol.ts';
import { hasScripts, isWritten, nobody } from './state.ts';
import { holdsLease, operationAt, turnOf, written } from './writing.ts';

/**
 * The first half of open(): the number of the epoch is reserved by raising the lease's own term above every number seen,
 * so no two recoveries ever open one number.
 */
export const look: Make = (state, { who }, { without }) => {
  const writer = state.writers[who]!;
  const { memory, books } = state;
  const isDue = writer.phase === 'serving' && (writer.broken || !hasScripts(state, writer.epoch));
  if (writer.phase !== 'recovering' && !isDue) return undefined;
  if (without !== 'lease term' && !holdsLease(books, who, writer)) return withWriter(state, who, nobody);
  const { epoch, seq } = books;
  const last = memory.journal?.at(-1)?.epoch ?? 0;
  const isReserved = without !== 'reserved number';
  const known = Math.max(epoch, ...books.epochs.map((row) => row.epoch));
  const opening = Math.max(isReserved ? books.term : 0, last, known) + 1;
  const term = isReserved ? opening : writer.term;
  const looked = isReserved ? { ...state, books: { ...books, term } } : state;
  return withWriter(looked, who, {
    ...nobody,
    phase: 'looked',
    term,
    epoch,
    seq,
    operation: operationAt(books, epoch, seq),
    opening,
  });
};

/** The second half: XADD of the opening record. */
export const open: Make = (state, { who }, { without }) => {
  const writer = state.writers[who]!;
  const { journal, lastEpoch } = state.memory;
  if (writer.phase !== 'looked') return undefined;
  const epoch = writer.opening;
  const opened = withWriter(state, who, { phase: 'opened' });
  if (without === 'opening record') return opened;
  if (lastEpoch >= epoch) return withWriter(state, who, nobody);
  const entries = [...(journal ?? []), { epoch, seq: 0, operation: -1 }];
  return withMemory(opened, { journal: entries, lastEpoch: epoch, lastSeq: 0 });
};

/** drain(): the surviving journal goes into the books, or it does not continue them and everybody is cold. */
export const drain: Make = (state, { who }, protocol) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'opened') return undefined;
  const turn = turnOf(state.memory, writer, protocol);
  const after = turn ? written(state, who, turn, protocol) : state;
  if (!after) return withWriter(state, who, nobody);
  const strangers = state.memory.journal?.some(
    ({ epoch, operation }) =>
      operation >= 0 && (!turn || epoch > writer.epoch) && !isWritten(after.books, operation),
  );
  return withWriter(after, who, { phase: strangers ? 'stopped' : 'drained', warm: turn !== undefined });
};

/** loadScripts(): nobody calls them yet, because nobody knows the epoch. */
export const script: Make = (state, { who }) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'drained') return undefined;
  return withWriter({ ...state, scripts: state.scripts | (1 << writer.opening) }, who, { phase: 'loaded' });
};

/**
 * The epoch's row, the range that was lost, and the position commit together, where the lease is still held and the
 * opening record is still there after the scripts were loaded: a Redis that restarts later has no scripts.
 */
export const commit: Make = (state, { who }, { without }) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'loaded') return undefined;
  const { books, memory } = state;
  const { opening, epoch, seq, warm, term } = writer;
  const isMine = holdsLease(books, who, writer) && books.epoch === epoch && books.seq === seq;
  const isAllowed = isMine || without === 'lease term' || without === 'lease at the commit';
  const isThere = memory.journal?.some((entry) => entry.epoch === opening && entry.seq === 0);
  const isOpened = isThere || without === 'opening record' || without === 'opening looked for';
  if (!isAllowed || !isOpened || books.epochs.some((row) => row.epoch === opening))
    return withWriter(state, who, nobody);
  const newest = books.epochs.reduce((a, b) => (b.epoch > a.epoch ? b : a));
  const noted = books.noted[epoch] ?? 0;
  const row = {
    epoch: opening,
    previous: epoch,
    coldBelow: warm ? newest.coldBelow : opening,
    lostFrom: noted > seq ? seq + 1 : 0,
    lostTo: noted > seq ? noted : 0,
  };
  const begun = { ...books, epoch: opening, seq: 0, epochs: [...books.epochs, row] };
  return withWriter({ ...state, books: begun }, who, { ...nobody, phase: 'serving', term, epoch: opening });
};
