/**
 * Takes the points of a pool's redemption out of the wallets of its members. From rows alone, so that any process can finish what
 * another began; several may work on one redemption at once.
 *
 *   collecting ──decide──► capturing ──► redeemed       all of it is held; every hold is captured
 *       └───────refuse───► giving_back ──► refused      it cannot be had, or may not be spent any more; every hold is released
 *
 *   collecting ──decide──► held ──captured──► capturing ──► redeemed          a hold: what is not captured goes back
 *                            └──released, or its time has come──► releasing ──► released
 *
 *   a part:  planned ──► held ──► captured
 *               │          └───► returning ──► returned
 *               └──► void                               the wallet refused it, and it can never be held any more
 *
 * While it is collecting, plans are made from what the members have (`plan.ts`), each share is held by its member's own wallet, and
 * what a wallet refuses, because its member has spent meanwhile, is planned anew. Nothing is decided but in the row, once for ever:
 * the holds follow from it, never the other way round.
 *
 * Invariants
 * - A part is held at most once: its reference is made of redemption and part. A part that was refused is void only when that
 *   reference has been used up by a record that moves nothing, so that no slower process holds it later.
 * - `capturing` is decided only when the holds of exactly the price are in the ledger, and all of their members have places in the
 *   pool at that moment: whoever leaves locks the pool's row, and so does the decision.
 * - Holds of parts have no end and outlast closing (`status.lua`), and only what is written here settles them (`holds.ts` refuses
 *   others): what was decided can always be done.
 * - The points of one pool are collected for one redemption at a time (a unique index), so two that want the last points do not
 *   take half of them each and fail both.
 *
 * Members who are suspended, frozen, merging, merged or closed when a plan is made give nothing; the wallet's script decides it again when it
 * holds. What is held of a member that is merged afterwards is captured in the wallet where it is held; what is released there
 * moves on to the survivor like everything that comes late.
 */
import { isDeepStrictEqual } from 'node:util';
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { heldLegs } from '#src/ledger/postings.ts';
import { type Step, takeStep, tryStep, waitUntil } from '#src/members/engine.ts';
import { codeOf } from '#src/redemption/redemptions.ts';
import type { OperationHex } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import type { PoolsContext } from './context.ts';
import { expireHolds } from './hold-rows.ts';
import { poolId, poolMovementId } from './ids.ts';
import { lockPool, openPlaces, readPool } from './places.ts';
import { missingOf, type Price, planShares, sumOf } from './plan.ts';
import { partWorth } from './pricing.ts';
import { readPurses } from './reading.ts';
import {
  type Attempted,
  addParts,
  beginReturning,
  decideToPay,
  decideToRefuse,
  endRedemption,
  leftRedemptions,
  noteAttempts,
  noteCaptures,
  noteReturned,
  orderOf,
  type Part,
  type PoolRedemption,
  type RedemptionState,
  type Refusal,
  readRedemption,
  whileCollecting,
} from './redemption-rows.ts';

type Context = Pick<PoolsContext, 'operations' | 'pool' | 'programs'>;

export interface Collector {
  /** Drives a redemption until it has left the states, or as far as it comes until the deadline. */
  drive(redemption: OperationHex, deadlineMs: number, until: 'decided' | 'ended'): Promise<PoolRedemption>;
  /** Drives redemptions that nobody has worked on for two seconds. */
  resume(limit: number): Promise<{ finished: number; failed: number }>;
}

/** A member whose wallet refuses again and again what its reading offers (200 open holds) is left out then. */
const refusalsOfMemberMax = 3;
/** Twenty members in three rounds. Beyond it the members spend faster than anybody can collect. */
const partsMax = 60;
const stepsMax = 40;
const togetherMax = 8;
const resumeMs = 5_000;

const open: readonly RedemptionState[] = ['collecting', 'giving_back', 'capturing', 'releasing'];
const isOpen = ({ state }: PoolRedemption) => open.includes(state);
const isCollected = ({ state }: Part) => state === 'held' || state === 'captured';

function partStep(program: Program, whole: PoolRedemption, { part, member }: Part) {
  const { redemption, pool } = whole;
  const order = orderOf(whole);
  const body = { pool: poolId(pool), redemption: poolMovementId('prd', redemption), part };
  return { program, member, reference: `${redemption}/${part}`, request: { body }, order };
}

function holdStep(program: Program, redemption: PoolRedemption, part: Part): Step {
  const step = partStep(program, redemption, part);
  return { ...step, script: 'hold', kind: 'hold', input: { parts: part.points } };
}

/** Takes the place of the hold, so that it can never be made: a record that moves nothing. */
function voidStep(program: Program, redemption: PoolRedemption, part: Part): Step {
  return {
    ...holdStep(program, redemption, part),
    script: 'receive',
    input: { lots: [], debts: [], back: true },
  };
}

function settleStep(
  program: Program,
  redemption: PoolRedemption,
  part: Part,
  hold: OperationHex,
  mode: 'capture' | 'release',
): Step {
  const step = partStep(program, redemption, part);
  const { worth, value } = mode === 'capture' ? partWorth(redemption, part) : {};
  const body = { ...step.request.body, ...(value ? { value } : {}) };
  return {
    ...step,
    script: 'settle',
    kind: mode,
    input: { hold, mode, parts: mode === 'capture' ? part.points : [] },
    origins: [hold],
    request: { body, ...(worth ? { worth } : {}) },
  };
}

const isHold = (recorded: Recorded) => heldLegs(recorded.effect).length > 0;

export function createCollector(context: Context): Collector {
  const { operations, pool: database } = context;

  /** Uses the reference of a hold up; answers the hold where somebody has made it. */
  async function voided(
    program: Program,
    redemption: PoolRedemption,
    part: Part,
  ): Promise<Recorded | undefined> {
    const recorded = await takeStep(operations, voidStep(program, redemption, part));
    return isHold(recorded) ? recorded : undefined;
  }

  async function hold(
    program: Program,
    redemption: PoolRedemption,
    part: Part,
  ): Promise<Recorded | { readonly reason: string }> {
    const outcome = await tryStep(operations, holdStep(program, redemption, part));
    if (outcome.status === 'performed')
      return isHold(outcome.recorded) ? outcome.recorded : { reason: 'refused' };
    if (outcome.status !== 'refused')
      throw new Problem('outcome_unknown', `the wallet answered ${outcome.status}`);
    const reason = String(outcome.details.code ?? outcome.code);
    return (await voided(program, redemption, part)) ?? { reason };
  }

  /** Whether all of them are in the ledger by the deadline. */
  async function areWritten(recorded: readonly Recorded[], deadlineMs: number): Promise<boolean> {
    const reached = await Promise.all(
      recorded.map((each) => operations.reach(each, 'ledger', waitUntil(deadlineMs))),
    );
    return reached.every((level) => level === 'ledger');
  }

  /**
   * Changes a redemption that is as it was read. Where it is not, another process has gone on with it, and what was seen in the
   * wallets since may be its work: points that it holds are missing there.
   */
  function whileUnchanged(
    seen: PoolRedemption,
    work: (tx: pg.PoolClient) => Promise<unknown>,
  ): Promise<unknown> {
    return whileCollecting(database, seen.redemption, async (tx, present) => {
      if (isDeepStrictEqual(present.parts, seen.parts)) await work(tx);
    });
  }

  function refuse(seen: PoolRedemption, refusal: Refusal): Promise<unknown> {
    return whileUnchanged(seen, (tx) => decideToRefuse(tx, seen.redemption, refusal));
  }

  /** Holds what is planned, then decides where that is all. False: not everything is written yet. */
  async function holdPlanned(
    program: Program,
    redemption: PoolRedemption,
    deadlineMs: number,
  ): Promise<boolean> {
    const planned = redemption.parts.filter(({ state }) => state === 'planned');
    const results = await Promise.all(planned.map((part) => hold(program, redemption, part)));
    const made = results.filter((result): result is Recorded => 'operation' in result);
    if (!(await areWritten(made, deadlineMs))) return false;
    const attempts = planned.map(({ part }, i): Attempted => {
      const result = results[i]!;
      return [part, 'operation' in result ? { hold: result.operation } : result];
    });
    await whileCollecting(database, redemption.redemption, async (tx) => {
      await noteAttempts(tx, redemption.redemption, attempts);
    });
    return true;
  }

  /** Decides where all is held; otherwise sends back what is held of members who have left, and answers what to do next. */
  async function decide(redemption: PoolRedemption): Promise<void> {
    await whileCollecting(database, redemption.redemption, async (tx, present) => {
      const { program, pool: number, price, parts, spender } = present;
      const pool = await lockPool(tx, program, number);
      if (pool.dissolvedAt !== undefined)
        return decideToRefuse(tx, present.redemption, { code: 'pool_dissolved', fields: {} });
      const members = new Set((await openPlaces(tx, number)).map(({ member }) => member));
      if (!members.has(spender)) {
        const detail = 'the member has left the pool';
        return decideToRefuse(tx, present.redemption, { code: 'spender_not_allowed', detail, fields: {} });
      }
      const held = parts.filter(({ state }) => state === 'held');
      const strangers = held.filter(({ member }) => !members.has(member));
      if (strangers.length > 0) {
        const numbers = strangers.map(({ part }) => part);
        return beginReturning(tx, present.redemption, numbers);
      }
      const isAll =
        missingOf(
          price,
          held.map(({ points }) => points),
        ).length === 0;
      if (isAll && parts.every(({ state }) => state !== 'planned' && state !== 'returning'))
        await decideToPay(tx, present.redemption);
    });
  }

  /** Releases parts that are held. */
  async function giveBack(
    program: Program,
    redemption: PoolRedemption,
    parts: readonly Part[],
  ): Promise<void> {
    await Promise.all(
      parts.map((part) => takeStep(operations, settleStep(program, redemption, part, part.hold!, 'release'))),
    );
    const numbers = parts.map(({ part }) => part);
    await noteReturned(database, redemption.redemption, numbers);
  }

  async function plan(program: Program, redemption: PoolRedemption, missing: Price): Promise<void> {
    const { pool: number, parts, spender, redemption: id } = redemption;
    const pool = await readPool(database, program.number, number);
    if (pool.dissolvedAt !== undefined) {
      await refuse(redemption, { code: 'pool_dissolved', fields: {} });
      return;
    }
    const refused = (member: number) =>
      parts.filter((part) => part.member === member && part.state === 'void').length;
    const places = (await openPlaces(database, number)).filter(
      ({ member }) => refused(member) < refusalsOfMemberMax,
    );
    const purses = await readPurses(context, program, places);
    const shares = planShares(pool.policy.order, purses, spender, missing);
    if ('currency' in shares || parts.length + shares.length > partsMax) {
      const [currency, more] =
        'currency' in shares ? [shares.currency, shares.available] : [missing[0]![0], 0];
      const held = sumOf(parts.filter(isCollected).map(({ points }) => points)).get(currency) ?? 0;
      const required = redemption.price.find((part) => part[0] === currency)?.[1] ?? 0;
      const fields = { currency: codeOf(program, currency), available: held + more, required };
      await refuse(redemption, { code: 'insufficient_points', fields });
      return;
    }
    await whileUnchanged(redemption, (tx) => addParts(tx, id, parts.length + 1, shares));
  }

  /** One step of a redemption that is being collected. False: it has to wait for the ledger. */
  async function collect(program: Program, redemption: PoolRedemption, deadlineMs: number): Promise<boolean> {
    const { parts, price } = redemption;
    const returning = parts.filter(({ state }) => state === 'returning');
    if (returning.length > 0) {
      await giveBack(program, redemption, returning);
      return true;
    }
    if (parts.some(({ state }) => state === 'planned')) {
      return holdPlanned(program, redemption, deadlineMs);
    }
    const missing = missingOf(
      price,
      parts.filter(isCollected).map(({ points }) => points),
    );
    if (missing.length > 0) await plan(program, redemption, missing);
    else await decide(redemption);
    return true;
  }

  async function capture(program: Program, redemption: PoolRedemption, deadlineMs: number): Promise<boolean> {
    const returning = redemption.parts.filter(({ state }) => state === 'returning');
    if (returning.length > 0) await giveBack(program, redemption, returning);
    const held = redemption.parts.filter(({ state }) => state === 'held');
    const captured = await Promise.all(
      held.map((part) => takeStep(operations, settleStep(program, redemption, part, part.hold!, 'capture'))),
    );
    if (!(await areWritten(captured, deadlineMs))) return false;
    await noteCaptures(
      database,
      redemption.redemption,
      held.map(({ part }, i) => [part, captured[i]!.operation]),
    );
    await endRedemption(database, redemption.redemption, 'capturing');
    return true;
  }

  async function refused(program: Program, redemption: PoolRedemption): Promise<boolean> {
    const open = redemption.parts.filter(({ state }) => ['planned', 'held', 'returning'].includes(state));
    const attempts: Attempted[] = [];
    for (const part of open.filter(({ state }) => state === 'planned')) {
      const made = await voided(program, redemption, part);
      attempts.push([part.part, made ? { hold: made.operation } : { reason: 'refused' }]);
    }
    if (attempts.length > 0) {
      await noteAttempts(database, redemption.redemption, attempts);
      return true;
    }
    await giveBack(program, redemption, open);
    await endRedemption(database, redemption.redemption, 'giving_back');
    return true;
  }

  async function release(program: Program, redemption: PoolRedemption): Promise<boolean> {
    await giveBack(
      program,
      redemption,
      redemption.parts.filter(({ state }) => state === 'held'),
    );
    await endRedemption(database, redemption.redemption, 'releasing');
    return true;
  }

  function step(program: Program, redemption: PoolRedemption, deadlineMs: number): Promise<boolean> {
    switch (redemption.state) {
      case 'collecting':
        return collect(program, redemption, deadlineMs);
      case 'giving_back':
        return refused(program, redemption);
      case 'releasing':
        return release(program, redemption);
      default:
        return capture(program, redemption, deadlineMs);
    }
  }

  async function drive(
    id: OperationHex,
    deadlineMs: number,
    until: 'decided' | 'ended',
  ): Promise<PoolRedemption> {
    let redemption = await readRedemption(database, id);
    for (let steps = 0; redemption && isOpen(redemption) && steps < stepsMax; steps += 1) {
      if (until === 'decided' && redemption.state === 'capturing') break;
      const program = context.programs.get(redemption.program);
      if (!program) throw new Problem('not_ready', 'the program of the redemption is not loaded');
      if (!(await step(program, redemption, deadlineMs))) break;
      redemption = await readRedemption(database, id);
    }
    if (!redemption) throw new Problem('not_found');
    return redemption;
  }

  async function resume(limit: number): Promise<{ finished: number; failed: number }> {
    await expireHolds(database, limit);
    const left = await leftRedemptions(database, limit);
    let [finished, failed] = [0, 0];
    for (let i = 0; i < left.length; i += togetherMax) {
      const batch = left.slice(i, i + togetherMax);
      const results = await Promise.allSettled(
        batch.map((each) => drive(each, Date.now() + resumeMs, 'ended')),
      );
      for (const result of results) {
        if (result.status === 'rejected') failed += 1;
        else if (!isOpen(result.value)) finished += 1;
      }
    }
    return { finished, failed };
  }

  return { drive, resume };
}
