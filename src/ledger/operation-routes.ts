/** `GET /v1/operations/:id` and `?kind=&reference=`: what happened, with its entries and its explanation. */
import type pg from 'pg';
import { z } from 'zod';
import { Problem } from '#src/errors.ts';
import { type Caller, type Role, type Route, route } from '#src/http/route.ts';
import { type OperationHex, type OperationKind, operationPrefix, parseOperationId } from '#src/values.ts';
import { balancesSchema, ledgerSchema, metadataField, referenceField } from '#src/wallet/fields.ts';
import type { Operations, Recorded } from '#src/wallet/operations.ts';
import { findByReference } from '#src/wallet/originals.ts';
import { memberAccounts, programAccounts } from './accounts.ts';
import { operationView } from './operation-view.ts';

export interface OperationContext {
  readonly pool: pg.Pool;
  readonly operations: Operations;
  /** Why an operation gave what it gave; undefined where there is nothing to explain. */
  explain(recorded: Recorded): Promise<unknown>;
}

const readers: readonly Role[] = ['pos', 'checkout', 'care', 'finance', 'admin'];
const kinds = Object.keys(operationPrefix) as [OperationKind, ...OperationKind[]];
/** Kinds of movements that callers send with a reference of their own. */
const callersKinds = [
  'accrual',
  'redemption',
  'hold',
  'capture',
  'release',
  'reversal',
  'refund',
  'return',
  'adjustment',
  'extension',
  'unlock',
  'transfer',
  'status',
] as const satisfies readonly OperationKind[];

const referenceQuery = z.strictObject({
  kind: z.enum(callersKinds),
  reference: referenceField,
});

const operationReply = z
  .object({
    object: z.literal('operation'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    kind: z.enum(kinds),
    status: z.literal('posted'),
    member: z.string(),
    reference: z.string().optional(),
    order: z.string().optional(),
    occurredAt: z.iso.datetime(),
    at: z.iso.datetime().meta({ description: 'When the points moved, by the clock of the program.' }),
    postedAt: z.iso.datetime().meta({ description: 'When it was written to the ledger.' }),
    client: z
      .string()
      .optional()
      .meta({ description: 'Who asked for it; absent for what the engine does by itself.' }),
    origins: z.array(z.string()).meta({ description: 'Operations that this one follows from.' }),
    consequences: z
      .array(z.object({ id: z.string(), kind: z.enum(kinds) }))
      .meta({ description: 'Operations that followed from this one.' }),
    conflictWith: z
      .string()
      .optional()
      .meta({ description: 'The operation that used the same reference first.' }),
    decidedStale: z
      .object({ answered: z.string().meta({ description: 'The position under which it was answered.' }) })
      .optional()
      .meta({
        description:
          'It was acknowledged by a Redis that had come back older than the ledger. It counts; points that were not there any more are debt, and `balances` are what the caller was told.',
      }),
    entries: z
      .array(
        z.object({
          account: z.enum([...memberAccounts, ...programAccounts]),
          currency: z.string(),
          points: z.int(),
          lot: z.int().optional(),
          hold: z.string().optional(),
          party: z.string().optional().meta({ description: 'Who pays for the points.' }),
        }),
      )
      .meta({ description: 'The legs in the ledger; they sum to zero in each currency.' }),
    metadata: metadataField.optional(),
    request: z.unknown().optional().meta({ description: 'What was asked for, without the member.' }),
    balances: balancesSchema,
    explanation: z.record(z.string(), z.unknown()).optional(),
    ledger: ledgerSchema,
  })
  .meta({ id: 'Operation' });

/** An operation of the caller's program, once it is in the books. */
async function read(context: OperationContext, caller: Caller, operation: OperationHex, waitMs: number) {
  const { program } = caller;
  const recorded = await context.operations.recorded(operation, waitMs);
  if (recorded?.program !== program.number) throw new Problem('not_found');
  const view = await operationView(context.pool, program, recorded, context.explain);
  if (!view) throw new Problem('not_found');
  return { recorded, view };
}

/** Reading operations. */
export function operationRoutes(context: OperationContext): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/operations/:id',
      operationId: 'getOperation',
      summary: 'An operation with its entries and its explanation',
      tag: 'wallet',
      roles: readers,
      replies: { 200: operationReply },
      errors: ['not_found', 'operation_archived', 'shard_recovering'],
      async handle({ caller, params, waitMs }) {
        const named = parseOperationId(params.id ?? '');
        if (!named) throw new Problem('not_found');
        const { recorded, view } = await read(context, caller, named.operation, waitMs);
        if (operationPrefix[recorded.kind] !== named.prefix) throw new Problem('not_found');
        return { status: 200, body: view };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/operations',
      operationId: 'findOperation',
      summary: 'The operation that a reference of yours stands for; a 404 is definitive',
      tag: 'wallet',
      roles: readers,
      query: referenceQuery,
      replies: { 200: operationReply },
      errors: ['validation_failed', 'not_found', 'operation_archived', 'shard_recovering'],
      async handle({ caller, query, waitMs }) {
        const operation = await findByReference(context.operations, caller, [query.kind], query.reference);
        if (!operation) throw new Problem('not_found');
        const { view } = await read(context, caller, operation, waitMs);
        return { status: 200, body: { ...view, reference: query.reference } };
      },
    }),
  ];
}
