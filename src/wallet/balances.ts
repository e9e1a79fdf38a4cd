/** PURE. How balances look to a caller. */
import type { Program } from '#src/earning/program.ts';
import { momentOf } from '#src/earning/rules/calendar.ts';
import type { BalanceRow } from '#src/journal.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import { memberId, positionText } from '#src/values.ts';
import type { Reading } from './wallet.ts';

/**
 * The last day on which points are valid: they count through its end in the program's zone. By our own calendar: a receipt
 * of five awards asks six times, and that was 13 µs of each by luxon in UTC and 110 in a zone with daylight saving.
 */
export function lastValidDay(expiresAt: EpochMs, timeZone: string): string {
  return momentOf(expiresAt - 1, timeZone).date;
}

/** The day from which points count. */
export function availableDay(availableAt: EpochMs, timeZone: string): string {
  return momentOf(availableAt, timeZone).date;
}

interface Figures {
  available: number;
  pending: number;
  held: number;
  debt: number;
}

/** Balances after an operation, by currency code; every spendable currency is present, with zeros. */
export function balancesAfter(program: Program, rows: readonly BalanceRow[]): Record<string, Figures> {
  const byCode: Record<string, Figures> = {};
  for (const currency of program.currencyByCode.values()) {
    if (currency.spendable) byCode[currency.code] = { available: 0, pending: 0, held: 0, debt: 0 };
  }
  for (const [number, available, pending, held, debt] of rows) {
    const code = program.currencyByNumber.get(number)?.code;
    if (code !== undefined) byCode[code] = { available, pending, held, debt };
  }
  return byCode;
}

/** What `GET /v1/members/:member/balances` answers. */
export function balancesView(
  program: Program,
  reading: Reading,
  member: MemberNumber,
): Record<string, unknown> {
  const figures = balancesAfter(program, reading.balances);
  const balances = Object.fromEntries(
    Object.entries(figures).map(([code, sums]) => {
      const number = program.currencyByCode.get(code)?.number;
      const lots = reading.lots.filter((lot) => lot[0] === number);
      const expiresOn = (at: EpochMs) => (at === 0 ? null : lastValidDay(at, program.timeZone));
      return [
        code,
        {
          ...sums,
          lots: lots
            .filter((lot) => lot[4] <= reading.at && (lot[3] === 0 || lot[3] > reading.at))
            .map((lot) => ({ points: lot[2], expiresOn: expiresOn(lot[3]) })),
          pendingLots: lots
            .filter((lot) => lot[4] > reading.at)
            .map((lot) => ({
              points: lot[2],
              availableOn: availableDay(lot[4], program.timeZone),
              expiresOn: expiresOn(lot[3]),
            })),
        },
      ];
    }),
  );
  return {
    object: 'balances',
    member: memberId(member),
    mode: program.mode,
    timeZone: program.timeZone,
    balances,
    ledger: { position: positionText(reading.position) },
  };
}
