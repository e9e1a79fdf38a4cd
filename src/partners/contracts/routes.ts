/** The calls about partners, their contracts, rates and blocks. Whatever changes them goes through the partner's file. */
import { DateTime } from 'luxon';
import type pg from 'pg';
import { z } from 'zod';
import type { FileFault, Reading } from '#src/earning/file/read.ts';
import { programNow } from '#src/earning/program.ts';
import { Problem, validationProblem } from '#src/errors.ts';
import { type Caller, type Reply, type Role, type Route, route } from '#src/http/route.ts';
import { referenceField } from '#src/wallet/fields.ts';
import { applyPartner, withEntry } from './applying.ts';
import { holdsAt } from './arithmetic.ts';
import type { PartnerBook } from './book.ts';
import { blocksOf, buyBlock } from './prepaid.ts';
import { readPartnerFile } from './resolve.ts';
import type { PartnerFile } from './schema.ts';
import { newestFile, partnerNamed } from './store.ts';
import { directions, type Partner } from './types.ts';
import {
  blockListReply,
  blockReply,
  blocksView,
  blockView,
  contractListReply,
  contractView,
  partnerFileReply,
  partnerListReply,
  partnerReply,
  partnerView,
  rateListReply,
  rateView,
} from './views.ts';

export interface PartnersContext {
  readonly pool: pg.Pool;
  readonly partners: PartnerBook;
}

/** A file of a thousand rates. */
const sourceLengthMax = 256 * 1024;
const readers: readonly Role[] = ['admin', 'finance', 'care'];

const applyRequest = z
  .strictObject({
    source: z
      .string()
      .min(1)
      .max(sourceLengthMax)
      .meta({ description: "The partner's file, YAML or JSON; it is kept byte for byte." }),
    dryRun: z.boolean().optional().meta({ description: 'Says what would change and applies nothing.' }),
  })
  .meta({ id: 'PartnerRequest' });

const changed = z.object({ added: z.int(), ended: z.int() });
const appliedReply = partnerReply
  .extend({
    object: z.literal('appliedPartner'),
    outcome: z.enum(['created', 'changed', 'unchanged', 'checked']),
    changes: z.object({ contracts: changed, rates: changed }),
  })
  .partial({ title: true, status: true, party: true, client: true, contract: true, billing: true })
  .meta({ id: 'AppliedPartner' });

/** As a file has them, in JSON. */
const contractRequest = z
  .record(z.string(), z.unknown())
  .meta({ id: 'PartnerContractRequest', description: 'An entry of `contracts` in the file of a partner.' });
const rateRequest = z
  .record(z.string(), z.unknown())
  .meta({ id: 'ExchangeRateRequest', description: 'An entry of `rates` in the file of a partner.' });

const ratesQuery = z.strictObject({
  direction: z.enum(directions).optional(),
  currency: z.string().max(32).optional(),
  at: z.iso.datetime({ offset: true }).optional().meta({ description: 'Only what is in force then.' }),
});

const blockRequest = z
  .strictObject({
    reference: referenceField,
    points: z.int().min(1).max(1_000_000_000_000),
    from: z.iso.date().meta({ description: 'The first day, in the zone of the program.' }),
    through: z.iso.date().optional().meta({ description: 'The last day.' }),
    reserve: z.boolean().default(false),
  })
  .meta({ id: 'PointBlockRequest' });

function shownTo({ program }: Caller) {
  return { mode: program.mode, now: programNow(program) };
}

async function partnerInPath(
  { pool }: PartnersContext,
  { program }: Caller,
  params: Readonly<Record<string, string>>,
): Promise<Partner> {
  const partner = await partnerNamed(pool, program.number, params.partner ?? '');
  if (!partner) throw new Problem('not_found', 'The program has no such partner.');
  return partner;
}

/** Faults of a file in a request: `pointer` is where the request has it, `path` where the file has the fault. */
function fileProblem(faults: readonly FileFault[], pointer: string): Problem {
  const errors = faults.map(({ pointer: path, line, column, detail }) => ({
    pointer,
    path,
    line,
    column,
    detail,
  }));
  const first = faults[0]!;
  const where = `line ${first.line}, column ${first.column}`;
  return new Problem('validation_failed', `${pointer}: ${where}: ${first.pointer} ${first.detail}`, {
    errors,
  });
}

interface Wish {
  readonly source: string;
  readonly replaces?: string;
  readonly dryRun: boolean;
  /** Turns faults of the file into those of the request. */
  problem(faults: readonly FileFault[]): Problem;
}

/** Undefined where the file that this one was made of is the newest no more. */
async function apply(context: PartnersContext, caller: Caller, wish: Wish): Promise<Reply | undefined> {
  const { program, keyId } = caller;
  const { source, replaces, dryRun } = wish;
  const { file, faults, locate }: Reading<PartnerFile> = readPartnerFile(source, program.timeZone);
  if (!file) throw wish.problem(faults);
  const draft = { file, source, replaces, actor: keyId };
  const applied = await applyPartner(context.pool, program, draft, { dryRun });
  if (applied.status === 'outdated') return undefined;
  if (applied.status === 'refused') throw wish.problem(applied.findings.map(locate));
  context.partners.forget();
  const known = await partnerNamed(context.pool, program.number, applied.name);
  const isNew = applied.status !== 'unchanged' && !dryRun;
  return {
    status: isNew ? 201 : 200,
    body: {
      ...(known ? partnerView(known, shownTo(caller)) : { mode: program.mode, name: applied.name }),
      object: 'appliedPartner',
      outcome: applied.status === 'unchanged' || isNew ? applied.status : 'checked',
      changes: applied.changes,
    },
  };
}

/** Others that added at the same moment and were first, one after the other. */
const triesMax = 8;

/** Adds an entry to the file of a partner, as it is by then, and applies it. */
async function addEntry(
  context: PartnersContext,
  caller: Caller,
  partner: Partner,
  addition: { readonly list: 'contracts' | 'rates'; readonly entry: unknown },
): Promise<Reply> {
  for (let i = 0; i < triesMax; i += 1) {
    const reply = await tryEntry(context, caller, partner, addition);
    if (reply) return reply;
  }
  throw new Problem('not_ready', 'Others are changing the partner at the moment.');
}

async function tryEntry(
  context: PartnersContext,
  caller: Caller,
  partner: Partner,
  { list, entry }: { readonly list: 'contracts' | 'rates'; readonly entry: unknown },
): Promise<Reply | undefined> {
  const stored = await newestFile(context.pool, partner.number);
  const { file } = readPartnerFile(stored!.source, caller.program.timeZone);
  const place = `/${list}/${file?.[list].length ?? 0}`;
  const problem = (faults: readonly FileFault[]) =>
    validationProblem(
      faults.map(({ pointer, detail }) => {
        const isOfEntry = pointer === place || pointer.startsWith(`${place}/`);
        return isOfEntry
          ? { pointer: pointer.slice(place.length), detail }
          : { pointer: '', detail: `the file would be wrong at ${pointer}, which ${detail}` };
      }),
    );
  const source = withEntry(stored!.source, list, entry);
  return apply(context, caller, { source, replaces: stored!.digest, dryRun: false, problem });
}

function partnerCalls(context: PartnersContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/partners',
      operationId: 'applyPartner',
      summary: 'Check the file of a partner and bring the partner up to date with it',
      tag: 'partners',
      roles: ['admin'],
      body: applyRequest,
      // A character takes up to three bytes, or is escaped.
      bodyBytesMax: 4 * sourceLengthMax,
      replies: { 200: appliedReply, 201: appliedReply },
      errors: [],
      async handle({ caller, body: { source, dryRun = false } }) {
        const problem = (faults: readonly FileFault[]) => fileProblem(faults, '/source');
        return (await apply(context, caller, { source, dryRun, problem }))!;
      },
    }),
    route({
      method: 'GET',
      path: '/v1/partners',
      operationId: 'listPartners',
      summary: 'The partners of the program',
      tag: 'partners',
      roles: readers,
      replies: { 200: partnerListReply },
      errors: [],
      async handle({ caller }) {
        const partners = await context.partners.ofProgram(caller.program.number);
        const data = partners.map((each) => partnerView(each, shownTo(caller)));
        return { status: 200, body: { object: 'list', data, nextCursor: null } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/partners/:partner',
      operationId: 'getPartner',
      summary: 'A partner with the file that was applied last',
      tag: 'partners',
      roles: readers,
      replies: { 200: partnerFileReply },
      errors: ['not_found'],
      async handle({ caller, params }) {
        const partner = await partnerInPath(context, caller, params);
        const file = await newestFile(context.pool, partner.number);
        return {
          status: 200,
          body: { ...partnerView(partner, shownTo(caller)), source: file?.source ?? '' },
        };
      },
    }),
  ];
}

function contractCalls(context: PartnersContext): Route[] {
  const path = '/v1/partners/:partner/contracts';
  return [
    route({
      method: 'GET',
      path,
      operationId: 'listPartnerContracts',
      summary: 'The versions of a contract',
      tag: 'partners',
      roles: readers,
      replies: { 200: contractListReply },
      errors: ['not_found'],
      async handle({ caller, params }) {
        const partner = await partnerInPath(context, caller, params);
        const data = partner.contracts.map((each) => contractView(partner, each, shownTo(caller)));
        return { status: 200, body: { object: 'list', data, nextCursor: null } };
      },
    }),
    route({
      method: 'POST',
      path,
      operationId: 'addPartnerContract',
      summary: 'Add a version of a contract to the file of a partner',
      tag: 'partners',
      roles: ['admin'],
      body: contractRequest,
      replies: { 200: appliedReply, 201: appliedReply },
      errors: ['not_found'],
      async handle({ caller, params, body }) {
        const partner = await partnerInPath(context, caller, params);
        return addEntry(context, caller, partner, { list: 'contracts', entry: body });
      },
    }),
  ];
}

function rateCalls(context: PartnersContext): Route[] {
  const path = '/v1/partners/:partner/rates';
  return [
    route({
      method: 'GET',
      path,
      operationId: 'listExchangeRates',
      summary: 'The versions of the rates by which points are exchanged with a partner',
      tag: 'partners',
      roles: readers,
      query: ratesQuery,
      replies: { 200: rateListReply },
      errors: ['not_found'],
      async handle({ caller, params, query: { direction, currency, at } }) {
        const partner = await partnerInPath(context, caller, params);
        const moment = at === undefined ? undefined : Date.parse(at);
        const rates = partner.rates.filter(
          (rate) =>
            (direction === undefined || rate.direction === direction) &&
            (currency === undefined || rate.currency === currency) &&
            (moment === undefined || holdsAt(rate, moment)),
        );
        const data = rates.map((each) => rateView(partner, each, shownTo(caller)));
        return { status: 200, body: { object: 'list', data, nextCursor: null } };
      },
    }),
    route({
      method: 'POST',
      path,
      operationId: 'addExchangeRate',
      summary: 'Add a version of a rate to the file of a partner',
      tag: 'partners',
      roles: ['admin'],
      body: rateRequest,
      replies: { 200: appliedReply, 201: appliedReply },
      errors: ['not_found'],
      async handle({ caller, params, body }) {
        const partner = await partnerInPath(context, caller, params);
        return addEntry(context, caller, partner, { list: 'rates', entry: body });
      },
    }),
  ];
}

function blockCalls(context: PartnersContext): Route[] {
  const path = '/v1/partners/:partner/blocks';
  return [
    route({
      method: 'GET',
      path,
      operationId: 'listPointBlocks',
      summary: 'The blocks of points that a prepaid partner bought, and what is left of them',
      tag: 'partners',
      roles: ['admin', 'finance'],
      replies: { 200: blockListReply },
      errors: ['not_found'],
      async handle({ caller, params }) {
        const partner = await partnerInPath(context, caller, params);
        const blocks = await blocksOf(context.pool, partner.number);
        return { status: 200, body: blocksView(partner, blocks, shownTo(caller)) };
      },
    }),
    route({
      method: 'POST',
      path,
      operationId: 'addPointBlock',
      summary: 'Book a block of points that a prepaid partner bought',
      tag: 'partners',
      roles: ['admin', 'finance'],
      body: blockRequest,
      replies: { 200: blockReply, 201: blockReply },
      errors: ['not_found', 'reference_reused'],
      async handle({ caller, params, body }) {
        const partner = await partnerInPath(context, caller, params);
        return addBlock(context, caller, partner, body);
      },
    }),
  ];
}

async function addBlock(
  { pool }: PartnersContext,
  { program, keyId }: Caller,
  partner: Partner,
  { reference, points, from, through, reserve }: z.output<typeof blockRequest>,
): Promise<Reply> {
  const dayOf = (text: string) => DateTime.fromISO(text, { zone: program.timeZone }).startOf('day');
  const draft = {
    partner: partner.number,
    reference,
    points,
    from: dayOf(from).toMillis(),
    until: through === undefined ? null : dayOf(through).plus({ days: 1 }).toMillis(),
    isReserve: reserve,
    actor: keyId,
  };
  if (draft.until !== null && draft.until <= draft.from)
    throw validationProblem([{ pointer: '/through', detail: 'lies before the beginning' }]);
  const { isNew, block } = await buyBlock(pool, draft);
  const isSame =
    block.points === points &&
    block.from === draft.from &&
    block.until === draft.until &&
    block.isReserve === reserve;
  if (!isSame) throw new Problem('reference_reused', undefined, { pointer: '/reference' });
  return { status: isNew ? 201 : 200, body: blockView(block, program.mode), replayed: !isNew };
}

/** The calls about partners and what is agreed with them. */
export function contractRoutes(context: PartnersContext): Route[] {
  return [...partnerCalls(context), ...contractCalls(context), ...rateCalls(context), ...blockCalls(context)];
}
