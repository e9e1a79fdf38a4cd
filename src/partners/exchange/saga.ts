/**
 * Drives an exchange from its row alone, so that any process can finish what another began, and several may work on one at once.
 * No point is created or lost between two programs, also where the answer never comes.
 *
 *   out   quoted ─► holding ─► ready ─► calling ─────► capturing ─► completed   the points are held, then given there, then leave here
 *                      │         │         │ ▲ └─► waiting                      there they are pending; it is inquired
 *                      │         │         │ └───────┘
 *                      ├─────────┴─────────┴──► releasing ─► refused            the wallet or the partner refused, for good
 *                      └─────────┴────────────► releasing ─► reversed           cancelled: nothing had been sent
 *                                          └──► undoing ─► releasing ─► refused   a repeat was refused, an earlier send may still arrive
 *
 *   in    quoted ─► ready ─► calling ─► crediting ─► completed                  they are taken there, then credited here
 *                              │            └──► undoing ─► reversed            the member cannot have them: they are given back there
 *                              ├──► undoing ─► refused                          a repeat was refused, an earlier send may still arrive
 *                              └──► refused
 *
 *   every state under way ──► in_review                                         a person decides: `npm run exchanges -- resolve`
 *
 * What becomes of an exchange is decided in its row, once; wallet and partner follow from it, under references made of its id.
 *
 * An answer that did not come leaves the exchange in doubt. Then the partner is inquired; where it has never heard of the
 * reference, or cannot say, the same is sent again under the same reference, which the protocol answers with what was done the
 * first time. An answer that the reference stands for something else, or for what has left the partner's books, is such a doubt
 * too: points may have moved under it. After `doubtsMax` tries it is parked in review, and so is a step that fails `faultsMax` times in a row. Nothing is released or credited on a guess:
 * `releasing` follows only from a refusal of what was sent once, from what the partner keeps as failed or has undone, or from calls
 * that certainly never reached it. A refusal of a repeat says nothing about what was sent before and may still arrive: that is
 * undone there first, which uses the reference up where it never arrived (`voidIfMissing`).
 *
 * Invariants
 * - Out: points leave the hold only to the account `partner`, and only after the partner said that it has them; they go back to
 *   their lots only after it said that it never will, or nothing was ever sent. In: points are credited only after the partner
 *   said that they were taken, once, and given back there only when they can never be credited.
 * - `calling` is written, with its step, before anything is sent (`beginCall`); only before it an exchange can be cancelled.
 * - What a partner says against what was decided here, such as a success after a release, moves nothing: it is a break, which is
 *   recorded, counted and told, and looked for (`checking.ts`).
 */
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { OperationHex } from '#src/values.ts';
import type { ExchangeContext } from './context.ts';
import { type Fault, faultOf, tryAgain } from './faults.ts';
import { createPartnerSteps, type Onward, partnerRefusal } from './partner-steps.ts';
import { leaseMs } from './policy.ts';
import { type Change, changedBy, holdStatus, postpone, readExchange, type Step } from './rows.ts';
import { type Exchange, isEnded, type Refusal, type State } from './types.ts';
import { createWalletSteps, StepRefused } from './wallet-steps.ts';

export interface Saga {
  /** Drives an exchange to its end, or as far as it comes until the deadline; answers how it stands then. */
  drive(exchange: OperationHex | Exchange, deadlineMs: number): Promise<Exchange>;
}

/** More than any exchange takes whose partner answers. */
const stepsMax = 16;
/** The wallet has done it, and the books do not have it yet. */
const unwritten: Fault = { word: 'not_written', isPassing: true };
const merging: Fault = { word: 'member_merging', isPassing: true };

function isDriven(exchange: Exchange): boolean {
  return !isEnded(exchange) && exchange.state !== 'quoted' && exchange.state !== 'in_review';
}

/** Words of the wallet that are codes of the API as they are. */
function walletRefusal(word: string): Refusal {
  switch (word) {
    case 'insufficient_points':
    case 'member_not_active':
    case 'member_merging':
    case 'spending_frozen':
    case 'balance_limit':
      return { code: word, fields: {} };
    default:
      return partnerRefusal(word);
  }
}

export function createSaga(context: ExchangeContext): Saga {
  const { pool, patience, identity, gathered } = context;
  const wallet = createWalletSteps(context);
  const partner = createPartnerSteps(context);

  async function advance(exchange: Exchange, change: Change, step: Step): Promise<Onward> {
    const isMade = await gathered.advance({ exchange: exchange.exchange, change, step });
    return isMade ? changedBy(exchange, change) : true;
  }

  /** It is tried again, not without end. */
  async function again(exchange: OperationHex, fault: Fault): Promise<boolean> {
    const tried = await tryAgain(pool, exchange, fault, patience);
    if (tried) {
      const outcome = tried.isParked ? 'in_review' : fault.isPassing ? 'waits' : 'fails';
      context.telemetry.metrics.exchangeFaults.inc({ action: tried.action, outcome });
    }
    return false;
  }
  async function hold(program: Program, exchange: Exchange, deadlineMs: number): Promise<Onward> {
    const result = await wallet.hold(program, exchange);
    const from: readonly State[] = ['holding'];
    if ('refused' in result) {
      if (!(await wallet.isWritten(result.by, deadlineMs))) return again(exchange.exchange, unwritten);
      const change: Change = { to: 'refused', from, dueMs: null, refusal: walletRefusal(result.refused) };
      return advance(exchange, change, { action: 'hold', outcome: result.refused });
    }
    if (!(await wallet.isWritten(result.held, deadlineMs))) return again(exchange.exchange, unwritten);
    const change: Change = { to: 'ready', from, dueMs: leaseMs(patience), hold: result.held.operation };
    return advance(exchange, change, { action: 'hold', outcome: 'held' });
  }

  async function capture(program: Program, exchange: Exchange, deadlineMs: number): Promise<Onward> {
    const captured = await wallet.capture(program, exchange, exchange.hold!);
    if (!(await wallet.isWritten(captured, deadlineMs))) return again(exchange.exchange, unwritten);
    const change: Change = { to: 'completed', from: ['capturing'], dueMs: null, moved: captured.operation };
    return advance(exchange, change, { action: 'capture', outcome: 'completed' });
  }

  /** Undefined where the books say that something else has released it: then the points are back as well. */
  async function releasedHold(program: Program, exchange: Exchange, hold: OperationHex) {
    try {
      return await wallet.release(program, exchange, hold);
    } catch (error) {
      const isOver = error instanceof StepRefused && (await holdStatus(pool, hold)) === 'released';
      if (!isOver) throw error;
      return undefined;
    }
  }

  async function release(program: Program, exchange: Exchange, deadlineMs: number): Promise<Onward> {
    let hold = exchange.hold;
    if (!hold) {
      const result = await wallet.voidHold(program, exchange, 'cancelled');
      if ('refused' in result && !(await wallet.isWritten(result.by, deadlineMs)))
        return again(exchange.exchange, unwritten);
      hold = 'held' in result ? result.held.operation : undefined;
    }
    if (hold) {
      const released = await releasedHold(program, exchange, hold);
      if (released && !(await wallet.isWritten(released, deadlineMs)))
        return again(exchange.exchange, unwritten);
    }
    const to = exchange.refusal ? 'refused' : 'reversed';
    const change: Change = { to, from: ['releasing'], dueMs: null, hold };
    return advance(exchange, change, { action: 'release', outcome: to });
  }

  async function credit(program: Program, exchange: Exchange, deadlineMs: number): Promise<Onward> {
    const { refusal: decided } = exchange;
    // A person has decided that it goes back.
    const result = decided
      ? await wallet.voidCredit(program, exchange, String(decided.fields.reason ?? decided.code))
      : await wallet.credit(program, exchange);
    const from: readonly State[] = ['crediting'];
    if (result === 'undecided') return again(exchange.exchange, merging);
    if ('refused' in result) {
      // Only what the books have is so whatever becomes of Redis, and only then it is given back there.
      if (!(await wallet.isWritten(result.by, deadlineMs))) return again(exchange.exchange, unwritten);
      const refusal = walletRefusal(result.refused);
      const change: Change = { to: 'undoing', from, dueMs: leaseMs(patience), refusal, tries: 0 };
      return advance(exchange, change, { action: 'credit', outcome: result.refused });
    }
    if (!(await wallet.isWritten(result.credited, deadlineMs))) return again(exchange.exchange, unwritten);
    const change: Change = { to: 'completed', from, dueMs: null, moved: result.credited.operation };
    return advance(exchange, change, { action: 'credit', outcome: 'completed' });
  }

  /** One step of an exchange. False: it has to wait. */
  function step(exchange: Exchange, deadlineMs: number): Promise<Onward> {
    const program = context.programs.get(exchange.program);
    if (!program) throw new Problem('not_ready', 'the program of the exchange is not loaded');
    switch (exchange.state) {
      case 'holding':
        return hold(program, exchange, deadlineMs);
      case 'ready':
      case 'calling':
      case 'waiting':
        return partner.call(exchange);
      case 'capturing':
        return capture(program, exchange, deadlineMs);
      case 'releasing':
        return release(program, exchange, deadlineMs);
      case 'crediting':
        return credit(program, exchange, deadlineMs);
      case 'undoing':
        return partner.undo(exchange);
      default:
        return Promise.resolve(false);
    }
  }

  async function driven(id: OperationHex, begun: Exchange | undefined, deadlineMs: number) {
    let exchange = begun ?? (await readExchange(pool, identity, id));
    let goesOn = true;
    for (let steps = 0; goesOn && exchange && isDriven(exchange) && steps < stepsMax; steps += 1) {
      if (Date.now() > deadlineMs) {
        await postpone(pool, id, 0);
        break;
      }
      const onward = await step(exchange, deadlineMs);
      goesOn = onward !== false;
      exchange = typeof onward === 'object' ? onward : await readExchange(pool, identity, id);
    }
    return exchange;
  }

  return {
    async drive(begun, deadlineMs) {
      const [id, known] = typeof begun === 'string' ? [begun, undefined] : [begun.exchange, begun];
      let exchange: Exchange | undefined;
      try {
        exchange = await driven(id, known, deadlineMs);
      } catch (error) {
        // Where PostgreSQL cannot be asked, the lease ends by itself.
        await again(id, faultOf(error)).catch(() => {});
        throw error;
      }
      if (!exchange) throw new Problem('not_found');
      return exchange;
    },
  };
}
