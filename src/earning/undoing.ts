/**
 * PURE. What is taken back from an accrual: the part of the input of `undo.lua` that concerns it. Reversals and returns
 * share it.
 */
import type { OperationHex } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { keptAwards } from './accruals.ts';
import { type Program, versionNumbered } from './program.ts';
import {
  parseReturned,
  type ReturnedLine,
  type ReturnedSoFar,
  remainingAmount,
  returnedAfter,
  takenBack,
} from './returned.ts';
import { type Award, type Purchase, pointsFor } from './rules.ts';

/** State of an original as the wallet knows it: which version the caller decides on, and the note kept with it. */
export interface OriginalState {
  readonly version: number;
  readonly note: string;
}

export const untouched: OriginalState = { version: 0, note: '' };

/** [operation, version, note, [[currency, points], …]]: one original in the input of `undo.lua`. */
export type Undone = [operation: OperationHex, version: number, note: string, parts: [number, number][]];

export interface TakenBack {
  readonly undone: Undone;
  readonly awards: readonly Award[];
  readonly before: ReturnedSoFar;
  readonly after: ReturnedSoFar;
}

/** Sums of points by currency number. */
export function sumByCurrency(
  program: Program,
  awards: readonly Pick<Award, 'currency' | 'points'>[],
): [number, number][] {
  const sums = new Map<number, number>();
  for (const { currency, points } of awards) {
    const number = program.currencyByCode.get(currency)!.number;
    sums.set(number, (sums.get(number) ?? 0) + points);
  }
  return [...sums];
}

/** What giving back `lines` takes from an accrual; undefined when more would come back than was bought. */
export function takeBack(
  program: Program,
  accrual: Recorded,
  state: OriginalState,
  lines: readonly ReturnedLine[] | undefined,
): TakenBack | undefined {
  const purchase = (accrual.request.body as { purchase?: Purchase } | undefined)?.purchase;
  const before = parseReturned(state.note);
  const after = returnedAfter(purchase?.lines ?? [], before, lines);
  if (!after) return undefined;
  const version = versionNumbered(program, accrual.request.programVersion, accrual.occurredAt);
  const keep = (award: Award, soFar: ReturnedSoFar): number => {
    if (soFar.all) return 0;
    if (!purchase) return award.points;
    const rule = version.definition.rules.find((each) => each.name === award.rule);
    return rule?.earn.by === 'amount' ? pointsFor(rule.earn, remainingAmount(purchase, soFar)) : award.points;
  };
  const awards = takenBack(keptAwards(accrual), before, after, keep);
  return {
    undone: [accrual.operation, state.version, JSON.stringify(after), sumByCurrency(program, awards)],
    awards,
    before,
    after,
  };
}
