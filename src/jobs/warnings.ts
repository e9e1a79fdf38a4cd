/** Warns of points that expire in some days, as events: one for each member, currency, day and warning, however often it runs. */
import { DateTime } from 'luxon';
import type { App } from '#src/app.ts';
import { type Program, presentVersion, programNow } from '#src/earning/program.ts';
import { type Expiring, forgetEvents, warnOfExpiring } from '#src/ledger/events.ts';

/** A warning is made up for when upkeep was away for a while, but not when it has become another warning's turn. */
const lateDaysMax = 3;
const membersPerTurnMax = 5_000;
const turnsPerRunMax = 40;
const keptMs = 90 * 86_400_000;
const forgottenPerRunMax = 20_000;

/** The days whose points are warned of now, soonest first, of one currency. */
export function daysToWarnOf(
  now: number,
  timeZone: string,
  currency: { readonly number: number; readonly code: string; readonly warnDays: readonly number[] },
): Expiring[] {
  const today = DateTime.fromMillis(now, { zone: timeZone }).startOf('day');
  const sorted = [...new Set(currency.warnDays)].sort((a, b) => a - b);
  return sorted.flatMap((days, i) => {
    const nearest = Math.max(days - lateDaysMax, (sorted[i - 1] ?? 0) + 1);
    return Array.from({ length: days - nearest + 1 }, (_, late): Expiring => {
      const day = today.plus({ days: nearest + late });
      const dayEnd = day.plus({ days: 1 }).startOf('day').toMillis();
      const expiresOn = day.toISODate() ?? '';
      const { number, code } = currency;
      return { currency: number, code, expiresOn, dayStart: day.startOf('day').toMillis(), dayEnd, days };
    });
  });
}

async function warnIn(
  app: App,
  program: Program,
  turnsMax: number,
): Promise<{ made: number; turns: number }> {
  const at = programNow(program);
  let [made, turns] = [0, 0];
  for (const { code, warnDays } of presentVersion(program).definition.currencies) {
    const { number } = program.currencyByCode.get(code)!;
    for (const expiring of daysToWarnOf(at, program.timeZone, { number, code, warnDays: warnDays ?? [] })) {
      let written = membersPerTurnMax;
      while (written === membersPerTurnMax && turns < turnsMax) {
        written = await warnOfExpiring(app.pool, program, at, expiring, membersPerTurnMax);
        made += written;
        turns += 1;
      }
    }
  }
  return { made, turns };
}

/** Writes the warnings that are due in every program and forgets old events; answers how many were written. */
export async function warnAll(app: App): Promise<number> {
  let made = 0;
  let turns = turnsPerRunMax;
  for (const program of app.programs.all()) {
    // Each program gets a turn at least, so that a large one holds up no other.
    const done = await warnIn(app, program, Math.max(turns, 1));
    made += done.made;
    turns -= done.turns;
  }
  await forgetEvents(app.pool, Date.now() - keptMs, forgottenPerRunMax);
  return made;
}
