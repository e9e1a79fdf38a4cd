/**
 * The protocol as steps between states: what `wallet/scripts/*.lua`, `wallet/load.ts`, `ledger/writer.ts`,
 * `ledger/fence.ts`, `lineage.ts`, `reissued.ts`, `recovery.ts` and the takeover of a lease do, each step as large as what really happens at once (one script, one
 * database transaction, one command) and no larger, so that everything else can come in between.
 *
 * A crash needs no step of its own: a process that never takes its next step has crashed, and `take` starts a writer anew.
 * An acknowledgement at `ledger` needs none either: `search.ts` asks in every state who would be acknowledged in it.
 *
 * Simpler than they are: an API's note of its highest acknowledged number is written with the acknowledgement (really up
 * to a second later, for which recovery waits 1.3 s), and written records are trimmed at once.
 */
import { counted, type Make, type Protocol, type Step, type Verb } from './protocol.ts';
import { book, commit, compare, fence, look, open, script, serve } from './recovering.ts';
import { accrue, evict, install, refresh, snapshot } from './serving.ts';
import type { Memory, State } from './state.ts';
import { read, take, trim, write } from './writing.ts';

const emptyMemory: Memory = {
  journal: undefined,
  lastEpoch: 0,
  lastSeq: 0,
  members: [undefined, undefined],
  evictedEpoch: 0,
  evictedSeq: 0,
};

const makers: Readonly<Record<Verb, Make>> = {
  accrue,
  snapshot,
  install,
  evict,
  refresh,
  read,
  write,
  trim,
  take,
  look,
  fence,
  compare,
  open,
  commit,
  book,
  script,
  serve,
  /** Redis restarts on its own data: it has another identity and no scripts. */
  restart: (state, _, protocol) =>
    counted({ ...state, scripts: 0, identity: state.identity + 1 }, 'restarts', protocol),
  /** FLUSHALL keeps the script cache and the identity. */
  wipe: (state, _, protocol) => counted({ ...state, memory: emptyMemory }, 'wipes', protocol),
  copy: (state, _, protocol) => counted({ ...state, copy: state.memory }, 'copies', protocol),
  /** A truncated file or a replica that was behind: older data, and no scripts. */
  return: (state, _, protocol) =>
    counted({ ...state, memory: state.copy, scripts: 0, identity: state.identity + 1 }, 'returns', protocol),
  /** A master that was demoted, resynchronised from an older copy and promoted again keeps its script cache. */
  resync: (state, _, protocol) =>
    counted({ ...state, memory: state.copy, identity: state.identity + 1 }, 'resyncs', protocol),
  /** Older data put into a Redis that runs: nothing but the data changes. */
  reload: (state, _, protocol) => counted({ ...state, memory: state.copy }, 'reloads', protocol),
};

/** The state after a step; undefined where the step cannot be taken or changes nothing. */
export function after(state: State, step: Step, protocol: Protocol): State | undefined {
  return makers[step.verb](state, step, protocol);
}
