/** The calls about tiers: where a member stands, what people give, who would move, and the recalculations. */
import { draftOf } from '#src/earning/backtest/draft.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import type { ProgramVersion } from '#src/earning/program.ts';
import { Problem, validationProblem } from '#src/errors.ts';
import { type Call, type Caller, type Role, type Route, route } from '#src/http/route.ts';
import { seesPersonal, survivingMember } from '#src/members/records.ts';
import { memberId, parseMemberId } from '#src/values.ts';
import { referenceOf } from '#src/wallet/fields.ts';
import { dateText, dayOf } from './days.ts';
import { endGrant, type GrantingContext, grantTier, protectTier } from './granting.ts';
import { matchTier } from './matching.ts';
import { type PreviewPage, preview, previewingOf } from './preview.ts';
import { tierView } from './reading.ts';
import { beginRun, type Run, readRuns } from './recalculating.ts';
import type { Reviewing } from './reviewing.ts';
import {
  endGrantSchema,
  grantSchema,
  matchSchema,
  previewQuery,
  previewReply,
  previewSchema,
  protectionSchema,
  runListReply,
  runReply,
  tierReply,
} from './schemas.ts';

const reading: readonly Role[] = ['pos', 'checkout', 'care', 'finance', 'admin'];
const giving: readonly Role[] = ['care', 'admin'];
const admin: readonly Role[] = ['admin'];

function memberOf(call: Pick<Call, 'params'>): string {
  return call.params.member ?? '';
}

async function readTier({ pool, identity }: GrantingContext, call: Call): Promise<Record<string, unknown>> {
  const { program, role } = call.caller;
  const { number: member, joined_at: joinedAt } = await survivingMember(
    pool,
    identity,
    program,
    memberOf(call),
  );
  const reader = { identity, program, member, isPersonal: seesPersonal(role) };
  return tierView(pool, reader, { member, joinedAt });
}

const editErrors = [
  'member_not_found',
  'member_not_active',
  'reference_reused',
  'not_found',
  'match_refused',
  'tier_limit',
] as const;

function memberRoutes(context: GrantingContext): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/members/:member/tier',
      operationId: 'getMemberTier',
      summary: 'Where a member stands on every ladder, why, and how far it is to the next tier',
      tag: 'members',
      roles: reading,
      replies: { 200: tierReply },
      errors: ['member_not_found'],
      handle: async (call) => ({ status: 200, body: await readTier(context, call) }),
    }),
    route({
      method: 'POST',
      path: '/v1/members/:member/tier',
      operationId: 'grantTier',
      summary: 'Give a member a tier, with a reason and until a day; what is earned goes on beside it',
      tag: 'members',
      roles: giving,
      body: grantSchema,
      replies: { 200: tierReply, 202: tierReply },
      errors: editErrors,
      handle: (call) =>
        grantTier(context, call.caller, memberOf(call), referenceOf(call, call.body), call.body),
    }),
  ];
}

/** What else is done by hand. */
function handRoutes(context: GrantingContext): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/members/:member/tier/grants/:grant/end',
      operationId: 'endTierGrant',
      summary: 'End a tier that was given, from today',
      tag: 'members',
      roles: giving,
      body: endGrantSchema,
      replies: { 200: tierReply, 202: tierReply },
      errors: editErrors,
      handle: (call) => {
        const grant = call.params.grant ?? '';
        const reference = referenceOf(call, call.body);
        return endGrant(context, call.caller, memberOf(call), grant, reference, call.body);
      },
    }),
    route({
      method: 'POST',
      path: '/v1/members/:member/tier/matches',
      operationId: 'matchTier',
      summary: "Match another program's tier by an offer of the program file",
      tag: 'members',
      roles: giving,
      body: matchSchema,
      replies: { 200: tierReply, 202: tierReply },
      errors: editErrors,
      handle: (call) =>
        matchTier(context, call.caller, memberOf(call), referenceOf(call, call.body), call.body),
    }),
    route({
      method: 'PUT',
      path: '/v1/members/:member/tier/protection',
      operationId: 'protectTier',
      summary: 'Let nothing of a member go down through a day',
      tag: 'members',
      roles: giving,
      body: protectionSchema,
      replies: { 200: tierReply, 202: tierReply },
      errors: editErrors,
      handle: (call) =>
        protectTier(context, call.caller, memberOf(call), referenceOf(call, call.body), call.body),
    }),
  ];
}

const moved = (moves: Run['moves']) =>
  moves.map(([ladder, from, to, members]) => ({ ladder, from, to, members }));

function previewView({ program }: Caller, { now }: Reviewing, page: PreviewPage): Record<string, unknown> {
  return {
    object: 'tierPreview',
    mode: program.mode,
    day: dateText(dayOf(now, program.timeZone)),
    role: page.role,
    members: page.members,
    moves: moved(page.moves),
    data: page.moving.flatMap(({ member, ladder, moves }) =>
      moves
        .filter(({ from, to }) => from !== to)
        .map(({ from, to, since, until, origin, reason }) => ({
          ...{ member: memberId(member), ladder, from, to, since: dateText(since) },
          ...(until === undefined ? {} : { until: dateText(until) }),
          ...{ origin, reason },
        })),
    ),
    nextCursor: page.next === undefined ? null : memberId(page.next),
  };
}

/** Members that one call looks at: some tenths of a second of PostgreSQL's time. */
const previewChunks = 5;
const previewChunkMembers = 2_000;

async function previewed(
  { pool }: GrantingContext,
  caller: Caller,
  query: { readonly after?: string | undefined; readonly limit: number },
  draft?: ProgramVersion,
) {
  const reviewing = previewingOf(caller.program, draft);
  const after = query.after === undefined ? 0 : parseMemberId(query.after);
  const page = await preview(pool, reviewing, {
    after: after ?? 0,
    movingMax: query.limit,
    chunksMax: previewChunks,
    chunkMembers: previewChunkMembers,
  });
  return { status: 200, body: previewView(caller, reviewing, page) };
}

function draftVersion({ program }: Caller, source: string): ProgramVersion {
  const { file, faults } = readProgramFile(source);
  if (!file)
    throw validationProblem(
      faults.map(({ pointer, line, column, detail }) => ({
        pointer: '/source',
        detail: `line ${line}, column ${column}: ${pointer} ${detail}`,
      })),
    );
  if (file.timeZone !== program.timeZone)
    throw validationProblem([{ pointer: '/source', detail: `has another zone than ${program.timeZone}` }]);
  return draftOf(file, program).version;
}

function runView({ program }: Caller, run: Run): Record<string, unknown> {
  return {
    object: 'tierRun',
    mode: program.mode,
    id: String(run.run),
    day: dateText(run.day),
    programVersion: run.version,
    occasion: run.occasion,
    status: run.status,
    members: run.members,
    changes: run.changes,
    warnings: run.warnings,
    moves: moved(run.moves),
    startedAt: run.startedAt.toISOString(),
    ...(run.endedAt === null ? {} : { endedAt: run.endedAt.toISOString() }),
  };
}

const runsShownMax = 50;

function programRoutes(context: GrantingContext): Route[] {
  const { pool } = context;
  return [
    route({
      method: 'GET',
      path: '/v1/tiers/preview',
      operationId: 'previewTiers',
      summary: 'Who would move if everybody were looked at now, and why; nothing is changed',
      tag: 'program',
      roles: admin,
      query: previewQuery,
      replies: { 200: previewReply },
      errors: [],
      handle: ({ caller, query }) => previewed(context, caller, query),
    }),
    route({
      method: 'POST',
      path: '/v1/tiers/preview',
      operationId: 'previewTiersOfFile',
      summary: 'Who would move if the ladders of a file were in force; nothing is changed',
      tag: 'program',
      roles: admin,
      query: previewQuery,
      body: previewSchema,
      bodyBytesMax: 1024 * 1024,
      replies: { 200: previewReply },
      errors: ['validation_failed'],
      handle: ({ caller, query, body }) =>
        previewed(context, caller, query, draftVersion(caller, body.source)),
    }),
    route({
      method: 'GET',
      path: '/v1/tiers/runs',
      operationId: 'listTierRuns',
      summary: 'Recalculations, newest first, with their progress',
      tag: 'program',
      roles: admin,
      replies: { 200: runListReply },
      errors: [],
      async handle({ caller }) {
        const runs = await readRuns(pool, caller.program.number, runsShownMax);
        return { status: 200, body: { object: 'list', data: runs.map((run) => runView(caller, run)) } };
      },
    }),
    route({
      method: 'POST',
      path: '/v1/tiers/runs',
      operationId: 'beginTierRun',
      summary: 'Look at all members again today; while a run is under way it is that one',
      tag: 'program',
      roles: admin,
      replies: { 202: runReply },
      errors: ['not_found'],
      async handle({ caller }) {
        const begun = await beginRun(pool, caller.program, 'demand');
        const run = begun ?? (await readRuns(pool, caller.program.number, 1))[0];
        if (!run) throw new Problem('not_found');
        return { status: 202, body: runView(caller, run) };
      },
    }),
  ];
}

/** Every call about tiers. */
export function tierRoutes(context: GrantingContext): Route[] {
  return [...memberRoutes(context), ...handRoutes(context), ...programRoutes(context)];
}
