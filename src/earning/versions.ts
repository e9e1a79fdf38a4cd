/**
 * Versions of programs: founding a program with its first one, applying the next, reading what was applied. A version is
 * never changed; whoever applies one locks the program's row, so that versions, their times and their numbers follow one
 * another.
 *
 * A version takes effect a second after it was applied unless somebody says otherwise: processes read a changed program
 * within half a second, so all of them know it before it begins and judge the same receipt alike.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { Fault } from '#src/errors.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { EpochMs, Mode } from '#src/values.ts';
import { type Definition, definitionOf } from './file/definition.ts';
import { noNumbers } from './file/numbers.ts';
import { olderDefinition } from './file/older.ts';
import { readProgramFile } from './file/read.ts';
import { type ProgramFile, type ProgramFileInput, programFileSchema } from './file/schema.ts';
import { type Program, type ProgramVersion, programNow } from './program.ts';
import {
  effectiveFromMs,
  type ProgramRow,
  programColumns,
  programOf,
  type VersionRow,
  versionColumns,
  versionOf,
} from './registry.ts';

function digestOf(source: string): string {
  return createHash('sha256').update(source).digest('hex');
}

interface NewVersion extends ProgramVersion {
  readonly source: string;
  readonly actor: string;
}

async function insertVersion(tx: pg.PoolClient, program: number, version: NewVersion): Promise<void> {
  const { source, actor, effectiveFrom, definition } = version;
  const isFirst = effectiveFrom === Number.NEGATIVE_INFINITY;
  await tx.query(
    `insert into program_version (program, version, effective_from, definition, source, digest, applied_by)
     values ($1, $2, $3::timestamptz, $4, $5, $6, $7)`,
    [
      program,
      version.version,
      isFirst ? '-infinity' : new Date(effectiveFrom).toISOString(),
      JSON.stringify(definition),
      source,
      digestOf(source),
      actor,
    ],
  );
  await tx.query(
    `insert into audit_log (program, actor, action, subject) values ($1, $2, 'program.version', $3)`,
    [program, actor, String(version.version)],
  );
}

/** A file as somebody has it in hand; where its text is not given, JSON stands for it. */
export interface ProgramDraft {
  readonly name: string;
  readonly mode: Mode;
  readonly file: ProgramFileInput;
  readonly source?: string;
  readonly actor?: string;
}

/** Founds a program in the zone of its file; the caller announces the change. */
export async function createProgram(pool: pg.Pool, draft: ProgramDraft): Promise<Program> {
  const file = programFileSchema.parse(draft.file);
  const definition = definitionOf(file, noNumbers);
  const source = draft.source ?? `${JSON.stringify(draft.file, undefined, 2)}\n`;
  const version = { version: 1, effectiveFrom: Number.NEGATIVE_INFINITY, definition };
  return inTransaction(pool, async (tx) => {
    const { rows } = await tx.query<ProgramRow>(
      `insert into program (name, mode, time_zone, definition) values ($1, $2, $3, $4) returning ${programColumns}`,
      [draft.name, draft.mode, file.timeZone, JSON.stringify(olderDefinition(version.version, definition))],
    );
    const row = rows[0]!;
    await insertVersion(tx, row.number, { ...version, source, actor: draft.actor ?? 'founder' });
    return programOf(row, [version]);
  });
}

/** The next version, as somebody wants it applied. */
export interface VersionDraft {
  readonly file: ProgramFile;
  readonly source: string;
  /** In the program's time; absent: a second from now. */
  readonly effectiveFrom?: EpochMs | undefined;
  readonly actor: string;
}

export type Applied =
  | { readonly status: 'applied' | 'unchanged'; readonly version: ProgramVersion }
  | {
      readonly status: 'refused';
      readonly inFile: readonly Fault[];
      /** What is wrong with `effectiveFrom`. */
      readonly inTime?: string | undefined;
    };

const soonMs = 1_000;
/** A clock that was read a moment ago, or a person who typed the present minute. */
const pastMsMax = 60_000;
const smallIntegerMax = 32_767;
const integerMax = 2_147_483_647;

function timeFault(newest: ProgramVersion, effectiveFrom: EpochMs, now: EpochMs): string | undefined {
  const text = (at: EpochMs) => new Date(at).toISOString();
  if (effectiveFrom < now - pastMsMax)
    return `lies in the past (it is ${text(now)}); receipts that were judged stay as they were`;
  if (effectiveFrom < newest.effectiveFrom)
    return `lies before version ${newest.version}, which begins at ${text(newest.effectiveFrom)}`;
  if (effectiveFrom === newest.effectiveFrom && effectiveFrom <= now)
    return `is when version ${newest.version} began; choose a later time`;
  return undefined;
}

/** What a file may not change. */
function faultsBetween(program: Program, newest: ProgramVersion, next: Definition): Fault[] {
  const faults: Fault[] = [];
  if (next.timeZone !== program.timeZone) {
    const detail = `is ${program.timeZone} for this program and cannot change: days that were counted would begin elsewhere`;
    faults.push({ pointer: '/timeZone', detail });
  }
  const main = newest.definition.currencies[0]!.code;
  if (next.currencies[0]?.code !== main) {
    const detail = `has to stay ${main}: it is meant by every call that names no currency`;
    faults.push({ pointer: '/currencies/0/code', detail });
  }
  if (Object.values(next.numbers.currencies).some((each) => each > smallIntegerMax))
    faults.push({
      pointer: '/currencies',
      detail: `would be more than ${smallIntegerMax} over all versions`,
    });
  return faults;
}

/** The program with its newest version alone; nobody else applies one meanwhile, and members can be enrolled. */
async function locked(tx: pg.PoolClient, number: number): Promise<Program> {
  const { rows } = await tx.query<ProgramRow>(
    `select ${programColumns} from program where number = $1 for no key update`,
    [number],
  );
  const versions = await tx.query<VersionRow>(
    `select ${versionColumns} from program_version where program = $1 order by version desc limit 1`,
    [number],
  );
  if (!rows[0] || versions.rowCount === 0) throw new Error(`there is no program ${number}`);
  return programOf(rows[0], versions.rows.map(versionOf));
}

async function isNewest(
  tx: pg.PoolClient,
  program: number,
  version: number,
  digest: string,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    'select 1 from program_version where program = $1 and version = $2 and digest = $3',
    [program, version, digest],
  );
  return rowCount === 1;
}

/**
 * Makes the next version of a program, or says what is wrong; with `dryRun` nothing is stored. The same text again changes
 * nothing. The caller has read and checked the file, and announces the change.
 */
export async function applyVersion(
  pool: pg.Pool,
  { number }: Pick<Program, 'number'>,
  draft: VersionDraft,
  { dryRun = false }: { readonly dryRun?: boolean } = {},
): Promise<Applied> {
  return inTransaction(pool, async (tx): Promise<Applied> => {
    const program = await locked(tx, number);
    const newest = program.versions.at(-1)!;
    const isSameTime = draft.effectiveFrom === undefined || draft.effectiveFrom === newest.effectiveFrom;
    const isSameTitle = draft.file.title === newest.definition.title;
    if (isSameTime && isSameTitle && (await isNewest(tx, number, newest.version, digestOf(draft.source))))
      return { status: 'unchanged', version: newest };
    const now = programNow(program);
    const effectiveFrom = draft.effectiveFrom ?? now + soonMs;
    const definition = definitionOf(draft.file, newest.definition.numbers);
    const inTime = timeFault(newest, effectiveFrom, now);
    const inFile = faultsBetween(program, newest, definition);
    if (inTime !== undefined || inFile.length > 0) return { status: 'refused', inFile, inTime };
    const version = { version: newest.version + 1, effectiveFrom, definition };
    if (!dryRun) await store(tx, number, { ...version, source: draft.source, actor: draft.actor });
    return { status: 'applied', version };
  });
}

async function store(tx: pg.PoolClient, program: number, version: NewVersion): Promise<void> {
  await insertVersion(tx, program, version);
  await tx.query('update program set definition = $2, changed_at = clock_timestamp() where number = $1', [
    program,
    JSON.stringify(olderDefinition(version.version, version.definition)),
  ]);
}

/** A version as it is listed: who applied it and when, without its content. */
export interface StoredVersion {
  readonly version: number;
  readonly effectiveFrom: EpochMs;
  readonly title: string | undefined;
  readonly digest: string;
  readonly appliedAt: Date;
  readonly appliedBy: string;
}

interface StoredRow extends Omit<VersionRow, 'definition'> {
  title: string | null;
  digest: string;
  applied_at: Date;
  applied_by: string;
  source: string;
}

const storedColumns = `program, version, ${effectiveFromMs}, definition ->> 'title' as title, digest, applied_at, applied_by`;

function storedOf(row: StoredRow): StoredVersion {
  return {
    version: row.version,
    effectiveFrom: row.effective_from,
    title: row.title ?? undefined,
    digest: row.digest,
    appliedAt: row.applied_at,
    appliedBy: row.applied_by,
  };
}

/** The versions of a program below a number, newest first. */
export async function listVersions(
  pool: pg.Pool,
  program: number,
  { below = integerMax, limit }: { readonly below?: number | undefined; readonly limit: number },
): Promise<StoredVersion[]> {
  const { rows } = await pool.query<StoredRow>(
    `select ${storedColumns} from program_version where program = $1 and version < $2 order by version desc limit $3`,
    [program, below, limit],
  );
  return rows.map(storedOf);
}

/** One version with the text that was applied, byte for byte; undefined where there is none of that number. */
export async function readVersion(
  pool: pg.Pool,
  program: number,
  version: number,
): Promise<(StoredVersion & { readonly source: string }) | undefined> {
  const { rows } = await pool.query<StoredRow>(
    `select ${storedColumns}, source from program_version where program = $1 and version = $2`,
    [program, version],
  );
  const row = rows[0];
  return row && { ...storedOf(row), source: row.source };
}

/** What a version says, examples and all, where its text can still be read by this version of the service. */
export async function fileOfVersion(
  pool: pg.Pool,
  program: Pick<Program, 'number' | 'versions'>,
  version: number,
): Promise<ProgramFile | undefined> {
  const stored = await readVersion(pool, program.number, version);
  const definition = program.versions.find((each) => each.version === version)?.definition;
  return (stored && readProgramFile(stored.source).file) ?? definition;
}
