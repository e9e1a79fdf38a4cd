/** PURE. Zones, windows and conditions: whether they can be read, and whether they ever hold. */
import { IANAZone } from 'luxon';
import { checkCondition } from '../rules/conditions.ts';
import { parseRecurrence } from '../rules/recurrence.ts';
import { neverOccurs } from '../rules/schedule.ts';
import type { LineFilter, Window } from './basics-schema.ts';
import type { Path, Report } from './check.ts';
import type { ProgramFile } from './schema.ts';

interface Placed<Value> {
  readonly value: Value;
  readonly path: Path;
}

function placed<Value>(value: Value | undefined, path: Path): Placed<Value>[] {
  return value === undefined ? [] : [{ value, path }];
}

const lists = ['rules', 'promotions', 'redemption'] as const;

function windowsIn(file: ProgramFile): Placed<Window>[] {
  return lists.flatMap((list) => file[list].flatMap(({ during }, i) => placed(during, [list, i, 'during'])));
}

function filtersIn(file: ProgramFile): Placed<LineFilter>[] {
  const ofAwarding = (['rules', 'promotions'] as const).flatMap((list) =>
    file[list].flatMap((item, i) => [
      ...(item.earn && 'lines' in item.earn ? placed(item.earn.lines, [list, i, 'earn', 'lines']) : []),
      ...(item.basket ?? []).flatMap(({ lines }, j) => placed(lines, [list, i, 'basket', j, 'lines'])),
    ]),
  );
  return [
    ...ofAwarding,
    ...file.promotions.flatMap(({ multiply }, i) =>
      placed(multiply?.lines, ['promotions', i, 'multiply', 'lines']),
    ),
    ...file.redemption.flatMap(({ lines }, i) => placed(lines, ['redemption', i, 'lines'])),
  ];
}

/** Whether the window can be read and occurs. */
function checkWindow({ value: window, path }: Placed<Window>, timeZone: string, { fault }: Report): boolean {
  if (window.repeat !== undefined) {
    const read = parseRecurrence(window.repeat, window.from !== undefined);
    if ('fault' in read) {
      fault([...path, 'repeat'], read.fault.message, read.fault.offset);
      return false;
    }
  }
  if (window.hours?.[0] === '24:00') {
    fault([...path, 'hours', 0], 'a day begins at 00:00; 24:00 is its end');
    return false;
  }
  const never = neverOccurs(window, timeZone);
  if (never === undefined) return true;
  fault(path, `never occurs: ${never}`);
  return false;
}

function checkConditions(file: ProgramFile, { fault }: Report): void {
  for (const list of lists) {
    for (const [i, item] of file[list].entries()) {
      const wrong = item.when && checkCondition(item.when, 'selection', 'on' in item ? item.on : 'purchase');
      if (wrong) fault([list, i, 'when'], wrong.message, wrong.offset);
    }
  }
  for (const { value: filter, path } of filtersIn(file)) {
    const wrong = filter.when === undefined ? undefined : checkCondition(filter.when, 'line');
    if (wrong) fault([...path, 'when'], wrong.message, wrong.offset);
  }
}

/** What is wrong in so many windows is enough for once; the others are looked at when these are mended. */
const wrongMax = 20;

/** Answers whether every window can be read. */
export function checkTimes(file: ProgramFile, report: Report): boolean {
  checkConditions(file, report);
  if (!IANAZone.isValidZone(file.timeZone) || !/^[A-Za-z]/.test(file.timeZone)) {
    report.fault(['timeZone'], `${file.timeZone} is not an IANA time zone such as Europe/Berlin`);
    return false;
  }
  let isRight = true;
  let wrong = 0;
  for (const window of windowsIn(file)) {
    // Forty years are looked through for what never occurs, a tenth of a second for the slowest recurrences.
    if (wrong >= wrongMax) break;
    if (checkWindow(window, file.timeZone, report)) continue;
    isRight = false;
    wrong += 1;
  }
  return isRight;
}
