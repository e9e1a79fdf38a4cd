/** PURE. When points end after something that a member did: by inactivity, and where redeemed points come back. */
import type { EpochMs, OperationKind } from '#src/values.ts';
import { type Program, presentVersion, programNow } from './program.ts';
import { momentOf, startOfDay } from './rules/calendar.ts';
import { compileExpiry } from './rules/expiry.ts';

interface EndingTogether {
  readonly currency: number;
  /** What counts: earning alone, or also spending and setting points aside. */
  readonly counting: ReadonlySet<OperationKind>;
  /** When points end after activity on a day of the program's calendar. */
  endAfter(day: string): EpochMs;
}

const earning: ReadonlySet<OperationKind> = new Set(['accrual']);
const any: ReadonlySet<OperationKind> = new Set(['accrual', 'redemption', 'hold', 'capture']);

const known = new WeakMap<Program['currencyByCode'], readonly EndingTogether[]>();

function endingTogether({ currencyByCode, timeZone }: Program): readonly EndingTogether[] {
  const found = known.get(currencyByCode);
  if (found) return found;
  const made = [...currencyByCode.values()].flatMap(({ number, expiry }): EndingTogether[] => {
    if (expiry.kind !== 'inactivity') return [];
    const expiryOf = compileExpiry(expiry, timeZone);
    return [
      {
        currency: number,
        counting: expiry.activity === 'earning' ? earning : any,
        endAfter: (day) => expiryOf({ occurred: day, posted: day }, {}),
      },
    ];
  });
  known.set(currencyByCode, made);
  return made;
}

/** [currency, end]: when a member's points of a currency end. */
export type End = readonly [currency: number, end: EpochMs];

export interface Ends {
  /** By the operation itself, as it counts. */
  readonly ends: readonly End[];
  /**
   * Currencies whose end the books say, because the operation is no activity: what it gives back, or what a hold gives back
   * that has ended meanwhile, was dated when it left and ends with the others.
   */
  readonly unchanged: readonly number[];
}

const none: Ends = { ends: [], unchanged: [] };

/** What an operation means for the ends of its member's points. */
export function endsAfter(program: Program, kind: OperationKind, at: EpochMs): Ends {
  const together = endingTogether(program);
  if (together.length === 0) return none;
  const day = momentOf(at, program.timeZone).date;
  const counting = together.filter((each) => each.counting.has(kind));
  return {
    ends: counting.map(({ currency, endAfter }) => [currency, endAfter(day)]),
    unchanged: together.filter((each) => !each.counting.has(kind)).map(({ currency }) => currency),
  };
}

/** [currency, end]: until when redeemed points that come back now count at least, where the program says so. */
export function leastEnds(program: Program, now: EpochMs = programNow(program)): End[] {
  return presentVersion(program).definition.currencies.flatMap(({ code, reinstatedDaysMin: days }): End[] => {
    if (days === undefined) return [];
    const { dayNumber } = momentOf(now, program.timeZone);
    const end = startOfDay(dayNumber + days + 1, program.timeZone);
    return [[program.currencyByCode.get(code)!.number, end]];
  });
}
