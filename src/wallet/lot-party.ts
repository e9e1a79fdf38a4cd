/**
 * PURE. Who stands behind the points of a lot: nobody (0), the funder of a rule by its number in the program, or the partner that is
 * billed when they are spent. Funders and partners are both counted from 1, so such a partner's number stands above a bound that no
 * funder reaches. In the ledger's account `partner` a partner has its plain number.
 */
export const settledPartiesFrom = 1_000_000_000;

/** The party of lots whose points the partner is billed for when they are spent. */
export function settledPartyOf(partner: number): number {
  return settledPartiesFrom + partner;
}

/** The partner that is billed when points of a lot are spent; undefined where none is. */
export function partnerOfLot(party: number): number | undefined {
  return party > settledPartiesFrom ? party - settledPartiesFrom : undefined;
}
