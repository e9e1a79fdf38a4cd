/** The calls about exchanges. */
import type { ErrorCode } from '#src/errors.ts';
import { type Role, type Route, route } from '#src/http/route.ts';
import { cancelExchange, type Exchanging, exchangePoints, quoteExchange, showExchange } from './exchanges.ts';
import { cancelSchema, exchangeQuoteSchema, exchangeReply, exchangeSchema } from './schemas.ts';

const desk: readonly Role[] = ['pos', 'checkout', 'care', 'admin'];
const readers: readonly Role[] = [...desk, 'finance'];

const quoteErrors = [
  'member_not_found',
  'member_not_active',
  'member_merging',
  'member_not_linked',
  'spending_frozen',
  'currency_unknown',
  'limit_exceeded',
  'exchange_limit',
  'exchange_refused',
  'cap_reached',
  'shard_recovering',
] as const satisfies readonly ErrorCode[];

/** Calls that ask for an exchange. */
function askingRoutes(context: Exchanging): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/exchanges/quote',
      operationId: 'quoteExchange',
      summary:
        'What points become at a partner, or points of a partner here; the rate holds until the quote ends',
      tag: 'partners',
      roles: desk,
      refusalsOf: 'exchange',
      body: exchangeQuoteSchema,
      replies: { 200: exchangeReply },
      errors: quoteErrors,
      handle: (call) => quoteExchange(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/exchanges',
      operationId: 'exchangePoints',
      summary: 'Exchange points with a partner, by a quote or by the rate of now',
      tag: 'partners',
      roles: desk,
      refusalsOf: 'exchange',
      body: exchangeSchema,
      replies: { 200: exchangeReply, 201: exchangeReply, 202: exchangeReply },
      errors: [
        ...quoteErrors,
        'quote_expired',
        'exchange_not_allowed',
        'insufficient_points',
        'balance_limit',
        'reference_reused',
        'journal_full',
      ],
      handle: (call) => exchangePoints(context, call),
    }),
  ];
}

/** Every call about exchanges. */
export function exchangeRoutes(context: Exchanging): Route[] {
  return [
    ...askingRoutes(context),
    route({
      method: 'GET',
      path: '/v1/exchanges/:id',
      operationId: 'getExchange',
      summary: 'An exchange with every step of it',
      tag: 'partners',
      roles: readers,
      replies: { 200: exchangeReply },
      errors: ['not_found'],
      handle: (call) => showExchange(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/exchanges/:id/cancel',
      operationId: 'cancelExchange',
      summary: 'Cancel an exchange of which nothing was sent to the partner yet',
      tag: 'partners',
      roles: desk,
      refusalsOf: 'exchange',
      body: cancelSchema,
      replies: { 200: exchangeReply },
      errors: ['not_found', 'exchange_not_cancellable', 'shard_recovering'],
      handle: (call) => cancelExchange(context, call),
    }),
  ];
}
