/** PURE. Which part of an accrual each of its awards became: awards with the same terms are one (`accrue.lua`). */
import { creditedParts } from '#src/wallet/operation-state.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import { type KeptAward, keptAwards } from './judge.ts';

/** Whether its points wait for an event. */
export function isWaiting({ availableAt, expiresAt }: KeptAward): boolean {
  return availableAt > 0 && availableAt === expiresAt;
}

export interface PartOfAward {
  readonly award: KeptAward;
  /** From 1; undefined where caps left nothing of the award. */
  readonly part: number | undefined;
}

/**
 * The awards of an accrual with their parts. Awards with the same terms are one part at the place of the first of them, unless
 * they wait for an event; of versions before, each is its own.
 */
export function partsOf(accrual: Pick<Recorded, 'request' | 'effect'>): PartOfAward[] {
  const awards = keptAwards(accrual);
  const isJoined = creditedParts(accrual.effect).length < awards.filter(({ points }) => points > 0).length;
  const seen = new Map<string, number>();
  let parts = 0;
  return awards.map((award) => {
    if (award.points === 0) return { award, part: undefined };
    const { currency, expiresAt, availableAt, funder } = award;
    const terms = [currency, expiresAt, availableAt, funder].join();
    const known = isJoined && !isWaiting(award) ? seen.get(terms) : undefined;
    if (known !== undefined) return { award, part: known };
    parts += 1;
    seen.set(terms, parts);
    return { award, part: parts };
  });
}
