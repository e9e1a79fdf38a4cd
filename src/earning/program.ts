/**
 * Programs: several live side by side in one installation and never see each other. What is configured of one is its
 * versions, each in force from its own time on; every process keeps all of them in memory (`registry.ts`).
 *
 * A purchase is judged by the version in force when it occurred. What does not depend on the time of a purchase, such as
 * the numbers of currencies and funders, is that of the newest version, which keeps all numbers that were ever given.
 *
 * Time: a test program's clock is real time plus an offset that only grows. Everything that asks "when" for a program
 * asks `programNow`, so bounds, scripts, holds and sweeps move together.
 */
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import type { EpochMs, Mode } from '#src/values.ts';
import type { Expiry } from './file/basics-schema.ts';
import type { Definition } from './file/definition.ts';

export type { Definition } from './file/definition.ts';

/** Points of one kind, as the newest version that names them has it. */
export interface Currency {
  /** Small number that stands for the currency in Redis, journal and ledger; never reused. */
  readonly number: number;
  readonly code: string;
  readonly spendable: boolean;
  /** Members of a pool may spend one another's. */
  readonly poolable: boolean;
  readonly expiry: Expiry;
}

export interface ProgramVersion {
  readonly version: number;
  /** -Infinity for the first: whatever occurred before the program was founded is judged by it. */
  readonly effectiveFrom: EpochMs;
  readonly definition: Definition;
}

export interface Program {
  readonly number: number;
  readonly name: string;
  readonly mode: Mode;
  readonly timeZone: string;
  readonly clockOffsetMs: number;
  /** At least one, by `effectiveFrom`. Where two begin at once, the later one is in force and the other never was. */
  readonly versions: readonly ProgramVersion[];
  /** Of the newest version, for what does not depend on time. */
  readonly definition: Definition;
  /** The currency that is meant where none is named: the first of the definition. */
  readonly mainCurrency: Currency;
  /** Of all versions: points stay although a later file does not name them. */
  readonly currencyByCode: ReadonlyMap<string, Currency>;
  readonly currencyByNumber: ReadonlyMap<number, Currency>;
  readonly funderByNumber: ReadonlyMap<number, string>;
  /** The run whose segments rules judge by; absent as long as none has ended. */
  readonly segmentRun?: number;
}

/** Now, in the program's own time. */
export function programNow(program: Pick<Program, 'clockOffsetMs'>, now: EpochMs = Date.now()): EpochMs {
  return now + program.clockOffsetMs;
}

/** The version in force at an instant; before the first began, the first. */
export function versionAt({ versions }: Pick<Program, 'versions'>, at: EpochMs): ProgramVersion {
  // Nearly always the newest, or the one before while a later one waits for its day.
  for (let i = versions.length - 1; i > 0; i -= 1) if (versions[i]!.effectiveFrom <= at) return versions[i]!;
  return versions[0]!;
}

/** The version in force now, in the program's own time. */
export function presentVersion(program: Program): ProgramVersion {
  return versionAt(program, programNow(program));
}

/** The version that an operation was judged by; where that number was never stored, the one in force when it occurred. */
export function versionNumbered(program: Program, version: unknown, occurredAt: EpochMs): ProgramVersion {
  return program.versions.find((each) => each.version === version) ?? versionAt(program, occurredAt);
}

/** A funder's number in the ledger. */
export function partyOf(definition: Definition, funder: string): number {
  const { funders } = definition.numbers;
  const party = Object.hasOwn(funders, funder) ? funders[funder] : undefined;
  if (party === undefined)
    throw new Problem('validation_failed', `the program has no funder ${funder}`, {
      errors: [{ pointer: '/funder', detail: 'unknown funder' }],
    });
  return party;
}

/** All programs of the installation, kept in memory. */
export interface Programs {
  get(number: number): Program | undefined;
  all(): readonly Program[];
  /** Reads the programs that changed since the last call. */
  refresh(): Promise<void>;
}

/** Moves a test program's clock forward to an offset from real time; false where it would go back or the program is live. */
export async function moveClock(pool: pg.Pool, program: number, offsetMs: number): Promise<boolean> {
  const result = await pool.query(
    `update program set clock_offset_ms = $2, changed_at = clock_timestamp() where number = $1 and mode = 'test' and clock_offset_ms <= $2`,
    [program, Math.round(offsetMs)],
  );
  return result.rowCount === 1;
}

/** Moves a test program's clock forward by `byMs`, at most to `offsetMsMax`; two calls at once both count. */
export async function advanceClock(
  pool: pg.Pool,
  program: number,
  byMs: number,
  offsetMsMax: number,
): Promise<boolean> {
  const result = await pool.query(
    `update program set clock_offset_ms = clock_offset_ms + $2, changed_at = clock_timestamp()
     where number = $1 and mode = 'test' and clock_offset_ms + $2 <= $3`,
    [program, Math.round(byMs), offsetMsMax],
  );
  return result.rowCount === 1;
}
