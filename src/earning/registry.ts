/**
 * The stored programs and their versions, kept in memory: what changed is read again within half a second, a version once.
 */
import type pg from 'pg';
import type { EpochMs, Mode } from '#src/values.ts';
import { definitionSchema } from './file/definition.ts';
import type { Currency, Program, Programs, ProgramVersion } from './program.ts';

/** A row of `program`, and one of `program_version`. */
export interface ProgramRow {
  number: number;
  name: string;
  mode: Mode;
  time_zone: string;
  clock_offset_ms: string;
  changed_at: string;
  segment_run: number | null;
}

export interface VersionRow {
  program: number;
  version: number;
  effective_from: EpochMs;
  definition: unknown;
}

export const programColumns =
  'number, name, mode, time_zone, clock_offset_ms::text, changed_at::text, segment_run';
/** As a double, which has -Infinity and every millisecond of ten thousand years. */
export const effectiveFromMs = '(extract(epoch from effective_from) * 1000)::float8 as effective_from';
export const versionColumns = `program, version, ${effectiveFromMs}, definition`;

export function versionOf({
  version,
  effective_from: effectiveFrom,
  definition,
}: VersionRow): ProgramVersion {
  return { version, effectiveFrom, definition: definitionSchema.parse(definition) };
}

/** Names by the numbers that stand for them. */
function inverted(numbers: Readonly<Record<string, number>>): Map<number, string> {
  return new Map(Object.entries(numbers).map(([name, number]) => [number, name]));
}

/** A program as its rows say; `versions` in their order, at least the newest. */
export function programOf(row: ProgramRow, versions: readonly ProgramVersion[]): Program {
  const { definition } = versions.at(-1)!;
  const { numbers } = definition;
  const currencyByCode = new Map<string, Currency>();
  for (const version of versions) {
    for (const { code, spendable, poolable, expiry } of version.definition.currencies)
      currencyByCode.set(code, { number: numbers.currencies[code]!, code, spendable, poolable, expiry });
  }
  return {
    number: row.number,
    name: row.name,
    mode: row.mode,
    timeZone: row.time_zone,
    clockOffsetMs: Number(row.clock_offset_ms),
    versions,
    definition,
    mainCurrency: currencyByCode.get(definition.currencies[0]!.code)!,
    currencyByCode,
    currencyByNumber: new Map([...currencyByCode.values()].map((currency) => [currency.number, currency])),
    funderByNumber: inverted(numbers.funders),
    ...(row.segment_run === null ? {} : { segmentRun: row.segment_run }),
  };
}

interface Known {
  readonly program: Program;
  readonly changedAt: string;
  /** When each of its versions was applied, in their order. */
  readonly appliedAt: readonly string[];
}

/** `definition` is null where the version is known. */
interface ReadRow extends VersionRow {
  applied_at: string;
}

/**
 * The versions of programs, in their order, with the definitions of those that are not known. A version is known by its time
 * of application too: a PostgreSQL that came back older has lost versions, and gives their numbers again.
 */
async function versionsOf(
  pool: pg.Pool,
  rows: readonly ProgramRow[],
  known: ReadonlyMap<number, Known>,
): Promise<Map<number, ReadRow[]>> {
  const kept = rows.flatMap(({ number }) => {
    const { program, appliedAt = [] } = known.get(number) ?? {};
    return appliedAt.map((at, i) => ({ number, version: program!.versions[i]!.version, at }));
  });
  const found = await pool.query<ReadRow>(
    `select v.program, v.version, ${effectiveFromMs}, v.applied_at::text,
       case when k.version is null then v.definition end as definition
     from program_version v left join unnest($2::int[], $3::int[], $4::text[]) k (program, version, at)
       on k.program = v.program and k.version = v.version and k.at = v.applied_at::text
     where v.program = any($1) order by v.program, v.version`,
    [
      rows.map(({ number }) => number),
      kept.map(({ number }) => number),
      kept.map(({ version }) => version),
      kept.map(({ at }) => at),
    ],
  );
  return Map.groupBy(found.rows, (row) => row.program);
}

/** A program as it was read; a version that is known stays the same object, so that what is cached beside it stays valid. */
function knownOf(row: ProgramRow, stored: readonly ReadRow[], before: Known | undefined): Known {
  const versions = stored.map((each) =>
    each.definition === null
      ? before!.program.versions.find(({ version }) => version === each.version)!
      : versionOf(each),
  );
  return {
    program: programOf(row, versions),
    changedAt: row.changed_at,
    appliedAt: stored.map((each) => each.applied_at),
  };
}

/** Reads all programs. Call `refresh` on a timer and whenever a change is announced. */
export async function loadPrograms(pool: pg.Pool): Promise<Programs> {
  const known = new Map<number, Known>();
  async function readChanged(): Promise<void> {
    const stored = await pool.query<ProgramRow>(`select ${programColumns} from program`);
    const changed = stored.rows.filter((row) => known.get(row.number)?.changedAt !== row.changed_at);
    if (changed.length === 0) return;
    const versions = await versionsOf(pool, changed, known);
    let unreadable: unknown;
    for (const row of changed) {
      const ofProgram = versions.get(row.number);
      // Processes from before programs had versions may found one without any during an upgrade.
      if (!ofProgram) continue;
      try {
        known.set(row.number, knownOf(row, ofProgram, known.get(row.number)));
      } catch (error) {
        // Of a later version of this service. The other programs go on.
        unreadable = error;
      }
    }
    if (unreadable) throw unreadable;
  }
  // At most one reads and one waits to: two at once would both add the same versions.
  let reading: Promise<void> | undefined;
  let waiting: Promise<void> | undefined;
  const programs: Programs = {
    get: (number) => known.get(number)?.program,
    all: () => [...known.values()].map(({ program }) => program),
    refresh() {
      if (reading) {
        // What is being read may have been asked before the change that the caller knows of.
        waiting ??= reading
          .catch(() => {})
          .then(() => {
            waiting = undefined;
            return programs.refresh();
          });
        return waiting;
      }
      reading = readChanged().finally(() => {
        reading = undefined;
      });
      return reading;
    },
  };
  await programs.refresh();
  return programs;
}
