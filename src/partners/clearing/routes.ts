/** The calls about settlement with partners: drafts, statements and what becomes of them, netting. */
import type pg from 'pg';
import { z } from 'zod';
import { Problem } from '#src/errors.ts';
import { type Caller, type Reply, type Role, type Route, route } from '#src/http/route.ts';
import type { PartnerBook } from '#src/partners/contracts/book.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import { balancesOf } from './money.ts';
import { parseMonth } from './months.ts';
import {
  type Deed,
  dispute,
  endDispute,
  linesOf,
  parseSettlementId,
  pay,
  settlementId,
  settlementOf,
  settlementsOf,
  statuses,
  stepsOf,
} from './settlements.ts';
import { net } from './settling.ts';
import { draftOf, issue, openMonths } from './statements.ts';
import {
  balanceListReply,
  balanceView,
  draftListReply,
  draftView,
  nettedView,
  nettingListReply,
  settlementListReply,
  settlementReply,
  settlementView,
  wholeSettlementReply,
  wholeSettlementView,
} from './views.ts';

export interface SettlementContext {
  readonly pool: pg.Pool;
  readonly partners: PartnerBook;
}

const money: readonly Role[] = ['finance', 'admin'];

const monthField = z
  .string()
  .refine((text) => parseMonth(text) !== undefined, 'is not a month such as 2026-11')
  .transform((text) => parseMonth(text)!)
  .meta({ type: 'string', pattern: '^\\d{4}-\\d{2}$', description: 'A month such as 2026-11.' });
const partnerField = z.string().min(1).max(64);
const reasonField = z.string().min(1).max(1_000);
const settlementField = z
  .string()
  .refine((text) => parseSettlementId(text) !== undefined, 'is not the id of a statement')
  .transform((text) => parseSettlementId(text)!)
  .meta({ type: 'string' });

const draftsQuery = z.strictObject({ partner: partnerField, period: monthField.optional() });
const listQuery = z.strictObject({
  partner: partnerField.optional(),
  period: monthField.optional(),
  status: z.enum(statuses).optional(),
  after: settlementField.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
const issueRequest = z
  .strictObject({ partner: partnerField, period: monthField })
  .meta({ id: 'SettlementRequest' });
const disputeRequest = z
  .strictObject({
    reason: reasonField,
    lines: z.array(z.int().min(1).max(32_767)).min(1).max(1_000).optional().meta({
      description: 'Absent: all of them.',
    }),
  })
  .meta({ id: 'SettlementDispute' });
const outcomeRequest = z
  .strictObject({ outcome: z.enum(['upheld', 'credited']), reason: reasonField })
  .meta({ id: 'SettlementOutcome' });
const earlyField = z.boolean().default(false).meta({
  description:
    'The partner has agreed to do without the days in which it may dispute; a statement that is paid cannot be disputed.',
});
const payRequest = z
  .strictObject({
    reason: reasonField.meta({ description: 'Such as the number of the bank transfer.' }),
    early: earlyField,
  })
  .meta({ id: 'SettlementPayment' });
const netRequest = z
  .strictObject({
    group: z.string().min(1).max(64).optional().meta({
      description: 'Netting group: partners are netted among one another. Absent: each with the program.',
    }),
    partner: partnerField.optional(),
    through: monthField.optional(),
    dryRun: z.boolean().default(false),
    early: earlyField,
    reason: reasonField.default('netting'),
  })
  .meta({ id: 'NettingRequest' });

async function partnerNamed(
  { partners }: SettlementContext,
  { program }: Caller,
  name: string,
): Promise<Partner> {
  const partner = await partners.named(program.number, name);
  if (!partner) throw new Problem('not_found', 'The program has no such partner.');
  return partner;
}

async function whole({ pool }: SettlementContext, { program }: Caller, settlement: number | undefined) {
  const found = settlement === undefined ? undefined : await settlementOf(pool, program.number, settlement);
  if (!found) throw new Problem('not_found', 'The program has no such statement.');
  const [lines, steps] = [await linesOf(pool, found.settlement), await stepsOf(pool, found.settlement)];
  return wholeSettlementView(program, found, lines, steps);
}

function deedOf({ program, keyId }: Caller, id: string | undefined, reason: string): Deed {
  const settlement = parseSettlementId(id ?? '');
  if (settlement === undefined) throw new Problem('not_found', 'The program has no such statement.');
  return { program, settlement, actor: keyId, reason };
}

function readingCalls(context: SettlementContext): Route[] {
  const { pool } = context;
  return [
    route({
      method: 'GET',
      path: '/v1/settlements/drafts',
      operationId: 'listSettlementDrafts',
      summary: 'What the open months of a partner come to so far',
      tag: 'partners',
      roles: money,
      query: draftsQuery,
      replies: { 200: draftListReply },
      errors: ['not_found'],
      async handle({ caller, query }) {
        const partner = await partnerNamed(context, caller, query.partner);
        const months = await openMonths(pool, partner.number);
        const wanted = months.filter((month) => query.period === undefined || month === query.period);
        const data = [];
        for (const month of wanted)
          for (const draft of await draftOf(pool, partner, month))
            data.push(draftView(caller.program, partner, month, draft));
        return { status: 200, body: { object: 'list', data, nextCursor: null } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/settlements/accounts',
      operationId: 'listPartnerBalances',
      summary:
        'What partners owe and why, in money, double entry: balances of all accounts, which sum to zero',
      tag: 'partners',
      roles: money,
      query: z.strictObject({ partner: partnerField.optional() }),
      replies: { 200: balanceListReply },
      errors: ['not_found'],
      async handle({ caller, query: { partner } }) {
        const party =
          partner === undefined ? undefined : (await partnerNamed(context, caller, partner)).number;
        const balances = await balancesOf(pool, caller.program.number, party);
        const data = balances.map((each) => balanceView(caller.program, each));
        return { status: 200, body: { object: 'list', data, nextCursor: null } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/settlements',
      operationId: 'listSettlements',
      summary: 'Statements in the order in which they were issued',
      tag: 'partners',
      roles: money,
      query: listQuery,
      replies: { 200: settlementListReply },
      errors: ['not_found'],
      async handle({ caller, query: { partner, limit, ...rest } }) {
        const party = partner && (await partnerNamed(context, caller, partner)).number;
        const ask = { ...rest, program: caller.program.number, limit: limit + 1 };
        const found = await settlementsOf(pool, party ? { ...ask, partner: party } : ask);
        const shown = found.slice(0, limit);
        const next = found.length > limit ? settlementId(shown.at(-1)!.settlement) : null;
        const data = shown.map((each) => settlementView(caller.program, each));
        return { status: 200, body: { object: 'list', data, nextCursor: next } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/settlements/:settlement',
      operationId: 'getSettlement',
      summary: 'A statement with its lines and steps',
      tag: 'partners',
      roles: money,
      replies: { 200: wholeSettlementReply },
      errors: ['not_found'],
      async handle({ caller, params }) {
        const body = await whole(context, caller, parseSettlementId(params.settlement ?? ''));
        return { status: 200, body };
      },
    }),
  ];
}

async function issued(
  context: SettlementContext,
  { program, keyId }: Caller,
  { number }: Partner,
  period: string,
): Promise<Reply> {
  // As it is now: a contract that was applied a moment ago prices too.
  context.partners.forget();
  const partner = (await context.partners.numbered(number))!;
  const { isNew } = await issue(context.pool, { program, partner, period, actor: keyId });
  const found = await settlementsOf(context.pool, {
    program: program.number,
    partner: number,
    period,
    limit: 200,
  });
  const data = found.map((each) => settlementView(program, each));
  return {
    status: isNew ? 201 : 200,
    replayed: !isNew,
    body: { object: 'list', data, nextCursor: null },
  };
}

function changingCalls(context: SettlementContext): Route[] {
  const { pool } = context;
  const change = <Body extends z.ZodType>(
    name: string,
    [operationId, summary]: readonly [string, string],
    body: Body,
    work: (deed: Deed, body: z.output<Body>) => Promise<Parameters<typeof settlementView>[1]>,
    reasonOf: (body: z.output<Body>) => string,
  ) =>
    route({
      method: 'POST',
      path: `/v1/settlements/:settlement/${name}`,
      operationId,
      summary,
      tag: 'partners',
      roles: money,
      body,
      replies: { 200: settlementReply },
      errors: ['not_found', 'settlement_status'],
      async handle({ caller, params, body: sent }) {
        const found = await work(deedOf(caller, params.settlement, reasonOf(sent)), sent);
        return { status: 200, body: settlementView(caller.program, found) };
      },
    });
  return [
    route({
      method: 'POST',
      path: '/v1/settlements',
      operationId: 'issueSettlement',
      summary: 'Close a month of a partner and issue its statements, one for each currency of money',
      tag: 'partners',
      roles: money,
      body: issueRequest,
      replies: { 200: settlementListReply, 201: settlementListReply },
      errors: ['not_found', 'settlement_open'],
      async handle({ caller, body }) {
        return issued(context, caller, await partnerNamed(context, caller, body.partner), body.period);
      },
    }),
    change(
      'dispute',
      ['disputeSettlement', 'Put a statement or lines of it in dispute'],
      disputeRequest,
      (deed, { lines }) => dispute(pool, deed, lines),
      ({ reason }) => reason,
    ),
    change(
      'resolve',
      ['resolveSettlement', 'End a dispute; what is credited comes with the next statement'],
      outcomeRequest,
      (deed, { outcome }) => endDispute(pool, deed, outcome),
      ({ reason }) => reason,
    ),
    change(
      'pay',
      ['paySettlement', 'Note that everything was paid that is not in dispute'],
      payRequest,
      (deed, { early }) => pay(pool, deed, early),
      ({ reason }) => reason,
    ),
  ];
}

function nettingCalls(context: SettlementContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/settlements/net',
      operationId: 'netSettlements',
      summary: 'Net what is issued and not paid into few payments; the statements count as paid by it',
      tag: 'partners',
      roles: money,
      body: netRequest,
      replies: { 200: nettingListReply },
      errors: ['not_found', 'settlement_status'],
      async handle({ caller, body: { dryRun, early, partner, ...rest } }) {
        const { program, keyId: actor } = caller;
        const party = partner === undefined ? undefined : await partnerNamed(context, caller, partner);
        const netting = { ...rest, program, actor, partner: party?.number, mayBeEarly: early };
        const netted = await net(context.pool, netting, !dryRun);
        const data = netted.map((each) => nettedView(program, each, !dryRun));
        return { status: 200, body: { object: 'list', data, nextCursor: null } };
      },
    }),
  ];
}

/** The calls about settlement with partners. */
export function settlementRoutes(context: SettlementContext): Route[] {
  return [...nettingCalls(context), ...readingCalls(context), ...changingCalls(context)];
}
