/** `/openapi.json`: the routes described from the schemas that check them, so that description and behaviour are one. */
import { z } from 'zod';
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiParameters,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import { type ErrorCode, errorTable } from '#src/errors.ts';
import type { Page } from './page.ts';
import { isSigned, type Route } from './route.ts';

/** `validation_failed` too, because a `Prefer` header can be malformed on any call. */
const anyCall: readonly ErrorCode[] = [
  'validation_failed',
  'key_missing',
  'key_unknown',
  'role_not_allowed',
  'internal',
  'clock_skew',
  'outcome_unknown',
  'not_ready',
];
/** A signed call sends no key. */
const ofKeys: readonly ErrorCode[] = ['key_missing', 'key_unknown'];
const withBody: readonly ErrorCode[] = ['body_malformed', 'body_too_large', 'media_type_unsupported'];

const allCodes = Object.keys(errorTable) as [ErrorCode, ...ErrorCode[]];

const problemSchema = z
  .looseObject({
    type: z.string().meta({ description: 'Where the code is explained, relative to the service.' }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(allCodes),
    requestId: z.string(),
    applied: z.enum(['no', 'unknown']).meta({
      description:
        '`no`: nothing was changed. `unknown`: repeat the call with the same reference to find out.',
    }),
    errors: z
      .array(
        z.object({
          pointer: z.string(),
          detail: z.string(),
          path: z.string().optional().meta({ description: 'In a program file: what the fault is about.' }),
          line: z.int().optional(),
          column: z.int().optional(),
        }),
      )
      .optional()
      .meta({
        description:
          'The faults of the input: a JSON pointer into the body, or `query:`, `path:`, `header:` and a name.',
      }),
    available: z.int().optional().meta({ description: 'With `insufficient_points`.' }),
    left: z.int().optional().meta({ description: 'With `reversal_exceeds_original`.' }),
    line: z.int().optional().meta({ description: 'With `file_refused`.' }),
    expected: z.int().optional().meta({ description: 'With `file_out_of_sequence`: the next number.' }),
    reason: z
      .string()
      .optional()
      .meta({ description: 'With `signature_invalid`, `file_refused` and `file_out_of_sequence`.' }),
    required: z.int().optional().meta({ description: 'With `insufficient_points`.' }),
  })
  .meta({ id: 'Problem', description: 'A refusal (RFC 9457).' });

const requestIdHeader = z.string().meta({
  header: { id: 'RequestId' },
  description: 'Names the request in logs; `X-Request-Id` of the request where that was sane.',
});
const replayedHeader = z
  .enum(['true'])
  .optional()
  .meta({
    header: { id: 'IdempotentReplayed' },
    description: 'The reference was used before with the same request; this is the first answer.',
  });
const retryAfterHeader = z
  .string()
  .optional()
  .meta({
    header: { id: 'RetryAfter' },
    description: 'Seconds after which the same call may succeed.',
  });
const challengeHeader = z.string().meta({ header: { id: 'Challenge' }, description: 'How to authenticate.' });

const preferHeader = z.string().optional().meta({
  description: 'Bounds every wait: `wait=SECONDS`, 0 to 10, default 2.',
  example: 'wait=5',
});
const idempotencyKeyHeader = z.string().optional().meta({
  description: 'Stands in for `reference` when the body has none; both and different is refused.',
});

/** Whether a call moves points: exactly those can meet a reference that was used before. */
function isMovement(route: Route): boolean {
  return route.errors.includes('reference_reused');
}

/** Whether `Prefer: wait` bounds anything: movements wait for the books, reads for what was acknowledged before them. */
function mayWait(route: Route): boolean {
  return isMovement(route) || (route.method === 'GET' && route.tag !== 'keys' && route.tag !== 'program');
}

function codesOf(route: Route): readonly ErrorCode[] {
  const ofRepeats: readonly ErrorCode[] = isMovement(route) ? ['operation_archived'] : [];
  const every = isSigned(route) ? anyCall.filter((code) => !ofKeys.includes(code)) : anyCall;
  return [
    ...new Set([...every, ...(route.body || route.stream ? withBody : []), ...route.errors, ...ofRepeats]),
  ];
}

function headersFor(status: number) {
  if (status === 401) return z.object({ 'Request-Id': requestIdHeader, 'WWW-Authenticate': challengeHeader });
  if (status === 409 || status >= 429)
    return z.object({ 'Request-Id': requestIdHeader, 'Retry-After': retryAfterHeader });
  return z.object({ 'Request-Id': requestIdHeader });
}

function problemResponses(route: Route): ZodOpenApiResponsesObject {
  const byStatus = Map.groupBy(codesOf(route), (code) => errorTable[code].status);
  const responses: ZodOpenApiResponsesObject = {};
  for (const [status, codes] of [...byStatus].toSorted(([a], [b]) => a - b)) {
    const lines = codes.map((code) => `\`${code}\`: ${errorTable[code].title}.`);
    responses[`${status}` as '400'] = {
      description: lines.join('\n\n'),
      headers: headersFor(status),
      content: {
        'application/problem+json': {
          schema: {
            allOf: [{ $ref: '#/components/schemas/Problem' }],
            type: 'object',
            properties: { status: { const: status }, code: { enum: [...codes] } },
          },
        },
      },
    };
  }
  return responses;
}

function descriptionOf(status: number, route: Route): string {
  if (status === 202) return 'Done, durable in the journal; the books follow. The body is that of the 201.';
  return isMovement(route) ? 'Done, and durable as `ledger.durability` says.' : 'Done.';
}

function successResponses(route: Route): ZodOpenApiResponsesObject {
  const headers = isMovement(route)
    ? z.object({ 'Request-Id': requestIdHeader, 'Idempotent-Replayed': replayedHeader })
    : z.object({ 'Request-Id': requestIdHeader });
  const responses: ZodOpenApiResponsesObject = {};
  for (const [status, schema] of Object.entries(route.replies)) {
    responses[status as '200'] = {
      description: descriptionOf(Number(status), route),
      headers,
      content: { 'application/json': { schema } },
    };
  }
  return responses;
}

function parametersOf(route: Route): ZodOpenApiParameters {
  const names = [...route.path.matchAll(/:([A-Za-z]+)/g)].map((match) => match[1] ?? '');
  const path = z.object(Object.fromEntries(names.map((name) => [name, z.string().min(1)])));
  const header = z.object({
    ...(mayWait(route) && { Prefer: preferHeader }),
    ...(isMovement(route) && !isSigned(route) && { 'Idempotency-Key': idempotencyKeyHeader }),
  });
  const query = route.query as ZodOpenApiParameters['query'];
  return { ...(names.length > 0 && { path }), ...(query && { query }), header };
}

function operationOf(route: Route): ZodOpenApiOperationObject {
  return {
    operationId: route.operationId,
    summary: route.summary,
    description: `Roles: ${route.roles.join(', ')}.`,
    tags: [route.tag],
    ...(isSigned(route) && { security: [{ signature: [] }] }),
    requestParams: parametersOf(route),
    ...(route.body && {
      requestBody: { required: true, content: { 'application/json': { schema: route.body } } },
    }),
    ...(route.stream && {
      requestBody: { required: true, content: { [route.stream.mediaType]: { schema: { type: 'string' } } } },
    }),
    responses: { ...successResponses(route), ...problemResponses(route) },
  };
}

const tags = [
  { name: 'earning', description: 'Award points for what members buy and do, and take them back.' },
  { name: 'redemption', description: 'Quotes, holds, redemptions, refunds and returns.' },
  { name: 'members', description: 'Enrol, find, suspend, merge and erase members.' },
  { name: 'pools', description: "Households: members who may spend one another's points." },
  {
    name: 'partners',
    description:
      'What is agreed with partners, by which rates points are exchanged, links of members, and the signed calls of partners.',
  },
  { name: 'wallet', description: 'Balances, statements, adjustments, transfers and single operations.' },
  { name: 'program', description: 'The program and its clock.' },
  { name: 'keys', description: 'Who may call.' },
];

const introduction = `Points in, points out, on the books. The guides are at [/docs](/docs).

Every movement of points carries a \`reference\`, the caller's own name of this attempt: store it before the first send and
repeat with it whenever an answer is missing. It is applied once, however often it is sent.`;

export interface OpenapiOptions {
  readonly version: string;
  /** Forbids fields in replies that are not described. For tests; callers must ignore fields that they do not know. */
  readonly repliesClosed?: boolean;
}

/** The OpenAPI 3.1 document of the routes. */
export function openapiDocument(
  routes: readonly Route[],
  { version, repliesClosed = false }: OpenapiOptions,
) {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:([A-Za-z]+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route) };
  }
  return createDocument(
    {
      openapi: '3.1.0',
      info: {
        title: 'Points engine',
        version,
        description: introduction,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      security: [{ key: [] }],
      tags,
      paths: paths as ZodOpenApiPathsObject,
      components: {
        schemas: { Problem: problemSchema },
        securitySchemes: {
          key: { type: 'http', scheme: 'bearer', description: 'An API key: `lk_…`.' },
          signature: {
            type: 'apiKey',
            in: 'header',
            name: 'Loyalty-Signature',
            description:
              'With `Loyalty-Key`, `Loyalty-Timestamp` and `Loyalty-Nonce`: [partners](/docs/partner).',
          },
        },
      },
    },
    {
      override({ jsonSchema, io }) {
        if (io === 'output' && !repliesClosed && jsonSchema.additionalProperties === false)
          delete jsonSchema.additionalProperties;
      },
    },
  );
}

/** The document as a page. It is built once. */
export function openapiPage(routes: readonly Route[], version = '1'): Page {
  const body = JSON.stringify(openapiDocument(routes, { version }));
  const content = {
    status: 200,
    type: 'application/json; charset=utf-8',
    body,
    headers: ['Cache-Control', 'no-cache'],
  };
  return { path: '/openapi.json', content: () => content };
}
