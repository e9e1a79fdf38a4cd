/** `/v1/program/gives`: the runs that give members points, and the pausing of them. */
import type pg from 'pg';
import { z } from 'zod';
import { Problem } from '#src/errors.ts';
import { type Call, type Reply, type Role, type Route, route } from '#src/http/route.ts';
import { pauseRun, readRun, readRuns, resumeRun } from './runs.ts';

export interface GivesContext {
  readonly pool: pg.Pool;
}

const admin: readonly Role[] = ['admin'];

const runSchema = z
  .object({
    object: z.literal('giveRun'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    promotion: z.string(),
    occurrence: z.iso.date().meta({ description: "The day of the promotion, in the program's zone." }),
    programVersion: z.int(),
    status: z.enum(['planned', 'running', 'paused', 'done']),
    dueAt: z.iso.datetime().meta({ description: 'When the giving begins, by the clock of the program.' }),
    plannedAt: z.iso.datetime(),
    endedAt: z.iso.datetime().optional(),
    members: z.int().meta({ description: 'Who was selected when the run became due.' }),
    given: z.int().meta({ description: 'Who has the points, in the ledger.' }),
    refused: z
      .record(z.string(), z.int())
      .meta({ description: 'Who could not be given points any more, by reason.' }),
    open: z.int(),
    currency: z.string(),
    pointsEach: z.int(),
    points: z.int(),
    chunks: z.object({ total: z.int(), done: z.int(), attempts: z.int() }),
    lastError: z
      .string()
      .optional()
      .meta({ description: 'Why the last attempt failed; it is tried again until it works.' }),
  })
  .meta({ id: 'GiveRun' });

const listQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  before: z
    .string()
    .regex(/^\d{1,15}$/)
    .optional()
    .meta({ description: 'The id of a run: those that were planned before it.' }),
});

/** The number of the run that a path names. */
function runOf({ params }: Pick<Call, 'params'>): number {
  const text = params.run ?? '';
  if (!/^\d{1,15}$/.test(text)) throw new Problem('not_found');
  return Number(text);
}

async function runReply({ pool }: GivesContext, call: Call): Promise<Reply> {
  const run = await readRun(pool, call.caller.program, runOf(call));
  if (!run) throw new Problem('not_found');
  return { status: 200, body: run };
}

export function givesRoutes(context: GivesContext): Route[] {
  const { pool } = context;
  return [
    route({
      method: 'GET',
      path: '/v1/program/gives',
      operationId: 'listGiveRuns',
      summary: 'Runs that give members points, newest first, with their progress',
      tag: 'program',
      roles: admin,
      query: listQuery,
      replies: {
        200: z.object({ object: z.literal('list'), data: z.array(runSchema) }).meta({ id: 'GiveRuns' }),
      },
      errors: [],
      async handle({ caller, query }) {
        const before = query.before === undefined ? undefined : Number(query.before);
        const data = await readRuns(pool, caller.program, query.limit, before);
        return { status: 200, body: { object: 'list', data } };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/program/gives/:run',
      operationId: 'getGiveRun',
      summary: 'One run with its progress; its report once it is done',
      tag: 'program',
      roles: admin,
      replies: { 200: runSchema },
      errors: ['not_found'],
      handle: (call) => runReply(context, call),
    }),
    route({
      method: 'POST',
      path: '/v1/program/gives/:run/pause',
      operationId: 'pauseGiveRun',
      summary: 'Pause a run; who has the points keeps them',
      tag: 'program',
      roles: admin,
      replies: { 200: runSchema },
      errors: ['not_found'],
      async handle(call) {
        await pauseRun(pool, call.caller.program, runOf(call));
        return runReply(context, call);
      },
    }),
    route({
      method: 'POST',
      path: '/v1/program/gives/:run/resume',
      operationId: 'resumeGiveRun',
      summary: 'Go on with a paused run where it was',
      tag: 'program',
      roles: admin,
      replies: { 200: runSchema },
      errors: ['not_found'],
      async handle(call) {
        await resumeRun(pool, call.caller.program, runOf(call));
        return runReply(context, call);
      },
    }),
  ];
}
