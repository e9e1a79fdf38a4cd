/**
 * Programs: several live side by side in one installation and never see each other. Their definitions are data; every
 * process keeps all of them in memory and reads a changed one again within half a second (`Programs.refresh`).
 *
 * Time: a test program's clock is real time plus an offset that only grows. Everything that asks "when" for a program
 * asks `programNow`, so bounds, scripts, holds and sweeps move together.
 */
import type pg from 'pg';
import { z } from 'zod';
import type { EpochMs, Mode } from '#src/values.ts';

const name = z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/);

const currencySchema = z.strictObject({
  /** Small number that stands for the currency in Redis, journal and ledger; never reused. */
  number: z.int().min(1).max(32_767),
  code: name,
  spendable: z.boolean().default(true),
});

const earningRuleSchema = z.strictObject({
  name,
  currency: name,
  /** `points` for each whole `perMinorUnits` of the receipt's eligible total, rounded down once a receipt. */
  points: z.int().min(1).max(1_000_000),
  perMinorUnits: z.int().min(1).max(1_000_000_000),
  /** Days until the points count; 0 = at once. */
  pendingDays: z.int().min(0).max(3_650).default(0),
  /** Valid through the end of this many days later in the program's zone; absent = for ever. */
  expiresAfterDays: z.int().min(1).max(36_500).optional(),
  funder: name.default('program'),
});

const definitionShape = z.strictObject({
  version: z.int().min(1).default(1),
  currencies: z.array(currencySchema).min(1).max(32),
  rules: z.array(earningRuleSchema).max(200),
  /** Who pays for points; a funder's place in this list is its number in the ledger. */
  funders: z.array(name).min(1).default(['program']),
  identifierTypes: z.array(name).default(['card', 'phone', 'email', 'plate', 'partner', 'code']),
  /** ISO 4217 codes that receipts may be in; absent = any. */
  moneyCurrencies: z.array(z.string().regex(/^[A-Z]{3}$/)).optional(),
  /** Whether taking back spent points may leave a debt that later accruals pay off. */
  debtAllowed: z.boolean().default(true),
  backdateDaysMax: z.int().min(0).max(36_500).optional(),
});

function firstRepeat<Value>(values: readonly Value[]): number {
  return values.findIndex((value, i) => values.indexOf(value) < i);
}

/** What an operator configures of a program. Names that it uses stand in it, and nothing is named twice. */
export const definitionSchema = definitionShape.superRefine((definition, context) => {
  const fault = (path: (string | number)[], message: string) =>
    context.addIssue({ code: 'custom', path, message });
  const { currencies, rules, funders } = definition;
  for (const [what, values] of [
    ['number', currencies.map((currency) => currency.number)],
    ['code', currencies.map((currency) => currency.code)],
  ] as const) {
    const repeat = firstRepeat<number | string>(values);
    if (repeat >= 0) fault(['currencies', repeat, what], 'is used twice');
  }
  const repeated = firstRepeat(rules.map((rule) => rule.name));
  if (repeated >= 0) fault(['rules', repeated, 'name'], 'is used twice');
  for (const [i, rule] of rules.entries()) {
    if (!currencies.some((currency) => currency.code === rule.currency))
      fault(['rules', i, 'currency'], 'is not a currency of the program');
    if (!funders.includes(rule.funder)) fault(['rules', i, 'funder'], 'is not a funder of the program');
  }
});
export type Definition = z.infer<typeof definitionSchema>;
export type Currency = z.infer<typeof currencySchema>;
export type EarningRule = z.infer<typeof earningRuleSchema>;

export interface Program {
  readonly number: number;
  readonly name: string;
  readonly mode: Mode;
  readonly timeZone: string;
  readonly clockOffsetMs: number;
  readonly definition: Definition;
  /** The currency that is meant where none is named: the first of the definition. */
  readonly mainCurrency: Currency;
  readonly currencyByCode: ReadonlyMap<string, Currency>;
  readonly currencyByNumber: ReadonlyMap<number, Currency>;
}

interface ProgramRow {
  number: number;
  name: string;
  mode: Mode;
  time_zone: string;
  definition: unknown;
  clock_offset_ms: string;
  changed_at: string;
}

export function programOf(row: ProgramRow): Program {
  const definition = definitionSchema.parse(row.definition);
  return {
    number: row.number,
    name: row.name,
    mode: row.mode,
    timeZone: row.time_zone,
    clockOffsetMs: Number(row.clock_offset_ms),
    definition,
    mainCurrency: definition.currencies[0]!,
    currencyByCode: new Map(definition.currencies.map((currency) => [currency.code, currency])),
    currencyByNumber: new Map(definition.currencies.map((currency) => [currency.number, currency])),
  };
}

/** Now, in the program's own time. */
export function programNow(program: Program, now: EpochMs = Date.now()): EpochMs {
  return now + program.clockOffsetMs;
}

/** All programs of the installation, kept in memory. */
export interface Programs {
  get(number: number): Program | undefined;
  all(): readonly Program[];
  /** Reads the programs that changed since the last call. */
  refresh(): Promise<void>;
}

const columns = 'number, name, mode, time_zone, definition, clock_offset_ms::text, changed_at::text';

/** Reads all programs. Call `refresh` on a timer and whenever a change is announced. */
export async function loadPrograms(pool: pg.Pool): Promise<Programs> {
  const byNumber = new Map<number, Program>();
  const changedAt = new Map<number, string>();
  const programs: Programs = {
    get: (number) => byNumber.get(number),
    all: () => [...byNumber.values()],
    async refresh() {
      const result = await pool.query<ProgramRow>(`select ${columns} from program`);
      for (const row of result.rows) {
        // An unchanged program stays the same object, so that what is cached beside it stays valid.
        if (changedAt.get(row.number) === row.changed_at) continue;
        byNumber.set(row.number, programOf(row));
        changedAt.set(row.number, row.changed_at);
      }
    },
  };
  await programs.refresh();
  return programs;
}

/** Creates a program; the caller announces the change. */
export async function createProgram(
  pool: pg.Pool,
  draft: { name: string; mode: Mode; timeZone: string; definition: z.input<typeof definitionSchema> },
): Promise<Program> {
  const definition = definitionSchema.parse(draft.definition);
  const result = await pool.query<ProgramRow>(
    `insert into program (name, mode, time_zone, definition) values ($1, $2, $3, $4) returning ${columns}`,
    [draft.name, draft.mode, draft.timeZone, JSON.stringify(definition)],
  );
  return programOf(result.rows[0]!);
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
