/** What a partner may ask about a day that it compares with its own books: signed calls of the protocol. */
import { Problem } from '#src/errors.ts';
import { type Caller, type Role, type Route, route } from '#src/http/route.ts';
import type { PartnerBook } from '#src/partners/contracts/book.ts';
import { type DayMovement, dayCalls, movementsPerAnswerMax } from '#src/partners/protocol/days.ts';
import type { Pair } from './books.ts';
import { type Days, lateDays, movementsOfBuckets, periodOf } from './days.ts';
import { instantText, type Movement, moves } from './movement.ts';
import type { ReconciliationContext } from './reconciling.ts';
import { treeSide } from './tree.ts';

export interface DayContext extends Pick<ReconciliationContext, 'pool'> {
  readonly partners: PartnerBook;
  readonly days: Days;
}

const signed: readonly Role[] = ['partner'];

/** A partner that is suspended may still find out where its books differ; one of another program may not. */
async function pairOf({ partners }: DayContext, caller: Caller): Promise<Pair> {
  const partner = await partners.ofClient(caller.client);
  if (partner === undefined || partner.program !== caller.program.number)
    throw new Problem('role_not_allowed', 'No partner belongs to the client of this key.');
  return { program: caller.program, partner: partner.number };
}

function shown({ madeBy, occurredAt, ...rest }: Movement): DayMovement {
  return { ...rest, madeBy: treeSide(madeBy, false), occurredAt: instantText(occurredAt) };
}

/** The calls of partners about days. */
export function dayRoutes(context: DayContext): Route[] {
  const { tree, movements } = dayCalls;
  return [
    route({
      method: tree.method,
      path: tree.path,
      operationId: 'partnerDay',
      summary: "Digests of a day's movements between caller and callee, by which both find where they differ",
      tag: 'partners',
      roles: signed,
      query: tree.request,
      replies: { 200: tree.reply },
      errors: ['signature_invalid', 'validation_failed'],
      async handle({ caller, query: { day, nodes, digest: known } }) {
        const wanted = { pair: await pairOf(context, caller), day, asks: false };
        const found = await context.days.treeOf(wanted, known);
        const digests = nodes
          ? {
              buckets: Object.fromEntries(
                nodes.map((name) => [name, found.bucketsOf(Number.parseInt(name, 16))]),
              ),
            }
          : { nodes: found.nodes, late: await lateDays(context.pool, wanted.pair, day) };
        const { digest, movements: count } = found;
        return { status: 200, body: { object: 'partnerDay', day, movements: count, digest, ...digests } };
      },
    }),
    route({
      method: movements.method,
      path: movements.path,
      operationId: 'partnerDayMovements',
      summary: 'The movements of some buckets of a day',
      tag: 'partners',
      roles: signed,
      query: movements.request,
      replies: { 200: movements.reply },
      errors: ['signature_invalid', 'validation_failed'],
      async handle(call) {
        const { day, buckets, after } = call.query;
        const limit = movementsPerAnswerMax;
        const question = { period: periodOf(day), asks: false, buckets, after, limit: limit + 1 };
        const found = await movementsOfBuckets(context.pool, await pairOf(context, call.caller), question);
        const page = found.slice(0, limit);
        const next = found.length > limit ? page.at(-1)!.key : null;
        const of = page.map(({ movement }) => movement).filter(moves);
        return { status: 200, body: { object: 'partnerDayMovements', day, movements: of.map(shown), next } };
      },
    }),
  ];
}
