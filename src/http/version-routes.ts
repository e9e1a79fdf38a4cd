/** `/v1/program/versions`: what is configured of the own program, as a file that is applied version by version. */
import { DateTime } from 'luxon';
import { z } from 'zod';
import { changesBetween } from '#src/earning/file/diff.ts';
import { type FileFault, type Reading, readProgramFile } from '#src/earning/file/read.ts';
import { type Program, presentVersion } from '#src/earning/program.ts';
import {
  type Applied,
  applyVersion,
  fileOfVersion,
  listVersions,
  readVersion,
  type StoredVersion,
} from '#src/earning/versions.ts';
import { Problem, validationProblem } from '#src/errors.ts';
import type { ProgramContext } from './program-routes.ts';
import { type Caller, type Route, route } from './route.ts';

/** A file of a thousand rules. Reading one takes this process's time from others: 40 ms for the sample supermarket's 14 KiB. */
const sourceLengthMax = 256 * 1024;

const versionRequest = z
  .strictObject({
    source: z
      .string()
      .min(1)
      .max(sourceLengthMax)
      .meta({ description: 'The program file, YAML or JSON; it is kept byte for byte.' }),
    effectiveFrom: z
      .union([z.iso.date(), z.iso.datetime({ offset: true })])
      .optional()
      .meta({
        description:
          'When it begins: a day in the zone of the program, or a time with its offset. Default: in a second.',
      }),
    dryRun: z.boolean().optional().meta({ description: 'Says what would change and applies nothing.' }),
  })
  .meta({ id: 'ProgramVersionRequest' });

const versionFields = {
  version: z.int(),
  effectiveFrom: z.iso
    .datetime()
    .nullable()
    .meta({ description: 'Null for the first version: from the beginning.' }),
  title: z.string().optional(),
};

const placeFields = { path: z.string(), line: z.int(), column: z.int(), detail: z.string() };
const changeReply = z.object({
  change: z.enum(['added', 'removed', 'changed', 'moved']),
  what: z.string(),
  name: z.string(),
  fields: z.array(z.object({ field: z.string(), from: z.string().optional(), to: z.string().optional() })),
});

const appliedReply = z
  .object({
    object: z.literal('appliedVersion'),
    mode: z.enum(['live', 'test']),
    status: z.enum(['applied', 'unchanged', 'checked']),
    ...versionFields,
    warnings: z.array(z.object(placeFields)),
    changes: z.array(changeReply).meta({ description: 'Against the version that was the newest.' }),
  })
  .meta({ id: 'AppliedVersion' });

const statuses = ['superseded', 'in_force', 'scheduled'] as const;
const versionReply = z
  .object({
    object: z.literal('programVersion'),
    mode: z.enum(['live', 'test']),
    ...versionFields,
    status: z.enum(statuses),
    digest: z.string().meta({ description: 'sha256 of the file' }),
    appliedAt: z.iso.datetime(),
    appliedBy: z.string(),
  })
  .meta({ id: 'ProgramVersion' });
const versionWithSource = versionReply
  .extend({ source: z.string() })
  .meta({ id: 'ProgramVersionWithSource' });
const versionListReply = z
  .object({ object: z.literal('list'), data: z.array(versionReply), nextCursor: z.string().nullable() })
  .meta({ id: 'ProgramVersionList' });

const listQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, 'is the nextCursor of an earlier page')
    .optional(),
});

/** As callers read it; null for a version that has always been in force. */
export function effectiveText(at: number): string | null {
  return Number.isFinite(at) ? new Date(at).toISOString() : null;
}

function statusOf(program: Program, version: number): (typeof statuses)[number] {
  const present = presentVersion(program).version;
  if (version === present) return 'in_force';
  return version < present ? 'superseded' : 'scheduled';
}

function versionView({ program }: Caller, stored: StoredVersion) {
  const { version, effectiveFrom, title, digest, appliedAt, appliedBy } = stored;
  return {
    object: 'programVersion' as const,
    mode: program.mode,
    version,
    effectiveFrom: effectiveText(effectiveFrom),
    ...(title === undefined ? {} : { title }),
    status: statusOf(program, version),
    digest,
    appliedAt: appliedAt.toISOString(),
    appliedBy,
  };
}

function placeOf({ pointer: path, line, column, detail }: FileFault) {
  return { path, line, column, detail };
}

/** The faults of a file in a request: `pointer` is where the request has the file, `path` where the file has the fault. */
function fileProblem(faults: readonly FileFault[]): Problem {
  const errors = faults.map((fault) => ({ pointer: '/source', ...placeOf(fault) }));
  const first = faults[0]!;
  const where = `line ${first.line}, column ${first.column}`;
  return new Problem('validation_failed', `/source: ${where}: ${first.pointer} ${first.detail}`, { errors });
}

function instantOf(text: string | undefined, { timeZone }: Program): number | undefined {
  if (text === undefined) return undefined;
  const at = DateTime.fromISO(text, { zone: timeZone }).toMillis();
  if (Number.isFinite(at)) return at;
  throw validationProblem([{ pointer: '/effectiveFrom', detail: 'is not a day or time of the calendar' }]);
}

type Refused = Extract<Applied, { status: 'refused' }>;

function refusal({ inFile, inTime }: Refused, locate: Reading['locate']): Problem {
  if (inFile.length > 0) return fileProblem(inFile.map(locate));
  return validationProblem([{ pointer: '/effectiveFrom', detail: inTime ?? 'is not possible' }]);
}

async function apply(
  context: ProgramContext,
  { program, keyId }: Caller,
  { source, effectiveFrom, dryRun = false }: z.output<typeof versionRequest>,
) {
  const { file, faults, warnings, locate } = readProgramFile(source);
  if (!file) throw fileProblem(faults);
  const before = await fileOfVersion(context.pool, program, program.versions.at(-1)!.version);
  const draft = { file, source, effectiveFrom: instantOf(effectiveFrom, program), actor: keyId };
  const applied = await applyVersion(context.pool, program, draft, { dryRun });
  if (applied.status === 'refused') throw refusal(applied, locate);
  const isNew = applied.status === 'applied' && !dryRun;
  if (isNew) {
    await context.programs.refresh();
    await context.announce('program').catch(() => {});
  }
  const { version, effectiveFrom: from, definition } = applied.version;
  return {
    status: isNew ? 201 : 200,
    body: {
      object: 'appliedVersion' as const,
      mode: program.mode,
      status: applied.status === 'applied' && dryRun ? 'checked' : applied.status,
      version,
      effectiveFrom: effectiveText(from),
      ...(definition.title === undefined ? {} : { title: definition.title }),
      warnings: warnings.map(placeOf),
      changes: before && applied.status === 'applied' ? changesBetween(before, file) : [],
    },
  };
}

function applyRoute(context: ProgramContext): Route {
  return route({
    method: 'POST',
    path: '/v1/program/versions',
    operationId: 'applyProgramVersion',
    summary: 'Check a program file and make it the next version',
    tag: 'program',
    roles: ['admin'],
    body: versionRequest,
    // A character takes up to three bytes, or is escaped.
    bodyBytesMax: 4 * sourceLengthMax,
    replies: { 200: appliedReply, 201: appliedReply },
    errors: [],
    handle: ({ caller, body }) => apply(context, caller, body),
  });
}

/** The calls on versions of the program. */
export function versionRoutes(context: ProgramContext): Route[] {
  return [
    applyRoute(context),
    route({
      method: 'GET',
      path: '/v1/program/versions',
      operationId: 'listProgramVersions',
      summary: 'Versions of the program, newest first',
      tag: 'program',
      roles: ['admin'],
      query: listQuery,
      replies: { 200: versionListReply },
      errors: [],
      async handle({ caller, query }) {
        const found = await listVersions(context.pool, caller.program.number, {
          below: query.cursor === undefined ? undefined : Number(query.cursor),
          limit: query.limit + 1,
        });
        const data = found.slice(0, query.limit);
        const nextCursor = found.length > query.limit ? String(data.at(-1)?.version) : null;
        return {
          status: 200,
          body: { object: 'list', data: data.map((each) => versionView(caller, each)), nextCursor },
        };
      },
    }),
    route({
      method: 'GET',
      path: '/v1/program/versions/:version',
      operationId: 'getProgramVersion',
      summary: 'A version with its file, byte for byte as it was applied',
      tag: 'program',
      roles: ['admin'],
      replies: { 200: versionWithSource },
      errors: ['not_found'],
      async handle({ caller, params }) {
        const number = /^[1-9]\d{0,8}$/.test(params.version ?? '') ? Number(params.version) : 0;
        const stored = await readVersion(context.pool, caller.program.number, number);
        if (stored === undefined) throw new Problem('not_found', 'The program has no such version.');
        return { status: 200, body: { ...versionView(caller, stored), source: stored.source } };
      },
    }),
  ];
}
