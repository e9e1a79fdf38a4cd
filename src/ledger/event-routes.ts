/** `GET /v1/events`: the feed of what happened. */
import type pg from 'pg';
import { z } from 'zod';
import { type Route, route } from '#src/http/route.ts';
import { eventsAfter, eventTypes, parseEventId } from './events.ts';

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

const eventReply = z
  .object({
    object: z.literal('event'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    type: z.enum(eventTypes),
    at: z.iso.datetime().meta({ description: 'By the clock of the program.' }),
    member: z.string(),
    currency: z.string(),
    points: z
      .int()
      .meta({ description: 'That count through the day and no longer, as the ledger had them then.' }),
    expiresOn: z.iso.date().meta({ description: 'The last day on which they count.' }),
    days: z.int().meta({ description: 'How many days ahead the program warns.' }),
  })
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
