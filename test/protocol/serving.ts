/** What the APIs and the scripts they call do. */
import { counted, fenced, isOurs, type Make, type Protocol, replaced, withMemory } from './protocol.ts';
import { coldBelow, hasScripts, inBooks, type Memory, type State } from './state.ts';

/** prelude.lua, is_other_history(): the scripts of an epoch run only on the data that it was opened on. */
export function mayCall(state: State, epoch: number, protocol: Protocol): boolean {
  if (!hasScripts(state, epoch)) return false;
  return protocol.without === 'history' || isOurs(state, epoch, protocol);
}

/** XADD NOMKSTREAM <epoch>-*: the number that Redis gives, undefined where it refuses. */
function appended(
  memory: Memory,
  epoch: number,
  operation: number,
): { seq: number; change: Partial<Memory> } | undefined {
  if (!memory.journal || memory.lastEpoch > epoch) return undefined;
  const seq = memory.lastEpoch === epoch ? memory.lastSeq + 1 : 0;
  return {
    seq,
    change: { journal: [...memory.journal, { epoch, seq, operation }], lastEpoch: epoch, lastSeq: seq },
  };
}

/** accrue.lua by the scripts of the epoch that the API knows. A cold member or a fence change nothing. */
export const accrue: Make = (state, { who, member }, protocol) => {
  const { without, bounds } = protocol;
  const { epoch } = state.apis[who]!;
  const hot = state.memory.members[member];
  if (state.issued.length >= bounds.operations || !mayCall(state, epoch, protocol)) return undefined;
  if (!hot || hot.epoch < coldBelow(state.books, epoch)) return undefined;
  const operation = state.issued.length;
  const into = without === 'fence' ? Math.max(epoch, state.memory.journal?.at(-1)?.epoch ?? 0) : epoch;
  const record = appended(state.memory, into, operation);
  if (!record) return undefined;
  const { seq, change } = record;
  const members = replaced(state.memory.members, member, {
    epoch,
    seq,
    operations: hot.operations | (1 << operation),
  });
  const noted = replaced(state.books.noted, into, Math.max(state.books.noted[into] ?? 0, seq));
  return {
    ...withMemory(state, { ...change, members }),
    books: { ...state.books, noted },
    issued: [...state.issued, { member, epoch: into, seq }],
  };
};

/**
 * The books are read in one snapshot (load.ts), after a script answered `cold`: some time after, so whether Redis still
 * answers at all says nothing.
 */
export const snapshot: Make = (state, { who, member }, protocol) => {
  const api = state.apis[who]!;
  const hot = state.memory.members[member];
  if (api.load) return undefined;
  if (hot && hot.epoch >= coldBelow(state.books, api.epoch)) return undefined;
  const { epoch, seq } = state.books;
  const load = { member, epoch, seq, operations: inBooks(state, member) };
  return counted({ ...state, apis: replaced(state.apis, who, { ...api, load }) }, 'loads', protocol);
};

/** load.lua: installs a snapshot by the scripts of the epoch that the API knows now. */
export const install: Make = (state, { who }, protocol) => {
  const api = state.apis[who]!;
  const { load, epoch } = api;
  if (!load) return undefined;
  const given = { ...state, apis: replaced(state.apis, who, { epoch, load: undefined }) };
  const { memory, books } = state;
  if (!mayCall(state, epoch, protocol) || fenced(memory, epoch)) return given;
  const hot = memory.members[load.member];
  if (hot && hot.epoch >= coldBelow(books, epoch)) return given;
  if (load.epoch !== epoch) return given;
  const isOld = memory.evictedEpoch === epoch && load.seq < memory.evictedSeq;
  if (isOld && protocol.without !== 'evictedThrough') return given;
  const installed = { epoch, seq: 0, operations: load.operations };
  return withMemory(given, { members: replaced(memory.members, load.member, installed) });
};

/** jobs/eviction.ts and evict.lua: the written position of the API's own epoch goes into the script. */
export const evict: Make = (state, { who, member }, protocol) => {
  const { epoch } = state.apis[who]!;
  const { memory, books } = state;
  const hot = memory.members[member];
  if (!hot || books.epoch !== epoch || !mayCall(state, epoch, protocol)) return undefined;
  if (fenced(memory, epoch)) return undefined;
  const seq = hot.epoch === epoch ? hot.seq : 0;
  if (seq > books.seq && protocol.without !== 'drained check') return undefined;
  const before = memory.evictedEpoch === epoch ? memory.evictedSeq : 0;
  const members = replaced(memory.members, member, undefined);
  const evicted = withMemory(state, { members, evictedEpoch: epoch, evictedSeq: Math.max(before, seq) });
  return counted(evicted, 'evictions', protocol);
};

/** epochs.ts: an API learns the newest epoch. */
export const refresh: Make = (state, { who }) => {
  const api = state.apis[who]!;
  const { epoch } = state.books.epochs.reduce((a, b) => (b.epoch > a.epoch ? b : a));
  return epoch === api.epoch ? undefined : { ...state, apis: replaced(state.apis, who, { ...api, epoch }) };
};
