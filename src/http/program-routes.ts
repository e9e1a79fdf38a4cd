/** `/v1/program` and the clock of a test program. */
import type pg from 'pg';
import { z } from 'zod';
import {
  advanceClock,
  moveClock,
  type Program,
  type Programs,
  presentVersion,
  programNow,
  versionAt,
} from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import { type Route, roles, route } from './route.ts';

export interface ProgramContext {
  readonly pool: pg.Pool;
  readonly programs: Programs;
  /** Tells the other processes that a table changed. */
  announce(table: 'api_key' | 'program'): Promise<void>;
}

/** Far enough for any expiry policy, near enough that every time stays a date with four digits of year. */
const clockAheadDaysMax = 36_500;
const dayMs = 86_400_000;

const programReply = z
  .object({
    object: z.literal('program'),
    name: z.string(),
    mode: z.enum(['live', 'test']),
    timeZone: z.string(),
    now: z.iso.datetime(),
    version: z.int().meta({ description: 'The version in force now.' }),
    nextVersion: z.object({ version: z.int(), effectiveFrom: z.iso.datetime() }).nullable(),
    currencies: z.array(
      z.object({ code: z.string(), spendable: z.boolean(), poolable: z.boolean(), main: z.boolean() }),
    ),
    client: z.string(),
    role: z.enum(roles),
    stores: z.array(z.string()).nullable(),
  })
  .meta({ id: 'Program' });

const clockReply = z
  .object({ object: z.literal('testClock'), mode: z.enum(['live', 'test']), now: z.iso.datetime() })
  .meta({ id: 'TestClock' });

const setClockRequest = z
  .strictObject({ now: z.iso.datetime({ offset: true }) })
  .meta({ id: 'TestClockRequest' });

const advanceClockRequest = z
  .strictObject({
    seconds: z
      .int()
      .min(1)
      .max((clockAheadDaysMax * dayMs) / 1000),
  })
  .meta({ id: 'TestClockAdvanceRequest' });

function clockView(program: Program) {
  return {
    object: 'testClock' as const,
    mode: program.mode,
    now: new Date(programNow(program)).toISOString(),
  };
}

function checkIsTest(program: Program): void {
  if (program.mode !== 'test')
    throw new Problem('clock_not_movable', 'The program is live; only a test clock moves.');
}

/** The program as the database has it now: another process may have moved the clock a moment ago. */
async function current(context: ProgramContext, program: Program): Promise<Program> {
  await context.programs.refresh();
  return context.programs.get(program.number) ?? program;
}

/** Runs a move of the clock and answers the program as it is then. */
async function move(
  context: ProgramContext,
  program: Program,
  run: () => Promise<boolean>,
  refusal: string,
): Promise<Program> {
  if (!(await run())) throw new Problem('clock_not_movable', refusal);
  const moved = await current(context, program);
  await context.announce('program').catch(() => {});
  return moved;
}

const tooFar = `The clock may be at most ${clockAheadDaysMax} days ahead of real time.`;

async function setClock(context: ProgramContext, program: Program, now: number): Promise<Program> {
  const offsetMs = now - Date.now();
  if (offsetMs > clockAheadDaysMax * dayMs) throw new Problem('clock_not_movable', tooFar);
  return move(
    context,
    program,
    () => moveClock(context.pool, program.number, offsetMs),
    'The clock only moves forward.',
  );
}

function clockRoutes(context: ProgramContext): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/test-clock',
      operationId: 'getTestClock',
      summary: 'What time it is for the program',
      tag: 'program',
      roles: ['admin'],
      replies: { 200: clockReply },
      errors: [],
      handle: async ({ caller }) => ({ status: 200, body: clockView(caller.program) }),
    }),
    route({
      method: 'PUT',
      path: '/v1/test-clock',
      operationId: 'setTestClock',
      summary: 'Set the clock of a test program to a later time',
      tag: 'program',
      roles: ['admin'],
      body: setClockRequest,
      replies: { 200: clockReply },
      errors: ['clock_not_movable'],
      async handle({ caller, body }) {
        checkIsTest(caller.program);
        const moved = await setClock(context, caller.program, Date.parse(body.now));
        return { status: 200, body: clockView(moved) };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/test-clock/advance',
      operationId: 'advanceTestClock',
      summary: 'Move the clock of a test program forward',
      tag: 'program',
      roles: ['admin'],
      body: advanceClockRequest,
      replies: { 200: clockReply },
      errors: ['clock_not_movable'],
      async handle({ caller, body }) {
        checkIsTest(caller.program);
        const { program } = caller;
        const by = () =>
          advanceClock(context.pool, program.number, body.seconds * 1000, clockAheadDaysMax * dayMs);
        const moved = await move(context, program, by, tooFar);
        return { status: 200, body: clockView(moved) };
      },
    }),
  ];
}

/** What is applied and has not begun. Of two that begin at once the later one is meant. */
function nextVersion(program: Program): { version: number; effectiveFrom: string } | null {
  const now = programNow(program);
  const begin = program.versions.find(({ effectiveFrom }) => effectiveFrom > now)?.effectiveFrom;
  if (begin === undefined) return null;
  return { version: versionAt(program, begin).version, effectiveFrom: new Date(begin).toISOString() };
}

/** The calls about the program itself. */
export function programRoutes(context: ProgramContext): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/program',
      operationId: 'getProgram',
      summary: 'The program, its clock and currencies, and who you are in it',
      tag: 'program',
      roles,
      replies: { 200: programReply },
      errors: [],
      async handle({ caller }) {
        const { program } = caller;
        const currencies = [...program.currencyByCode.values()].map(({ code, spendable, poolable }) => ({
          code,
          spendable,
          poolable,
          main: code === program.mainCurrency.code,
        }));
        const { name, mode, timeZone } = program;
        const now = new Date(programNow(program)).toISOString();
        const { version } = presentVersion(program);
        const { clientName, role, stores } = caller;
        return {
          status: 200,
          body: {
            object: 'program',
            name,
            mode,
            timeZone,
            now,
            version,
            nextVersion: nextVersion(program),
            currencies,
            client: clientName,
            role,
            stores: stores ?? null,
          },
        };
      },
    }),
    ...clockRoutes(context),
  ];
}
