/**
 * What an exchange does in the wallet. Every step has a reference that is made of the exchange, so that whoever runs it, however
 * often, it is done once for ever.
 *
 * Points that go out are held first, without an end, so that what was decided can always be done. Points that come in are credited
 * to the member, or to the survivor where the member has been merged since.
 *
 * A hold or a credit that the wallet refuses is made impossible before anything follows from the refusal: a record that moves nothing
 * takes its reference (`void`), and where another process has made it meanwhile, that is answered instead. The wallet itself
 * remembers a refusal for twenty minutes and in one member; a void is in the books, and follows merges as a credit does.
 */
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { heldLegs } from '#src/ledger/postings.ts';
import { type Step, tryStep, waitUntil } from '#src/members/engine.ts';
import { lotPartyFor } from '#src/partners/contracts/arithmetic.ts';
import { expiryOf } from '#src/partners/inbound/expiry.ts';
import type { EpochMs, MemberNumber, OperationHex, Soon } from '#src/values.ts';
import type { Attempt, Recorded } from '#src/wallet/operations.ts';
import type { ExchangeContext } from './context.ts';
import { restorableOf } from './restorable.ts';
import { type Exchange, exchangeId } from './types.ts';

/** It never can be made any more, as soon as the books have `by`. */
export interface Voided {
  readonly refused: string;
  readonly by: Recorded;
}
export type Held = { readonly held: Recorded } | Voided;
/** `undecided`: for the moment, as while the member is being merged. */
export type Credited = { readonly credited: Recorded } | Voided | 'undecided';

/** The wallet will not do what was decided: asked again, it says the same. */
export class StepRefused extends Error {
  readonly word: string;
  constructor(kind: string, reference: string, word: string) {
    super(`the step ${kind} ${reference} was refused: ${word}`);
    this.name = 'StepRefused';
    this.word = word;
  }
}

export type WalletContext = Pick<ExchangeContext, 'operations' | 'judgedMember' | 'partners'>;

export interface WalletSteps {
  /** Holds what goes out. */
  hold(program: Program, exchange: Exchange): Promise<Held>;
  /** Uses the hold's reference up, unless somebody has made the hold. */
  voidHold(program: Program, exchange: Exchange, why: string): Promise<Held>;
  capture(program: Program, exchange: Exchange, hold: OperationHex): Promise<Recorded>;
  release(program: Program, exchange: Exchange, hold: OperationHex): Promise<Recorded>;
  credit(program: Program, exchange: Exchange): Promise<Credited>;
  /** Uses the credit's reference up, unless somebody has made the credit. */
  voidCredit(program: Program, exchange: Exchange, why: string): Promise<Credited>;
  /** Whether the ledger has it by the deadline. */
  isWritten(recorded: Recorded, deadlineMs: number): Promise<boolean>;
}

/** A merge of a merge of a merge; each makes the chain shorter. */
const mergesMax = 5;
const barrierMs = 2_000;

/** Kept in the books with the movement. The fee is money, so that whoever settles finds it beside the points it is for. */
function bodyOf({ exchange, partner, terms }: Exchange) {
  const { rate, fee } = terms;
  return { exchange: exchangeId(exchange), partner, rate, ...(fee === null ? {} : { fee }) };
}

function stepOf(program: Program, exchange: Exchange, what: string): Omit<Step, 'script' | 'kind' | 'input'> {
  const reference = `${exchangeId(exchange.exchange)}/${what}`;
  const { contract } = exchange.terms;
  // By this version clearing prices it (`clearing/entries.ts`); the one of the moment when points move may be another.
  const request = { ...(contract === undefined ? {} : { contract }), body: bodyOf(exchange) };
  return { program, member: exchange.member, reference, request };
}

function holdStep(program: Program, exchange: Exchange): Step {
  const parts = [[exchange.currency, exchange.ownPoints]];
  const step = stepOf(program, exchange, 'hold');
  // The hold says all that its exchange is made of again where PostgreSQL has come back without the row (`restoring.ts`).
  const request = { ...step.request, body: { ...bodyOf(exchange), restore: restorableOf(exchange) } };
  return { ...step, request, script: 'hold', kind: 'hold', input: { parts } };
}

/** Takes the place of what was refused: a record that moves nothing and says why. */
function voidOf(step: Step, why: string, input: object): Step {
  const body = { ...(step.request.body as object), refused: why };
  return { ...step, request: { ...step.request, body }, script: 'receive', input };
}

/** When lots end, and who stands behind them. */
interface LotTerms {
  readonly ends: EpochMs;
  readonly party: number;
}

function creditStep(
  program: Program,
  exchange: Exchange,
  member: MemberNumber,
  { ends, party }: LotTerms,
): Step {
  return {
    ...stepOf(program, exchange, 'credit'),
    member,
    script: 'accrue',
    kind: 'exchange_in',
    // The script reads it as text: in this order.
    input: {
      awards: [[exchange.currency, exchange.ownPoints, ends, 0, party]],
      account: 'partner',
      party: exchange.partner,
    },
  };
}

function refusedBy({ request }: Recorded): string | undefined {
  const { refused } = request.body as { readonly refused?: unknown };
  return typeof refused === 'string' ? refused : undefined;
}

function heldOr(recorded: Recorded): Held {
  // A hold of before voids said why they are has nothing in it either.
  const refused = refusedBy(recorded) ?? (heldLegs(recorded.effect).length > 0 ? undefined : 'refused');
  return refused === undefined ? { held: recorded } : { refused, by: recorded };
}

export function createWalletSteps({ operations, judgedMember, partners }: WalletContext): WalletSteps {
  /** When points that come in now end for the member. A number that nobody has is refused by the script. */
  async function endOf(program: Program, { currency }: Exchange, member: MemberNumber): Promise<EpochMs> {
    const facts = await operations.lookup.member(program.number, member);
    const own = program.currencyByNumber.get(currency);
    return facts && own ? expiryOf(judgedMember, program, own, programNow(program), facts) : 0;
  }

  /** The party of the lots that points come in, by the contract that the exchange was quoted by. */
  async function partyOf({ partner, terms }: Exchange): Promise<number> {
    const contracts = (await partners.numbered(partner))?.contracts;
    return lotPartyFor(
      partner,
      contracts?.find(({ version }) => version === terms.contract),
    );
  }

  /** Tries a step; answers what it did, or the word that it was refused with. Throws where nobody knows. */
  async function tried(step: Step): Promise<Recorded | Extract<Attempt, { status: 'refused' }>> {
    const outcome = await tryStep(operations, step);
    if (outcome.status === 'performed') return outcome.recorded;
    if (outcome.status === 'refused') return outcome;
    throw new Problem('outcome_unknown', `the wallet answered ${outcome.status}`);
  }

  async function settled(step: Step): Promise<Recorded> {
    const outcome = await tried(step);
    if (!('status' in outcome)) return outcome;
    throw new StepRefused(step.kind, step.reference, outcome.code);
  }

  /** A step of the member, or of whoever the member has become by merges. */
  async function ofSurvivor(
    exchange: Exchange,
    stepFor: (member: MemberNumber) => Soon<Step>,
  ): ReturnType<typeof tried> {
    let member = exchange.member;
    for (let merges = 0; merges < mergesMax; merges += 1) {
      const outcome = await tried(await stepFor(member));
      if (!('status' in outcome) || outcome.code !== 'member_merged') return outcome;
      // What was decided before the merge must be in the books before anybody looks for it there.
      const shard = operations.wallet.shardOf(member);
      if ((await operations.wallet.readBarrier(shard, barrierMs)) === 'timeout')
        throw new Problem('not_ready');
      member = Number(outcome.details.into) as MemberNumber;
    }
    throw new Problem('member_merging');
  }

  function creditedOr(recorded: Recorded): Credited {
    const refused = refusedBy(recorded);
    return refused === undefined ? { credited: recorded } : { refused, by: recorded };
  }

  async function voidHold(program: Program, exchange: Exchange, why: string): Promise<Held> {
    const input = { lots: [], debts: [], back: true };
    return heldOr(await settled(voidOf(holdStep(program, exchange), why, input)));
  }

  async function voidCredit(program: Program, exchange: Exchange, why: string): Promise<Credited> {
    const input = { lots: [], debts: [], void: true };
    const outcome = await ofSurvivor(exchange, (member) =>
      voidOf(creditStep(program, exchange, member, { ends: 0, party: 0 }), why, input),
    );
    return 'status' in outcome ? 'undecided' : creditedOr(outcome);
  }

  return {
    voidHold,
    voidCredit,
    async credit(program, exchange) {
      const outcome = await ofSurvivor(exchange, async (member) =>
        creditStep(program, exchange, member, {
          ends: await endOf(program, exchange, member),
          party: await partyOf(exchange),
        }),
      );
      if (!('status' in outcome)) return creditedOr(outcome);
      // A merge is through in seconds, and then the survivor can have them.
      if (outcome.code === 'member_merging') return 'undecided';
      return voidCredit(program, exchange, outcome.code);
    },
    async hold(program, exchange) {
      const outcome = await tried(holdStep(program, exchange));
      if (!('status' in outcome)) return heldOr(outcome);
      return voidHold(program, exchange, String(outcome.details.code ?? outcome.code));
    },
    capture: (program, exchange, hold) =>
      settled({
        ...stepOf(program, exchange, 'capture'),
        script: 'settle',
        kind: 'exchange_out',
        input: { hold, mode: 'capture', parts: [], account: 'partner', party: exchange.partner },
        origins: [hold],
      }),
    release: (program, exchange, hold) =>
      settled({
        ...stepOf(program, exchange, 'release'),
        script: 'settle',
        kind: 'release',
        input: { hold, mode: 'release', parts: [] },
        origins: [hold],
      }),
    isWritten: async (recorded, deadlineMs) =>
      (await operations.reach(recorded, 'ledger', waitUntil(deadlineMs))) === 'ledger',
  };
}
