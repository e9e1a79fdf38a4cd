/** `npm run program -- backtest`: from what was typed to the report, on the screen and in files. */
import { writeFile } from 'node:fs/promises';
import { DateTime } from 'luxon';
import type pg from 'pg';
import { print, UsageFault } from '#src/platform/command.ts';
import type { EpochMs, Soon } from '#src/values.ts';
import { someMember } from '../accruals.ts';
import type { ProgramFile } from '../file/schema.ts';
import { type Program, programNow } from '../program.ts';
import type { JudgedMember } from '../rules/types.ts';
import { chartOf } from './chart.ts';
import { draftOf } from './draft.ts';
import type { LedgerRow } from './replay.ts';
import { reportText } from './report.ts';
import { asksOfMembers, runBacktest } from './run.ts';

export interface BacktestFlags {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  /** The report is printed as JSON. */
  readonly json: boolean;
  /** Where it goes as a picture. */
  readonly svg?: string | undefined;
}

/** An instant of the program's zone; of a day that ends the span, the next midnight, so that the day belongs to it. */
function instantOf(
  flag: string,
  text: string | undefined,
  timeZone: string,
  isEnd: boolean,
): EpochMs | undefined {
  if (text === undefined) return undefined;
  const at = DateTime.fromISO(text, { zone: timeZone });
  if (!at.isValid) throw new UsageFault(`${flag} needs a day or time such as 2026-11-01T18:00, not ${text}`);
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  return (isEnd && isDay ? at.plus({ days: 1 }) : at).toMillis();
}

const progressReceipts = 100_000;

/** Says on the screen beside the report how far it is. */
function progressing(): (receipts: number) => void {
  let said = 0;
  return (receipts) => {
    if (receipts - said < progressReceipts) return;
    said = receipts;
    process.stderr.write(`${receipts.toLocaleString('en')} receipts…\n`);
  };
}

export async function backtestCommand(
  pool: pg.Pool,
  file: ProgramFile,
  program: Program,
  flags: BacktestFlags,
  /** Asked where the draft's rules, or the report, want to know anything of members. */
  judgedMembers: () => Promise<(row: LedgerRow) => Soon<JudgedMember>>,
): Promise<void> {
  if (file.timeZone !== program.timeZone)
    throw new UsageFault(
      `the file's days are those of ${file.timeZone}, the program's of ${program.timeZone}`,
    );
  const draft = draftOf(file, program);
  const span = {
    from: instantOf('--from', flags.from, program.timeZone, false),
    to: instantOf('--to', flags.to, program.timeZone, true),
  };
  const report = await runBacktest(pool, {
    draft,
    span,
    judgedMember: asksOfMembers(draft) ? await judgedMembers() : () => someMember,
    endsAt: Math.min(span.to ?? Number.POSITIVE_INFINITY, programNow(program)),
    progress: progressing(),
  });
  print(flags.json ? JSON.stringify(report, undefined, 2) : reportText(report));
  if (flags.svg !== undefined) await writeFile(flags.svg, chartOf(report));
}
