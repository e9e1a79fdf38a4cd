/** The steps of a recovery (fence.ts, lineage.ts, reissued.ts, recovery.ts), between which a process can stand still. */
import { isOurs, type Make, type Protocol, withMemory, withWriter } from './protocol.ts';
import {
  type Entry,
  type EpochRow,
  fence as fenceMark,
  freeze,
  hasScripts,
  isWritten,
  type Memory,
  nobody,
  opened,
  type State,
  type Writer,
} from './state.ts';
import { holdsLease, isOpen, operationAt, turnOf, written } from './writing.ts';

/** fence.ts, reserve(): two numbers above every one seen, for the fence and for the epoch; the lease's term rises to them. */
export const look: Make = (state, { who }, protocol) => {
  const { without } = protocol;
  const writer = state.writers[who]!;
  const { memory, books, identity } = state;
  const isFallen = !hasScripts(state, writer.epoch) || !isOurs(state, writer.epoch, protocol);
  const isDue = writer.phase === 'serving' && (writer.broken || isFallen);
  if (writer.phase !== 'recovering' && !isDue) return undefined;
  if (without !== 'lease term' && !holdsLease(books, who, writer)) return withWriter(state, who, nobody);
  const { epoch, seq } = books;
  const isReserved = without !== 'reserved number';
  const known = Math.max(epoch, memory.lastEpoch, ...books.epochs.map((row) => row.epoch));
  const opening = Math.max(isReserved ? books.term : 0, known) + 2;
  const term = isReserved ? opening : writer.term;
  const last = memory.journal?.at(-1);
  return withWriter(isReserved ? { ...state, books: { ...books, term } } : state, who, {
    ...nobody,
    phase: 'looked',
    term,
    epoch,
    seq,
    operation: operationAt(books, epoch, seq),
    opening,
    identity,
    // A fence that stands already is used again.
    isEmpty: !memory.journal,
    fence: last?.operation === fenceMark ? last.epoch : opening - 1,
  });
};

/** XADD of the fence. Without a journal every script answers `fenced` by itself. */
export const fence: Make = (state, { who }, { without }) => {
  const writer = state.writers[who]!;
  const { journal, lastEpoch } = state.memory;
  if (writer.phase !== 'looked') return undefined;
  const fenced = withWriter(state, who, { phase: 'fenced' });
  const isStanding = writer.fence < writer.opening - 1;
  if ((!journal && writer.isEmpty) || isStanding || without === 'fence record') return fenced;
  if (lastEpoch >= writer.fence) return withWriter(state, who, nobody);
  const entries = [...(journal ?? []), { epoch: writer.fence, seq: 0, operation: fenceMark }];
  return withMemory(fenced, { journal: entries, lastEpoch: writer.fence, lastSeq: 0 });
};

interface Walk {
  readonly state: State;
  readonly epoch: number;
  readonly seq: number;
  readonly operation: number;
  readonly lineage: 'complete' | 'lost' | 'diverged' | 'behind';
  readonly hasLeftovers: boolean;
}

/** exceedsBooks(): whether the journal has more of a closed epoch than the books. */
function exceedsBooks({ memory, books }: State): boolean {
  const from = memory.journal?.[0]?.epoch ?? Number.POSITIVE_INFINITY;
  return books.epochs.some(
    ({ previous, previousLastSeq }) =>
      previous > 0 &&
      previous >= from &&
      memory.journal!.some(({ epoch, seq }) => epoch === previous && seq > previousLastSeq),
  );
}

function witness(
  { journal }: Memory,
  { epoch, seq, operation }: Pick<Walk, 'epoch' | 'seq' | 'operation'>,
  { without }: Protocol,
): 'same' | 'other' | 'trimmed' | 'none' {
  if (without === 'position check') return 'same';
  const found = journal?.find((entry) => entry.epoch === epoch && entry.seq >= seq);
  if (!found) return 'none';
  if (found.seq !== seq) return 'trimmed';
  return found.operation === operation ? 'same' : 'other';
}

/** adopt(): enters an epoch that the journal has and the books do not. */
function adopted(state: State, { epoch, seq }: Walk, row: EpochRow): State | undefined {
  const { books } = state;
  if (books.epochs.some((known) => known.epoch === row.epoch)) return undefined;
  const isThere = books.epoch === epoch && books.seq === seq;
  const position = isThere ? { epoch: row.epoch, seq: 0 } : {};
  return { ...state, books: { ...books, ...position, epochs: [...books.epochs, row] } };
}

/** The opening records between two epochs, and whether an epoch stands there without one. */
function openingsOf(
  { journal }: Memory,
  after: number,
  until: number,
): { openings: Entry[]; isCut: boolean } {
  const firsts = (journal ?? []).filter(
    ({ epoch }, i, all) => epoch > after && epoch < until && all[i - 1]?.epoch !== epoch,
  );
  return {
    openings: firsts.filter(({ operation }) => operation === opened),
    isCut: firsts.some(({ operation }) => operation >= 0),
  };
}

/** One turn of walk(): where it ends, or from where it goes on; undefined where the lease or a number is taken. */
function walkOn(walk: Walk, who: number, protocol: Protocol): Walk | { readonly end: Walk } | undefined {
  const { epoch, seq } = walk;
  const { memory, writers } = walk.state;
  const { openings, isCut } = openingsOf(memory, epoch, writers[who]!.fence);
  const next = openings.findLast(({ says }) => says!.previous === epoch);
  const isAtEnd = next?.says?.previousLastSeq === seq;
  const isCold = next !== undefined && next.says!.coldBelow === next.epoch;
  const end = (lineage: Walk['lineage'], at: Walk = walk) => ({ end: { ...at, lineage } });
  if (isCold && !isAtEnd) return end('behind');
  const isPassed = isCut || openings.length > 0;
  let at = walk;
  if (!isCold && !(isAtEnd && protocol.without === 'witness of an opening')) {
    const found = witness(memory, walk, protocol);
    if (isAtEnd && found !== 'same') return end('diverged');
    if (found === 'trimmed') return end('behind');
    if (found === 'other') return end('diverged');
    if (found === 'none') return end(isPassed ? 'behind' : 'lost');
    const turn = turnOf(memory, walk, protocol, next?.says?.previousLastSeq);
    if (!turn) return end('diverged');
    const state = written(withWriter(walk.state, who, { epoch, seq }), who, turn, protocol);
    if (!state) return undefined;
    at = { ...walk, state, seq: seq + turn.length, operation: turn.at(-1) ?? walk.operation };
  }
  if (!next) return end(isPassed ? 'behind' : 'complete', at);
  if (next.says!.previousLastSeq !== at.seq) return end('behind', at);
  const state = adopted(at.state, at, next.says!);
  const hasLeftovers = at.hasLeftovers || isCold;
  return state && { ...at, state, epoch: next.epoch, seq: 0, operation: opened, hasLeftovers };
}

/** unknownRecords(): operations that the journal has and the books do not, and the freeze of each of their members. */
function unknownOf({ memory, books, issued }: State): number[] {
  const operations = new Set(memory.journal?.map(({ operation }) => operation));
  const unknown = [...operations].filter(
    (operation) => operation >= 0 && operation !== freeze && !isWritten(books, operation),
  );
  const members = new Set(unknown.map((operation) => issued[operation]!.member));
  return [...unknown, ...[...members].map(() => freeze)];
}

/** compare(): what the journal holds beyond the books is written, and it is decided how the epoch begins. */
export const compare: Make = (state, { who }, protocol) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'fenced') return undefined;
  const { epoch, seq, operation } = writer;
  const hasLeftovers = exceedsBooks(state);
  let at: Walk = { state, epoch, seq, operation, lineage: 'complete', hasLeftovers };
  for (;;) {
    const next = walkOn(at, who, protocol);
    if (!next) return withWriter(at.state, who, nobody);
    at = 'end' in next ? next.end : next;
    if ('end' in next) break;
  }
  // An epoch of which somebody was acknowledged is newer than these books; a writer that stood still sees that too.
  const isBehind = at.lineage === 'behind' || at.state.books.noted.length - 1 > at.epoch;
  if (isBehind) return withWriter(at.state, who, { ...nobody, phase: 'stopped' });
  const isComplete = at.lineage === 'complete';
  const again = isComplete && !at.hasLeftovers ? [] : unknownOf(at.state);
  const isWarm = isComplete && again.length === 0;
  const noted = at.state.books.noted[at.epoch] ?? 0;
  return withWriter(at.state, who, {
    phase: 'compared',
    epoch: at.epoch,
    seq: at.seq,
    operation: at.operation,
    again,
    coldBelow: isWarm
      ? at.state.books.epochs.find((row) => row.epoch === at.epoch)!.coldBelow
      : writer.opening,
    lostTo: noted > at.seq ? noted : 0,
  });
};

function rowOf({ opening, epoch, seq, coldBelow, lostTo, identity }: Writer): EpochRow {
  const lostFrom = lostTo > 0 ? seq + 1 : 0;
  return { epoch: opening, previous: epoch, previousLastSeq: seq, coldBelow, lostFrom, lostTo, identity };
}

function isReplaced({ identity }: State, begun: number, { without }: Protocol): boolean {
  return identity !== begun && without !== 'identity';
}

/**
 * openEpochInJournal(): the opening record and what is booked again behind it, in one script; then the identity is looked
 * at. (One that changes in between is the same as one that changes before.)
 */
export const open: Make = (state, { who }, protocol) => {
  const { without } = protocol;
  const writer = state.writers[who]!;
  if (writer.phase !== 'compared') return undefined;
  const { opening: epoch, again } = writer;
  const first: Entry = { epoch, seq: 0, operation: opened, says: { ...rowOf(writer), identity: 0 } };
  const all = [
    ...(without === 'opening record' ? [] : [first]),
    ...again.map((operation, i) => ({ epoch, seq: i + 1, operation })),
  ];
  const { lastEpoch, lastSeq, journal } = state.memory;
  const head = all[0];
  if (head && (epoch < lastEpoch || (epoch === lastEpoch && head.seq <= lastSeq)))
    return withWriter(state, who, nobody);
  const last = all.at(-1);
  const change = last
    ? { journal: [...(journal ?? []), ...all], lastEpoch: last.epoch, lastSeq: last.seq }
    : {};
  const isRefused = without !== 'identity at the opening' && isReplaced(state, writer.identity, protocol);
  // A member that was read in the books before what is booked again is in them must not be installed.
  const isLate = again.length > 0 && without !== 'loads behind what is booked again';
  const evicted = isLate ? { evictedEpoch: epoch, evictedSeq: again.length } : {};
  const opening = withWriter(state, who, isRefused ? nobody : { phase: 'opened' });
  return withMemory(opening, { ...change, ...evicted });
};

/** openEpochInBooks(): the epoch's row and the position commit together, where lease and position are still these. */
export const commit: Make = (state, { who }, { without }) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'opened') return undefined;
  const { books } = state;
  const { opening, epoch, seq } = writer;
  const isMine = holdsLease(books, who, writer) && books.epoch === epoch && books.seq === seq;
  const isAllowed = isMine || without === 'lease term' || without === 'lease at the commit';
  if (!isAllowed || books.epochs.some((row) => row.epoch === opening)) return withWriter(state, who, nobody);
  const begun = { ...books, epoch: opening, seq: 0, epochs: [...books.epochs, rowOf(writer)] };
  const position = { epoch: opening, seq: 0, operation: opened };
  return withWriter({ ...state, books: begun }, who, { phase: 'committed', ...position });
};

/** letServe(): what recovery put into the epoch is written, behind its own opening record and no other. */
export const book: Make = (state, { who }, protocol) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'committed') return undefined;
  const turn = turnOf(state.memory, writer, protocol);
  if (!turn && protocol.without !== 'opening record') return withWriter(state, who, nobody);
  const after = turn ? written(state, who, turn, protocol) : state;
  if (!after) return withWriter(state, who, nobody);
  return withWriter(after, who, isReplaced(after, writer.identity, protocol) ? nobody : { phase: 'booked' });
};

/** loadScripts(): from now on whoever knows the epoch can call them. */
export const script: Make = (state, { who }) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'booked') return undefined;
  return withWriter({ ...state, scripts: state.scripts | (1 << writer.opening) }, who, { phase: 'loaded' });
};

/** The identity is looked at again; openEpoch() says whether the shard is served now. */
export const serve: Make = (state, { who }, protocol) => {
  const writer = state.writers[who]!;
  if (writer.phase !== 'loaded') return undefined;
  if (isReplaced(state, writer.identity, protocol)) return withWriter(state, who, nobody);
  const { term, epoch, seq, operation } = writer;
  const phase = isOpen(state, epoch, protocol) ? 'serving' : 'recovering';
  return withWriter(state, who, { ...nobody, phase, term, epoch, seq, operation });
};
