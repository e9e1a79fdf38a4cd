/** `GET /v1/members/:member/statement` */
import type pg from 'pg';
import { z } from 'zod';
import { type Program, programNow } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { queryPointer } from '#src/http/faults.ts';
import { faultProblem } from '#src/http/problem.ts';
import { type Call, type Reply, type Route, route } from '#src/http/route.ts';
import { type EpochMs, memberId, type OperationHex, type Soon } from '#src/values.ts';
import type { MemberFacts } from '#src/wallet/lookup.ts';
import type { Operations } from '#src/wallet/operations.ts';
import {
  buckets,
  dayStart,
  familyOf,
  openingOf,
  type StatementCursor,
  statementKinds,
  statementPage,
} from './statement.ts';

export interface StatementContext {
  readonly pool: pg.Pool;
  readonly operations: Operations;
  resolvePathMember(program: Program, text: string): Soon<MemberFacts | undefined>;
}

const bound = z.union([z.iso.datetime({ offset: true }), z.iso.date()]);

const statementQuery = z.strictObject({
  from: bound.optional().meta({ description: 'A time, or a day in the zone of the program; inclusive.' }),
  to: bound
    .optional()
    .meta({ description: 'A time, exclusive, or a day in the zone of the program, through its end.' }),
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().min(1).max(256).optional(),
});
type StatementQuery = z.output<typeof statementQuery>;

const entryReply = z
  .object({
    object: z.literal('entry'),
    operation: z.string(),
    member: z.string().meta({ description: 'The member, or one that was merged into it.' }),
    kind: z.enum(statementKinds),
    currency: z.string(),
    points: z.int().meta({ description: 'By how much the figure of the bucket changed.' }),
    bucket: z.enum(buckets),
    balanceAfter: z.int().meta({ description: 'The figure of the bucket after the operation.' }),
    occurredAt: z.iso.datetime(),
    at: z.iso.datetime().meta({
      description: 'When the points moved; entries are in the order of their operations, which is this.',
    }),
    postedAt: z.iso.datetime().meta({ description: 'When it was written to the ledger.' }),
    order: z.string().optional(),
    store: z.string().optional(),
    rule: z.string().optional(),
    expiresOn: z.iso.date().optional().meta({ description: 'The last day on which the points count.' }),
    decidedStale: z.literal(true).optional().meta({
      description:
        'Acknowledged by a Redis that had come back older than the ledger; `balanceAfter` is what the caller was told.',
    }),
  })
  .meta({ id: 'StatementEntry' });

const statementReply = z
  .object({
    object: z.literal('list'),
    member: z.string(),
    mode: z.enum(['live', 'test']),
    timeZone: z.string(),
    asOf: z.iso
      .datetime()
      .meta({ description: 'Everything acknowledged before this time is in the statement.' }),
    data: z.array(entryReply),
    nextCursor: z.string().nullable(),
    opening: z
      .object({
        before: z.iso.datetime(),
        balances: z.array(z.object({ currency: z.string(), points: z.int(), held: z.int(), debt: z.int() })),
      })
      .optional()
      .meta({
        description:
          'On the last page where older months are archived: what the member had when they ended, pending points among `points`.',
      }),
  })
  .meta({ id: 'Statement' });

const cursorSchema = z.tuple([z.string().regex(/^[0-9a-f]{32}$/), z.int().min(0)]);

function cursorText({ operation, shown }: StatementCursor): string {
  return Buffer.from(JSON.stringify([operation, shown])).toString('base64url');
}

function cursorOf(text: string): StatementCursor {
  const wrong = () => faultProblem(queryPointer(['cursor']), 'is not the nextCursor of an earlier page');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw wrong();
  }
  const parsed = cursorSchema.safeParse(value);
  if (!parsed.success) throw wrong();
  const [operation, shown] = parsed.data;
  return { operation: operation as OperationHex, shown };
}

function isDay(text: string): boolean {
  return text.length === 10;
}

function boundsOf(
  { from, to }: StatementQuery,
  program: Program,
): { from: EpochMs | undefined; to: EpochMs | undefined } {
  const start = from && (isDay(from) ? dayStart(from, program) : Date.parse(from));
  const end = to && (isDay(to) ? dayStart(to, program, 1) : Date.parse(to));
  return { from: start || undefined, to: end || undefined };
}

/** Waits until the books hold everything that these shards have acknowledged. */
async function untilWritten(
  { wallet }: Operations,
  shards: ReadonlySet<number>,
  timeoutMs: number,
): Promise<void> {
  const waited = await Promise.all([...shards].map((shard) => wallet.readBarrier(shard, timeoutMs)));
  if (waited.includes('timeout')) throw new Problem('not_ready', 'the books are behind; ask again');
}

async function statement(context: StatementContext, call: Call<unknown, StatementQuery>): Promise<Reply> {
  const { pool, operations } = context;
  const { caller, query, params, waitMs } = call;
  const { program } = caller;
  const after = query.cursor === undefined ? undefined : cursorOf(query.cursor);
  const facts = await context.resolvePathMember(program, params.member ?? '');
  if (!facts) throw new Problem('member_not_found');
  const asOf = programNow(program);
  const own = operations.wallet.shardOf(facts.member);
  await untilWritten(operations, new Set([own]), waitMs);
  const members = await familyOf(pool, program, facts.member);
  const [survivor] = members;
  if (survivor === undefined) throw new Problem('member_not_found');
  const others = new Set(members.map((member) => operations.wallet.shardOf(member)));
  others.delete(own);
  await untilWritten(operations, others, waitMs);
  const { entries, next } = await statementPage(pool, {
    program,
    members,
    ...boundsOf(query, program),
    limit: query.limit,
    after,
  });
  const opening = next ? undefined : await openingOf(pool, program, members);
  return {
    status: 200,
    body: {
      object: 'list',
      member: memberId(survivor),
      mode: program.mode,
      timeZone: program.timeZone,
      asOf: new Date(asOf).toISOString(),
      data: entries,
      nextCursor: next ? cursorText(next) : null,
      ...(opening ? { opening } : {}),
    },
  };
}

/** The statement of a member. */
export function statementRoutes(context: StatementContext): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/members/:member/statement',
      operationId: 'getStatement',
      summary: 'What moved the points of a member, newest first',
      tag: 'wallet',
      roles: ['pos', 'checkout', 'care', 'finance', 'admin'],
      query: statementQuery,
      replies: { 200: statementReply },
      errors: ['validation_failed', 'member_not_found', 'shard_recovering'],
      handle: (call) => statement(context, call),
    }),
  ];
}
