/** `GET /v1/events`: the feed of what happened. */
import type pg from 'pg';
import { z } from 'zod';
import { type Route, route } from '#src/http/route.ts';
import { eventsAfter, eventTypes, exchangeEventTypes, parseEventId } from './events.ts';

const eventsQuery = z.strictObject({
  after: z
    .string()
    .refine((text) => parseEventId(text) !== undefined, 'is not the id of an event')
    .transform((text) => parseEventId(text)!)
    .optional()
    .meta({
      type: 'string',
      description: 'The id of the last event that you have; absent: from the oldest.',
    }),
  types: z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(eventTypes)).min(1).max(20))
    .optional()
    .meta({ type: 'string', description: 'Types with commas between them; absent: all.' }),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});

const eventFields = {
  object: z.literal('event'),
  id: z.string(),
  mode: z.enum(['live', 'test']),
  at: z.iso.datetime().meta({ description: 'By the clock of the program.' }),
  member: z.string(),
};
const days = z.int().meta({ description: 'How many days ahead the program warns.' });

const expiringEvent = z
  .object({
    ...eventFields,
    type: z.literal('points.expiring'),
    currency: z.string(),
    points: z
      .int()
      .meta({ description: 'That count through the day and no longer, as the ledger had them then.' }),
    expiresOn: z.iso.date().meta({ description: 'The last day on which they count.' }),
    days,
  })
  .meta({ id: 'PointsExpiringEvent' });

const tierChangedEvent = z
  .object({
    ...eventFields,
    type: z.literal('tier.changed'),
    ladder: z.string(),
    from: z.string(),
    to: z.string(),
    since: z.iso.date(),
    until: z.iso.date().optional().meta({ description: 'The last day; absent: no end is known.' }),
    origin: z.string(),
    reason: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'TierChangedEvent' });

const tierWarningEvent = z
  .object({
    ...eventFields,
    type: z.literal('tier.warning'),
    ladder: z.string(),
    tier: z.string(),
    lastDay: z.iso.date().meta({ description: 'Through which the tier holds and on which it still counts.' }),
    days,
    keep: z.object({
      tier: z.string(),
      goals: z.array(
        z.object({
          measure: z.unknown(),
          atLeast: z.int(),
          counted: z.int(),
          missing: z.int().meta({ description: 'So much more keeps the tier.' }),
        }),
      ),
    }),
  })
  .meta({ id: 'TierWarningEvent' });

const rhythmBrokenEvent = z
  .object({
    ...eventFields,
    type: z.literal('member.rhythm_broken'),
    lastPurchaseOn: z.iso.date(),
    rhythmDays: z.int().meta({ description: 'Usual days between purchases of this member.' }),
    brokenOn: z.iso
      .date()
      .meta({ description: 'When the next purchase was overdue by as many days as the program allows.' }),
  })
  .meta({ id: 'RhythmBrokenEvent' });

const exchangeEvent = z
  .object({
    ...eventFields,
    type: z.enum(exchangeEventTypes),
    exchange: z.string(),
    partner: z.string(),
    direction: z.enum(['out', 'in']),
    give: z.int(),
    receive: z.int(),
    reason: z
      .string()
      .optional()
      .meta({ description: 'Why it came to nothing, or the step that a person has to look at.' }),
  })
  .meta({ id: 'ExchangeEvent' });

const exchangeBreakEvent = z
  .object({
    ...eventFields,
    type: z.literal('exchange.break'),
    exchange: z.string(),
    partner: z.string(),
    kind: z.enum(['late_success', 'late_refusal', 'reply_differs', 'unasked']),
  })
  .meta({ id: 'ExchangeBreakEvent' });

const settlementEvent = z
  .object({
    object: z.literal('event'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    at: eventFields.at,
    type: z.literal('settlement.issued'),
    settlement: z.string(),
    number: z.int(),
    partner: z.string(),
    period: z.string().meta({ description: 'The month, such as 2026-11.' }),
    currency: z.string(),
    total: z.int().meta({ description: 'Minor units; positive where the partner owes.' }),
  })
  .meta({ id: 'SettlementIssuedEvent' });

const eventReply = z
  .discriminatedUnion('type', [
    expiringEvent,
    tierChangedEvent,
    tierWarningEvent,
    rhythmBrokenEvent,
    exchangeEvent,
    exchangeBreakEvent,
    settlementEvent,
  ])
  .meta({ id: 'Event' });

/** The feed of a program. */
export function eventRoutes({ pool }: { readonly pool: pg.Pool }): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/events',
      operationId: 'listEvents',
      summary: 'What happened, oldest first; an id that was read is never followed by a lower one',
      tag: 'wallet',
      roles: ['checkout', 'care', 'finance', 'admin'],
      query: eventsQuery,
      replies: {
        200: z
          .object({ object: z.literal('list'), data: z.array(eventReply), nextCursor: z.string().nullable() })
          .meta({ id: 'EventList' }),
      },
      errors: ['validation_failed'],
      async handle({ caller, query }) {
        const { after = 0, types, limit } = query;
        const { events, next } = await eventsAfter(pool, caller.program, { after, types, limit });
        return { status: 200, body: { object: 'list', data: events, nextCursor: next } };
      },
    }),
  ];
}
