/**
 * The chart of accounts. Every leg of every entry stands in one of these; the legs of an operation sum to zero within
 * each currency. A positive sum of a member account is what the program owes the member.
 */

export const memberAccounts = [
  /** Points a member owns, by lot: available, pending, or due to expire. */
  'wallet',
  /** Points of a lot that wait under a hold. */
  'held',
  /** What a member owes after points were taken back that were already spent (negative). */
  'debt',
] as const;
export const programAccounts = [
  /** The other side of every point given, by funder (negative). */
  'issuance',
  /** Points that were redeemed, less what was refunded. */
  'redemption',
  /** Points that expired, less those whose purchase came back afterwards. */
  'breakage',
  /** Corrections by customer care, by funder. */
  'adjustment',
  /** Points on their way between two members; zero when nothing is in flight. */
  'clearing',
  /** Points of a refused transfer whose source is closed. */
  'unclaimed',
  /** Points that went to a partner (positive) or came from one (negative), by the partner's party. */
  'partner',
  /** The other side of a quarantined record. */
  'suspense',
  /** What a restore of PostgreSQL left unexplained. */
  'recovered',
] as const;

export type MemberAccount = (typeof memberAccounts)[number];
export type ProgramAccount = (typeof programAccounts)[number];
export type Account = MemberAccount | ProgramAccount;
