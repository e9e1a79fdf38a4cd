/**
 * What an exchange does in the wallet. Every step has a reference that is made of the exchange, so that whoever runs it, however
 * often, it is done once for ever.
 *
 * Points that go out are held first, without an end, so that what was decided can always be done; a hold whose exchange is over
 * before it is made is made impossible (`void`). Points that come in are credited to the member, or to the survivor where the
 * member has been merged since.
 */
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { heldLegs } from '#src/ledger/postings.ts';
import { type Step, takeStep, tryStep, waitUntil } from '#src/members/engine.ts';
import { expiryOf } from '#src/partners/inbound/expiry.ts';
import type { EpochMs, MemberNumber, OperationHex } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import type { ExchangeContext } from './context.ts';
import { restorableOf } from './restorable.ts';
import { type Exchange, exchangeId } from './types.ts';

export type Held = { readonly held: Recorded } | { readonly refused: string };
export type Credited = { readonly credited: Recorded } | { readonly refused: string };

export type WalletContext = Pick<ExchangeContext, 'operations' | 'judgedMember'>;

export interface WalletSteps {
  /** Holds what goes out. */
  hold(program: Program, exchange: Exchange): Promise<Held>;
  /** Uses the hold's reference up; answers the hold where somebody has made it. */
  voided(program: Program, exchange: Exchange): Promise<Recorded | undefined>;
  capture(program: Program, exchange: Exchange, hold: OperationHex): Promise<Recorded>;
  release(program: Program, exchange: Exchange, hold: OperationHex): Promise<Recorded>;
  credit(program: Program, exchange: Exchange): Promise<Credited>;
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

/** Takes the place of the hold: a record that moves nothing. */
function voidStep(program: Program, exchange: Exchange): Step {
  return { ...holdStep(program, exchange), script: 'receive', input: { lots: [], debts: [], back: true } };
}

function creditStep(program: Program, exchange: Exchange, member: MemberNumber, ends: EpochMs): Step {
  return {
    ...stepOf(program, exchange, 'credit'),
    member,
    script: 'accrue',
    kind: 'exchange_in',
    // The script reads it as text: in this order.
    input: {
      awards: [[exchange.currency, exchange.ownPoints, ends, 0, 0]],
      account: 'partner',
      party: exchange.partner,
    },
  };
}

const isHold = (recorded: Recorded) => heldLegs(recorded.effect).length > 0;

export function createWalletSteps({ operations, judgedMember }: WalletContext): WalletSteps {
  /** When points that come in now end for the member. A number that nobody has is refused by the script. */
  async function endOf(program: Program, { currency }: Exchange, member: MemberNumber): Promise<EpochMs> {
    const facts = await operations.lookup.member(program.number, member);
    const own = program.currencyByNumber.get(currency);
    return facts && own ? expiryOf(judgedMember, program, own, programNow(program), facts) : 0;
  }

  async function voided(program: Program, exchange: Exchange): Promise<Recorded | undefined> {
    const recorded = await takeStep(operations, voidStep(program, exchange));
    return isHold(recorded) ? recorded : undefined;
  }

  async function credit(program: Program, exchange: Exchange): Promise<Credited> {
    let member = exchange.member;
    for (let merges = 0; merges < mergesMax; merges += 1) {
      const ends = await endOf(program, exchange, member);
      const outcome = await tryStep(operations, creditStep(program, exchange, member, ends));
      if (outcome.status === 'performed') return { credited: outcome.recorded };
      if (outcome.status !== 'refused')
        throw new Problem('outcome_unknown', `the wallet answered ${outcome.status}`);
      if (outcome.code !== 'member_merged') return { refused: outcome.code };
      // What was credited before the merge must be in the books before anybody looks for it there.
      const shard = operations.wallet.shardOf(member);
      if ((await operations.wallet.readBarrier(shard, barrierMs)) === 'timeout')
        throw new Problem('not_ready');
      member = Number(outcome.details.into) as MemberNumber;
    }
    throw new Problem('member_merging');
  }

  return {
    voided,
    credit,
    async hold(program, exchange) {
      const outcome = await tryStep(operations, holdStep(program, exchange));
      if (outcome.status === 'performed')
        return isHold(outcome.recorded) ? { held: outcome.recorded } : { refused: 'refused' };
      if (outcome.status !== 'refused')
        throw new Problem('outcome_unknown', `the wallet answered ${outcome.status}`);
      const held = await voided(program, exchange);
      return held ? { held } : { refused: String(outcome.details.code ?? outcome.code) };
    },
    capture: (program, exchange, hold) =>
      takeStep(operations, {
        ...stepOf(program, exchange, 'capture'),
        script: 'settle',
        kind: 'exchange_out',
        input: { hold, mode: 'capture', parts: [], account: 'partner', party: exchange.partner },
        origins: [hold],
      }),
    release: (program, exchange, hold) =>
      takeStep(operations, {
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
