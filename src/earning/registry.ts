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
}

export interface VersionRow {
  program: number;
  version: number;
  effective_from: EpochMs;
  definition: unknown;
}

export const programColumns = 'number, name, mode, time_zone, clock_offset_ms::text, changed_at::text';
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
    for (const { code, spendable, expiry } of version.definition.currencies)
      currencyByCode.set(code, { number: numbers.currencies[code]!, code, spendable, expiry });
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
  };
}

interface Known {
  readonly program: Program;
  readonly changedAt: string;
}

/** Versions that are not known yet, by program, in their order. */
async function newVersions(
  pool: pg.Pool,
  rows: readonly ProgramRow[],
  known: ReadonlyMap<number, Known>,
): Promise<Map<number, VersionRow[]>> {
  const above = rows.map(({ number }) => known.get(number)?.program.versions.at(-1)?.version ?? 0);
  const found = await pool.query<VersionRow>(
    `select ${versionColumns} from program_version join unnest($1::int[], $2::int[]) changed (number, above)
       on program = changed.number and version > changed.above order by program, version`,
    [rows.map(({ number }) => number), above],
  );
  return Map.groupBy(found.rows, (row) => row.program);
}

/** Reads all programs. Call `refresh` on a timer and whenever a change is announced. */
export async function loadPrograms(pool: pg.Pool): Promise<Programs> {
  const known = new Map<number, Known>();
  async function readChanged(): Promise<void> {
    const stored = await pool.query<ProgramRow>(`select ${programColumns} from program`);
    // An unchanged program stays the same object, and a version always, so that what is cached beside them stays valid.
    const changed = stored.rows.filter((row) => known.get(row.number)?.changedAt !== row.changed_at);
    if (changed.length === 0) return;
    const added = await newVersions(pool, changed, known);
    let unreadable: unknown;
    for (const row of changed) {
      try {
        const before = known.get(row.number)?.program.versions ?? [];
        const versions = [...before, ...(added.get(row.number) ?? []).map(versionOf)];
        // Processes from before programs had versions may found one without any during an upgrade.
        if (versions.length === 0) continue;
        known.set(row.number, { program: programOf(row, versions), changedAt: row.changed_at });
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
