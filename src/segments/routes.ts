/** `GET /v1/members/:member/segments` and the runs that measured them. */
import type pg from 'pg';
import { z } from 'zod';
import { lifecycleStages, segmentFacts } from '#src/earning/file/segment-schema.ts';
import type { Program } from '#src/earning/program.ts';
import { calendarDayOf } from '#src/earning/rules/calendar.ts';
import { Problem } from '#src/errors.ts';
import { type Route, route } from '#src/http/route.ts';
import type { Soon } from '#src/values.ts';
import { type MemberFacts, survivorOf } from '#src/wallet/lookup.ts';
import type { Operations } from '#src/wallet/operations.ts';
import { memberSegments } from './reading.ts';
import { type Run, runsOf } from './runs.ts';

export interface SegmentsContext {
  readonly pool: pg.Pool;
  readonly operations: Pick<Operations, 'lookup'>;
  resolvePathMember(program: Program, text: string): Soon<MemberFacts | undefined>;
}

const stages = lifecycleStages.map(({ stage }) => stage);

const factsSchema = z
  .object({
    ...Object.fromEntries(
      Object.entries(segmentFacts).map(([name, fact]) => {
        const described = { description: fact.means };
        return [name, (fact.kind === 'number' ? z.number() : z.enum(fact.words)).optional().meta(described)];
      }),
    ),
    lifecycle: z.enum(stages).meta({
      description: lifecycleStages.map(({ stage, means }) => `${stage}: ${means}`).join('; '),
    }),
  })
  .meta({ id: 'MemberFacts' });

const memberReply = z
  .object({
    object: z.literal('memberSegments'),
    member: z.string(),
    mode: z.enum(['live', 'test']),
    through: z.iso
      .date()
      .optional()
      .meta({ description: 'The last day that was measured; absent as long as no run has ended.' }),
    programVersion: z.int().optional(),
    segments: z.array(z.object({ name: z.string(), since: z.iso.date() })),
    facts: factsSchema.optional().meta({ description: 'Absent where the member has never bought anything.' }),
    history: z.array(z.object({ name: z.string(), since: z.iso.date(), until: z.iso.date() })),
  })
  .meta({ id: 'MemberSegments' });

const runSchema = z
  .object({
    object: z.literal('segmentRun'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    through: z.iso.date(),
    programVersion: z.int(),
    status: z.enum(['fitting', 'counting', 'cutting', 'deciding', 'done']),
    members: z.int().meta({ description: 'Who have ever bought, as far as they are counted.' }),
    entered: z.int(),
    left: z.int(),
    alerts: z.int(),
    plannedAt: z.iso.datetime(),
    endedAt: z.iso.datetime().optional(),
  })
  .meta({ id: 'SegmentRun' });

function runView(program: Program, run: Run): z.input<typeof runSchema> {
  return {
    object: 'segmentRun',
    id: String(run.run),
    mode: program.mode,
    through: calendarDayOf(run.throughDay).date,
    programVersion: run.version,
    status: run.status,
    members: run.members,
    entered: run.entered,
    left: run.gone,
    alerts: run.alerts,
    plannedAt: new Date(run.plannedAt).toISOString(),
    ...(run.endedAt === null ? {} : { endedAt: new Date(run.endedAt).toISOString() }),
  };
}

export function segmentRoutes(context: SegmentsContext): Route[] {
  const { pool, operations } = context;
  return [
    route({
      method: 'GET',
      path: '/v1/members/:member/segments',
      operationId: 'getMemberSegments',
      summary: 'Segments of a member, and what is known of it as a buyer',
      tag: 'members',
      roles: ['checkout', 'care', 'admin'],
      replies: { 200: memberReply },
      errors: ['member_not_found'],
      async handle({ caller, params }) {
        const named = await context.resolvePathMember(caller.program, params.member ?? '');
        const facts = await survivorOf(operations.lookup, named);
        if (!facts) throw new Problem('member_not_found');
        return { status: 200, body: await memberSegments(pool, caller.program, facts.member) };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/program/segments',
      operationId: 'listSegmentRuns',
      summary: 'Runs that measured members, newest first, with their progress',
      tag: 'program',
      roles: ['admin'],
      query: z.strictObject({ limit: z.coerce.number().int().min(1).max(100).default(20) }),
      replies: {
        200: z.object({ object: z.literal('list'), data: z.array(runSchema) }).meta({ id: 'SegmentRuns' }),
      },
      errors: [],
      async handle({ caller, query }) {
        const runs = await runsOf(pool, caller.program.number, query.limit);
        return {
          status: 200,
          body: { object: 'list', data: runs.map((run) => runView(caller.program, run)) },
        };
      },
    }),
  ];
}
