/**
 * Quotes, exchanges, and what becomes of them, as callers ask for it. A quote freezes its terms; an exchange is made of a quote, its
 * own or one that was asked for before, so both go the same way. A refusal is kept with its reference: the same request has the same
 * answer for ever.
 */
import { DateTime } from 'luxon';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Call, Caller, Reply } from '#src/http/route.ts';
import { type CurrentMember, identifierOf, type MemberRef, memberNow } from '#src/members/member-ref.ts';
import {
  contractAt,
  nothingUsed,
  type QuoteRefusal,
  quoteOf,
  rateFor,
} from '#src/partners/contracts/arithmetic.ts';
import { giveBackDraw } from '#src/partners/contracts/drawing.ts';
import { endOf, usedForQuote } from '#src/partners/contracts/facts.ts';
import { giveBackUse } from '#src/partners/contracts/judging.ts';
import type { Judgement } from '#src/partners/contracts/limits.ts';
import { problemOfJudgement, problemOfQuote } from '#src/partners/contracts/problems.ts';
import type { LimitName, Partner } from '#src/partners/contracts/types.ts';
import { type EpochMs, newOperation } from '#src/values.ts';
import { checkPointsLimit, fault, referenceOf } from '#src/wallet/fields.ts';
import { differingPointer } from '#src/wallet/operations.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import { atMost } from './calling.ts';
import type { ExchangeContext } from './context.ts';
import { leaseMs } from './policy.ts';
import { begunOf, insertQuoted } from './quote-rows.ts';
import { readExchange } from './rows.ts';
import type { Saga } from './saga.ts';
import type { CancelBody, ExchangeBody, ExchangeQuoteBody } from './schemas.ts';
import { type Asked, type Exchange, exchangeId, parseExchangeId, type Quoted } from './types.ts';
import { exchangeView } from './view.ts';

export interface Exchanging extends ExchangeContext {
  readonly saga: Saga;
}

/** Nobody quotes for longer, whatever a contract says. */
const quoteSecondsMax = 86_400;
/** Also a caller who does not want to wait hears of an exchange that is over as fast as usual. */
const waitMsMin = 500;
/** What a caller waits for beyond this is driven on without the caller. */
const driveMs = 30_000;

async function partnerNamed({ partners }: Exchanging, program: Program, name: string): Promise<Partner> {
  const partner = await partners.named(program.number, name);
  if (!partner) throw fault('/partner', 'is not a partner of the program');
  return partner;
}

async function memberOf(context: Exchanging, program: Program, ref: MemberRef): Promise<CurrentMember> {
  const at = programNow(program);
  const current = await memberNow(context.operations, () => context.resolveMember(program, ref), at);
  if (!current) throw new Problem('member_not_found', undefined, { pointer: '/member' });
  const { status, isFrozen } = current.reading;
  if (status === 'merging') throw new Problem('member_merging', undefined, { pointer: '/member' });
  if (status !== 'active')
    throw new Problem('member_not_active', undefined, { pointer: '/member', memberStatus: status });
  if (isFrozen) throw new Problem('spending_frozen', undefined, { pointer: '/member' });
  return current;
}

function refused(reason: string, detail: string): Problem {
  return new Problem('exchange_refused', detail, { reason });
}

/** What is agreed with the partner now. */
function agreed(partner: Partner, at: number) {
  if (partner.status !== 'active') throw refused('partner_suspended', 'the partner is suspended');
  const contract = contractAt(partner, at);
  if (!contract) throw refused('no_contract', 'no contract with the partner is in force');
  return contract;
}

/** Keyed hash of the card by which the member is named. */
function cardOf({ identity }: Exchanging, { number }: Program, ref: MemberRef): string | undefined {
  const identifier = identifierOf(ref);
  return identifier?.type === 'card' ? identity.keyOf(number, identifier)?.hash : undefined;
}

/** Counts the bound of the rate that an amount does not keep, and says when it would. */
function notQuoted(
  { telemetry }: Exchanging,
  { timeZone }: Program,
  refusal: QuoteRefusal,
  at: EpochMs,
): Problem {
  const { word, period } = refusal;
  telemetry.metrics.exchangeJudgements.inc({
    outcome: 'refused',
    limit: word === 'cap_reached' ? 'member_cap' : word,
  });
  return problemOfQuote(refusal, period && endOf(period, at, timeZone));
}

/** Works out what an exchange comes to now. Nothing is written. */
async function quoted(context: Exchanging, caller: Caller, body: ExchangeQuoteBody): Promise<Quoted> {
  const { program } = caller;
  const at = programNow(program);
  const partner = await partnerNamed(context, program, body.partner);
  const contract = agreed(partner, at);
  const currency =
    body.currency === undefined ? program.mainCurrency : program.currencyByCode.get(body.currency);
  if (!currency)
    throw new Problem('currency_unknown', undefined, {
      errors: [{ pointer: '/currency', detail: 'is not a currency of the program' }],
    });
  const { facts } = await memberOf(context, program, body.member);
  const { member } = facts;
  const links = await context.gathered.links({ program: program.number, member });
  const link = links.find(({ client }) => client === partner.client);
  if (!link) throw new Problem('member_not_linked');
  const { tier } = await context.judgedMember(program, facts, { at });
  const { direction } = body;
  const ask = { direction, currency: currency.code, tier };
  const rate = rateFor(partner, ask, at);
  if (!rate) throw refused('no_rate', 'no rate with the partner is in force');
  const question = { program, partner: partner.number, member, direction, currency: currency.code, at };
  const used = rate.caps.length === 0 ? nothingUsed : await usedForQuote(context.keyedPool, question);
  const quote = quoteOf(rate, { points: body.points, at, tier, used });
  if (quote.status === 'refused') throw notQuoted(context, program, quote, at);
  const { status: _, ...terms } = quote;
  const isOut = direction === 'out';
  return {
    exchange: newOperation(0, Date.now()),
    ...{ program: program.number, member, partner: partner.number, direction },
    currency: currency.number,
    ownPoints: isOut ? quote.give : quote.receive,
    partnerCurrency: rate.partnerCurrency,
    partnerPoints: isOut ? quote.receive : quote.give,
    account: link.account,
    card: cardOf(context, program, body.member),
    terms,
    quotedAt: at,
    quoteExpiresAt: at + Math.min(contract.quoteSeconds, quoteSecondsMax) * 1_000,
    day: DateTime.fromMillis(at, { zone: program.timeZone }).toISODate()!,
  };
}

async function viewOf(
  { partners, gathered }: Exchanging,
  program: Program,
  exchange: Exchange,
): Promise<Record<string, unknown>> {
  const partner = await partners.numbered(exchange.partner);
  return exchangeView(
    program,
    partner?.name ?? String(exchange.partner),
    exchange,
    await gathered.history(exchange.exchange),
  );
}

/** `POST /v1/exchanges/quote` */
export async function quoteExchange(context: Exchanging, call: Call<ExchangeQuoteBody>): Promise<Reply> {
  const { caller, body } = call;
  checkPointsLimit(caller, body.points);
  const quote = await quoted(context, caller, body);
  await insertQuoted(context.pool, context.identity, quote);
  const state = 'quoted' as const;
  return { status: 200, body: exchangeView(caller.program, body.partner, { ...quote, state }, []) };
}

function askedOf(context: Exchanging, call: Call<ExchangeBody>): Asked {
  const { caller, body } = call;
  const { metadata, ...rest } = body;
  const reference = referenceOf(call, rest);
  const currency = 'quote' in rest ? {} : { currency: rest.currency ?? caller.program.mainCurrency.code };
  const canonical = { ...rest, ...currency, reference };
  const { member: _, ...kept } = canonical as typeof canonical & { member?: unknown };
  return {
    client: caller.client,
    referenceKey: referenceKeyOf(caller.program.number, caller.client, 'exchange', reference),
    fingerprint: context.operations.fingerprint(canonical),
    request: { ...kept, ...(metadata ? { metadata } : {}) },
  };
}

/** The exchange that the reference stands for. Throws where it stands for another request. */
async function knownExchange(context: Exchanging, asked: Asked): Promise<Exchange | undefined> {
  const known = await context.gathered.byKey(asked.referenceKey);
  if (!known || known.asked?.fingerprint === asked.fingerprint) return known;
  const { metadata: _, ...first } = known.asked?.request ?? {};
  const { metadata: __, ...now } = asked.request;
  throw new Problem('reference_reused', undefined, {
    id: exchangeId(known.exchange),
    pointer: differingPointer(first, JSON.parse(JSON.stringify(now))) || '/member',
  });
}

/** The quote that is named, or one of now, of which there is no row yet. */
async function quoteFor(context: Exchanging, caller: Caller, body: ExchangeBody): Promise<Quoted> {
  if (!('quote' in body)) return quoted(context, caller, body);
  const id = parseExchangeId(body.quote);
  const quote = id && (await readExchange(context.pool, context.identity, id));
  if (!quote || quote.program !== caller.program.number)
    throw new Problem('quote_expired', 'there is no such quote', { pointer: '/quote' });
  if (quote.state !== 'quoted')
    throw new Problem('quote_expired', 'the quote was used by another exchange', { pointer: '/quote' });
  if (programNow(caller.program) > quote.quoteExpiresAt)
    throw new Problem('quote_expired', undefined, {
      expiredAt: new Date(quote.quoteExpiresAt).toISOString(),
    });
  return quote;
}

/** Judges what was quoted and begins it. Undefined: quote or reference were used before. Throws where it is refused. */
async function begin(
  context: Exchanging,
  { program }: Caller,
  quote: Quoted,
  asked: Asked,
): Promise<Exchange | undefined> {
  const at = programNow(program);
  const partner = await context.partners.numbered(quote.partner);
  if (!partner) throw refused('partner_unknown', 'the partner is gone');
  const contract = agreed(partner, at);
  const { limits } = contract;
  const { caps = [] } = partner.rates.find(({ version }) => version === quote.terms.rate.version) ?? {};
  const { exchange, member, direction, terms, card } = quote;
  const { terminal, quote: named } = asked.request as { terminal?: string; quote?: string };
  const currency = program.currencyByNumber.get(quote.currency)!.code;
  const { metrics } = context.telemetry;
  const ask = {
    ...{
      exchange,
      program,
      partner: partner.number,
      limits,
      caps,
      member,
      direction,
      currency,
      at,
      card,
      terminal,
    },
    ...{ give: terms.give, receive: terms.receive },
    counted: (outcome: Judgement['outcome'], limit: LimitName | 'none') =>
      metrics.exchangeJudgements.inc({ outcome, limit }),
  };
  const day = DateTime.fromMillis(at, { zone: program.timeZone }).toISODate()!;
  const start = { day, occurredAt: Date.now(), leaseMs: leaseMs(context.patience) };
  const settled: Quoted = { ...quote, terms: { ...terms, contract: contract.version } };
  const beginning = { quoted: settled, isNew: named === undefined, asked, ...start };
  const reference = exchangeId(exchange);
  const draw = { kind: 'exchange_in' as const, reference, points: quote.ownPoints, at };
  const isDrawn = direction === 'in' && contract.billing.kind === 'prepaid';
  const drawing = isDrawn ? { partner: partner.number, contract, ...draw } : undefined;
  const judgement = await context.gathered.begin({ ...beginning, ask, drawing });
  if (judgement === 'blocks_empty')
    throw refused('prepaid_exhausted', 'the partner has not bought so many points in advance');
  if (judgement === 'not_linked') throw new Problem('member_not_linked');
  if (judgement?.outcome === 'refused') throw problemOfJudgement(judgement);
  const isReviewed = judgement?.outcome === 'review';
  return judgement && begunOf({ ...beginning, isReviewed, reasons: judgement.reasons });
}

/** Gives back at once what an exchange counts for and drew, where it came to nothing. */
async function giveBack(
  { pool }: Exchanging,
  program: Program,
  { exchange, partner, direction, state }: Exchange,
): Promise<void> {
  if (state !== 'refused' && state !== 'reversed') return;
  await giveBackUse(pool, exchange, programNow(program));
  if (direction === 'in')
    await giveBackDraw(pool, { partner, kind: 'exchange_in', reference: exchangeId(exchange) });
}

/** What an exchange is to who asked for it. */
async function replyOf(
  context: Exchanging,
  program: Program,
  exchange: Exchange,
  replayed: boolean,
): Promise<Reply> {
  const { refusal, state } = exchange;
  if (refusal && ['refused', 'releasing', 'reversed'].includes(state))
    throw new Problem(refusal.code, refusal.detail, { ...refusal.fields, id: exchangeId(exchange.exchange) });
  const status = state === 'completed' ? 201 : state === 'reversed' ? 200 : 202;
  return { status, replayed, body: await viewOf(context, program, exchange) };
}

/** `POST /v1/exchanges` */
export async function exchangePoints(context: Exchanging, call: Call<ExchangeBody>): Promise<Reply> {
  const { caller, body } = call;
  const { program } = caller;
  const asked = askedOf(context, call);
  const known = await knownExchange(context, asked);
  if (known) return replyOf(context, program, known, true);
  const quote = await quoteFor(context, caller, body);
  checkPointsLimit(caller, quote.terms.give);
  const begun = await begin(context, caller, quote, asked);
  if (!begun) {
    const first = await knownExchange(context, asked);
    if (!first) throw new Problem('quote_expired', 'the quote was used by another exchange');
    return replyOf(context, program, first, true);
  }
  const { log } = context.telemetry;
  async function toItsEnd(): Promise<Exchange> {
    const driven = await context.saga.drive(begun!, Date.now() + driveMs);
    // The worker and time do it too; here whoever tries again at once is not told of a limit or of blocks that a refusal has used.
    await giveBack(context, program, driven);
    return driven;
  }
  const driving = toItsEnd().catch((error: unknown) => {
    log.warn({ err: error }, 'an exchange is left to the worker');
    return undefined;
  });
  const driven = await atMost(Math.max(call.waitMs, waitMsMin), driving);
  const present = driven ?? (await readExchange(context.pool, context.identity, begun.exchange))!;
  if (!driven) await giveBack(context, program, present);
  return replyOf(context, program, present, false);
}

async function exchangeInPath(context: Exchanging, { caller, params }: Call): Promise<Exchange> {
  const id = parseExchangeId(params.id ?? '');
  const exchange = id && (await readExchange(context.pool, context.identity, id));
  if (!exchange || exchange.program !== caller.program.number) throw new Problem('not_found');
  return exchange;
}

/** `GET /v1/exchanges/:id` */
export async function showExchange(context: Exchanging, call: Call): Promise<Reply> {
  const exchange = await exchangeInPath(context, call);
  return { status: 200, body: await viewOf(context, call.caller.program, exchange) };
}

/** The points are back, or on their way back without anybody's refusal, as they are once it was cancelled. */
function isCalledOff({ state, refusal }: Exchange): boolean {
  return state === 'reversed' || (state === 'releasing' && refusal === undefined);
}

/** Decides that nothing will be sent. Throws where something was, or where it was decided otherwise. */
async function callOff(context: Exchanging, call: Call<CancelBody>, found: Exchange): Promise<void> {
  const { exchange, direction } = found;
  // Asked before it is tried: a step that was not made would stand in the history.
  if (found.state !== 'holding' && found.state !== 'ready') throw new Problem('exchange_not_cancellable');
  const to = direction === 'out' ? ('releasing' as const) : ('reversed' as const);
  const dueMs = direction === 'out' ? leaseMs(context.patience) : null;
  const { reason } = call.body;
  const detail = { actor: call.caller.keyId, ...(reason === undefined ? {} : { reason }) };
  const step = { action: 'cancel' as const, outcome: 'cancelled', detail };
  // The partner may have said that it did nothing of what was sent, and been wrong: it is asked once more.
  const checkMs = found.wasSent ? context.patience.checksMs[0] : undefined;
  const change = { to, dueMs, checkMs, from: ['holding', 'ready'] } as const;
  if (await context.gathered.advance({ exchange, change, step })) return;
  const present = await readExchange(context.pool, context.identity, exchange);
  if (!present || !isCalledOff(present)) throw new Problem('exchange_not_cancellable');
}

/** `POST /v1/exchanges/:id/cancel`: as long as nothing was sent. Again changes nothing. */
export async function cancelExchange(context: Exchanging, call: Call<CancelBody>): Promise<Reply> {
  const { program } = call.caller;
  const found = await exchangeInPath(context, call);
  const { exchange } = found;
  if (!isCalledOff(found)) await callOff(context, call, found);
  if (found.state !== 'reversed') {
    await context.saga.drive(exchange, Date.now() + call.waitMs);
    await giveBack(context, program, { ...found, state: 'reversed' });
  }
  const present = await readExchange(context.pool, context.identity, exchange);
  return { status: 200, body: await viewOf(context, program, present!) };
}
