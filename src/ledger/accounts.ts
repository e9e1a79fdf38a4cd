/**
 * The chart of accounts. Every leg of every entry stands in one of these; the legs of an operation sum to zero within
 * each currency. A positive sum of a member account is what the program owes the member.
 */

export const memberAccounts = ['wallet', 'held', 'debt'] as const;
export const programAccounts = [
  'issuance',
  'redemption',
  'breakage',
  'adjustment',
  'clearing',
  'unclaimed',
  'suspense',
  'recovered',
] as const;

export type MemberAccount = (typeof memberAccounts)[number];
export type ProgramAccount = (typeof programAccounts)[number];
export type Account = MemberAccount | ProgramAccount;

/** What each account means; the operator's guide prints this table. */
export const accountMeaning: Readonly<Record<Account, string>> = {
  wallet: 'points a member owns, by lot: available, pending, or due to expire',
  held: 'points of a lot that wait under a hold',
  debt: 'what a member owes after points were taken back that were already spent (negative)',
  issuance: 'the other side of every point given, by funder (negative)',
  redemption: 'points that were redeemed, less what was refunded',
  breakage: 'points that expired',
  adjustment: 'corrections by customer care, by funder',
  clearing: 'points on their way between two members; zero when nothing is in flight',
  unclaimed: 'points of a refused transfer whose source is closed',
  suspense: 'the other side of a quarantined record',
  recovered: 'what a restore of PostgreSQL left unexplained',
};
