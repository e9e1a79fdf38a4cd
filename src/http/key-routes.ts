/** `/v1/keys`: an admin's calls on the keys of the own program. */
import type pg from 'pg';
import { z } from 'zod';
import { Problem, validationProblem } from '#src/errors.ts';
import type { Sealing } from '#src/partners/sealing.ts';
import { addSecret, overlapSecondsDefault, overlapSecondsMax } from '#src/partners/secrets.ts';
import { listKeys, revokeKey, type StoredKey } from './key-queries.ts';
import { createKey, createPartnerKey, type Keys } from './keys.ts';
import { type Caller, type Route, roles, route } from './route.ts';

export interface KeyContext {
  readonly pool: pg.Pool;
  readonly keys: Keys;
  readonly sealing: Sealing;
  /** Tells the other processes that a table changed. */
  announce(table: 'api_key' | 'program'): Promise<void>;
}

const nameField = z.string().regex(/^[^\p{Cc}]{1,64}$/u, 'is 1 to 64 characters without control characters');
const pointsLimit = z.int().min(1);

const limitsSchema = z.strictObject({
  pointsPerMovement: pointsLimit.optional(),
  pointsPerDay: pointsLimit.optional(),
  backdateDays: z.int().min(0).max(36_500).optional(),
});

const keyRequest = z
  .strictObject({
    client: nameField.meta({
      description: 'The integration that the key belongs to; references are unique per client.',
    }),
    role: z.enum(roles),
    stores: z.array(nameField).min(1).max(1000).optional(),
    limits: limitsSchema.optional(),
    expiresAt: z.iso.datetime({ offset: true }).optional(),
  })
  .meta({ id: 'KeyRequest' });

const keyReply = z
  .object({
    object: z.literal('key'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    client: z.string(),
    role: z.enum(roles),
    stores: z.array(z.string()).nullable(),
    limits: z.object({
      pointsPerMovement: z.int().optional(),
      pointsPerDay: z.int().optional(),
      backdateDays: z.int().optional(),
    }),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().nullable(),
    revokedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Key' });

const newKeyReply = keyReply
  .extend({
    token: z.string().optional().meta({ description: 'Shown this once; only its hash is stored.' }),
    secret: z.string().optional().meta({
      description:
        'Of the role partner, instead of a token: what signs its calls. Shown this once, stored encrypted.',
    }),
  })
  .meta({ id: 'NewKey' });

const secretRequest = z
  .strictObject({
    overlapSeconds: z.int().min(0).max(overlapSecondsMax).default(overlapSecondsDefault).meta({
      description: 'How long the secret of before goes on signing.',
    }),
  })
  .meta({ id: 'SecretRequest' });

const secretReply = z
  .object({
    object: z.literal('secret'),
    key: z.string(),
    secret: z.string().meta({ description: 'Shown this once.' }),
    previousEndsAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'NewSecret' });

const keyListReply = z
  .object({ object: z.literal('list'), data: z.array(keyReply), nextCursor: z.string().nullable() })
  .meta({ id: 'KeyList' });

const listQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z
    .string()
    .regex(/^key_[0-9a-z]{1,40}$/, 'is the nextCursor of an earlier page')
    .optional(),
});

function view(key: StoredKey, caller: Caller) {
  return {
    object: 'key' as const,
    id: key.id,
    mode: caller.program.mode,
    client: key.clientName,
    role: key.role,
    stores: key.stores ?? null,
    limits: {
      pointsPerMovement: key.pointsPerMovementMax,
      pointsPerDay: key.pointsPerDayMax,
      backdateDays: key.backdateDaysMax,
    },
    createdAt: key.createdAt.toISOString(),
    expiresAt: key.expiresAt?.toISOString() ?? null,
    revokedAt: key.revokedAt?.toISOString() ?? null,
  };
}

/** The change holds here at once, elsewhere when announced, and within 400 ms in any case. */
async function spread({ keys, announce }: KeyContext): Promise<void> {
  await keys.refresh();
  await announce('api_key').catch(() => {});
}

function createRoute(context: KeyContext): Route {
  return route({
    method: 'POST',
    path: '/v1/keys',
    operationId: 'createKey',
    summary: 'Create a key; its token is shown this once',
    tag: 'keys',
    roles: ['admin'],
    body: keyRequest,
    replies: { 201: newKeyReply },
    errors: [],
    async handle({ caller, body }) {
      const expiresAt = body.expiresAt === undefined ? undefined : new Date(body.expiresAt);
      if (expiresAt !== undefined && expiresAt.getTime() <= Date.now()) {
        throw validationProblem([{ pointer: '/expiresAt', detail: 'lies in the past' }]);
      }
      const draft = {
        program: caller.program.number,
        client: body.client,
        stores: body.stores,
        pointsPerMovementMax: body.limits?.pointsPerMovement,
        pointsPerDayMax: body.limits?.pointsPerDay,
        backdateDaysMax: body.limits?.backdateDays,
        expiresAt,
        actor: caller.keyId,
      };
      const { role } = body;
      const { key, ...shown } =
        role === 'partner'
          ? await createPartnerKey(context.pool, context.sealing, draft)
          : await createKey(context.pool, { ...draft, role }).then(({ key, token }) => ({ key, token }));
      await spread(context);
      return { status: 201, body: { ...view(key, caller), ...shown } };
    },
  });
}

function secretRoute(context: KeyContext): Route {
  return route({
    method: 'POST',
    path: '/v1/keys/:id/secrets',
    operationId: 'createSecret',
    summary: 'A new secret for a key of role partner; the one before it goes on signing for a while',
    tag: 'keys',
    roles: ['admin'],
    body: secretRequest,
    replies: { 201: secretReply },
    errors: ['not_found'],
    async handle({ caller, params, body: { overlapSeconds } }) {
      const keyId = params.id ?? '';
      const to = { program: caller.program.number, keyId, overlapSeconds, actor: caller.keyId };
      const added = await addSecret(context.pool, context.sealing, to);
      if (!added) throw new Problem('not_found', 'The program has no such key of role partner in force.');
      await spread(context);
      const previousEndsAt = added.previousEndsAt?.toISOString() ?? null;
      return { status: 201, body: { object: 'secret', key: keyId, secret: added.secret, previousEndsAt } };
    },
  });
}

/** The calls on keys. */
export function keyRoutes(context: KeyContext): Route[] {
  return [
    createRoute(context),
    secretRoute(context),
    route({
      method: 'GET',
      path: '/v1/keys',
      operationId: 'listKeys',
      summary: 'Keys of the program, newest first, revoked ones too',
      tag: 'keys',
      roles: ['admin'],
      query: listQuery,
      replies: { 200: keyListReply },
      errors: [],
      async handle({ caller, query }) {
        const found = await listKeys(context.pool, caller.program.number, {
          after: query.cursor,
          limit: query.limit + 1,
        });
        const data = found.slice(0, query.limit);
        const nextCursor = found.length > query.limit ? (data.at(-1)?.id ?? null) : null;
        return {
          status: 200,
          body: { object: 'list', data: data.map((key) => view(key, caller)), nextCursor },
        };
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/keys/:id',
      operationId: 'revokeKey',
      summary: 'Revoke a key, within a second on every process',
      tag: 'keys',
      roles: ['admin'],
      replies: { 200: keyReply },
      errors: ['not_found'],
      async handle({ caller, params }) {
        const key = await revokeKey(context.pool, caller.program.number, params.id ?? '', caller.keyId);
        if (key === undefined) throw new Problem('not_found', 'The program has no such key.');
        await spread(context);
        return { status: 200, body: view(key, caller) };
      },
    }),
  ];
}
