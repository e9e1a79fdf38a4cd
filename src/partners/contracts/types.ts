/**
 * PURE. What a partner, its contract and its exchange rates are, once read from file or database. All amounts are whole:
 * points, minor units of money, and fractions of whole numbers; all times are instants, so that nothing here knows a zone.
 *
 * A version of a contract or of a rate is never changed after it began, but for its end. Which one counts is decided by the
 * time of the request, and frozen on whatever is made of it.
 */
import type { Rounding } from '#src/earning/file/basics-schema.ts';
import type { NameMatch } from '#src/partners/protocol/schemas.ts';
import type { EpochMs } from '#src/values.ts';

/** `out`: points leave this program for the partner's; `in`: they come from there. */
export const directions = ['out', 'in'] as const;
export type Direction = (typeof directions)[number];

/** From `from`, to before `until`; without an end null. Where both are the same it never was in force. */
export interface Period {
  readonly from: EpochMs;
  readonly until: EpochMs | null;
}

export interface Ratio {
  readonly numerator: number;
  readonly denominator: number;
}

/** Adds a part of what the ratio gives, while it lasts; several add up, each of the same amount. */
export interface Bonus extends Period {
  readonly name: string;
  readonly share: Ratio;
  /** Only for members of these tiers. */
  readonly tiers?: readonly string[];
}

export const capPeriods = ['day', 'month', 'year'] as const;
export type CapPeriod = (typeof capPeriods)[number];

/** What one member may exchange with the partner over all rates of the direction and currency, in a period of the program's calendar. */
export interface ExchangeCap {
  readonly period: CapPeriod;
  /** The side that is counted; what is received is counted with its bonus. */
  readonly of: 'give' | 'receive';
  readonly points: number;
}

/** What the member pays in money. */
export interface Fee {
  readonly currency: string;
  /** Minor units for each exchange. */
  readonly fixed: number;
  /** Minor units for so many points that are given. */
  readonly perPoints: Ratio;
  readonly maximum?: number;
  readonly rounding: Rounding;
}

export interface Rate extends Period {
  /** Numbers the versions of all rates of a partner, from 1. */
  readonly version: number;
  /** The partner's number. */
  readonly partner: number;
  readonly direction: Direction;
  /** The program's own currency, given or received. */
  readonly currency: string;
  /** The currency at the partner. */
  readonly partnerCurrency: string;
  /** Members of this tier alone; null for all whose tier has no rate of its own. */
  readonly tier: string | null;
  readonly announcedAt: EpochMs | null;
  /** Points received for points given. */
  readonly ratio: Ratio;
  readonly rounding: Rounding;
  /** Of points given: at least, in steps of (counted from zero), at most in one exchange. */
  readonly minimum: number;
  readonly step: number;
  readonly maximum: number | null;
  /** Whenever so many points are given at once, so many more are received. */
  readonly block: { readonly points: number; readonly adds: number } | null;
  readonly bonuses: readonly Bonus[];
  readonly caps: readonly ExchangeCap[];
  readonly fee: Fee | null;
}

/** Money for points. */
export interface Price {
  /** Minor units of the contract's currency. */
  readonly amount: number;
  readonly perPoints: number;
}

/** Points the program gives for money that was spent at the partner. */
export interface Earning {
  readonly currency: string;
  readonly points: number;
  readonly perMinorUnits: number;
  readonly rounding: Rounding;
  /** Each purchase alone, or all of a statement together. */
  readonly roundedPer: 'purchase' | 'statement';
}

export type Billing =
  | {
      readonly kind: 'prepaid';
      /** Alarms when so few points are left in the blocks. */
      readonly alertPoints: number;
      /** Blocks bought as a reserve are drawn from when all others are empty. */
      readonly usesReserve: boolean;
    }
  | {
      readonly kind: 'postpaid';
      /** Alarms when so much money is open; null: never. */
      readonly alertAmount: number | null;
    };

export const limitNames = [
  'account_age',
  'contact_hold',
  'member_velocity',
  'card_velocity',
  'terminal_velocity',
  'round_trip',
  'same_name',
  'linked_accounts',
  'linked_members',
  'member_cap',
  'partner_daily_cap',
] as const;
export type LimitName = (typeof limitNames)[number];
/** What follows when a limit is reached: no exchange, or one that waits for a person. */
export type LimitAction = 'refuse' | 'review';

export interface Velocity {
  readonly count: number;
  readonly hours: number;
  /** And at most so many points of this program in the same time. */
  readonly points?: number | undefined;
  readonly action: LimitAction;
}

/** Limits against abuse of exchanges; what is absent does not limit. */
export interface AbuseLimits {
  /** Exchange out: days since the member joined. */
  readonly accountAge?: { readonly days: number; readonly action: LimitAction } | undefined;
  /** Exchange out: hours since a phone number or e-mail address of the member changed. */
  readonly contactHold?: { readonly hours: number; readonly action: LimitAction } | undefined;
  readonly member?: Velocity | undefined;
  readonly card?: Velocity | undefined;
  readonly terminal?: Velocity | undefined;
  /** Points that went one way and come back the other within so many days. */
  readonly roundTrip?: { readonly days: number; readonly action: LimitAction } | undefined;
  /** How the name of the linked account has to have stood to the member's when they were linked. */
  readonly sameName?:
    | { readonly match: Exclude<NameMatch, 'not_compared'>; readonly action: LimitAction }
    | undefined;
  /** Accounts at the partner that a member has linked in so many hours, and members whom the account was linked with, the present ones included. */
  readonly links?:
    | {
        readonly accounts: number;
        readonly members: number;
        readonly hours: number;
        readonly action: LimitAction;
      }
    | undefined;
  /** Points of this program in each direction with all members, by day of the program's calendar. */
  readonly partnerDaily?:
    | {
        readonly out?: number | undefined;
        readonly in?: number | undefined;
        readonly action: LimitAction;
      }
    | undefined;
}

/** What is agreed with a partner. */
export interface ContractTerms {
  readonly billing: Billing;
  readonly settleOn: 'issue' | 'redemption';
  /** Of prices and invoices, ISO 4217. */
  readonly currency: string;
  readonly prices: {
    /** What the partner pays for each point that its members are given here. */
    readonly issue: Price;
    /** What the partner is paid for each point that is redeemed there. */
    readonly redemption: Price;
  };
  /** What is billed of the prices, in hundredths of a percent: 9,000 for 90 %. */
  readonly billedBasisPoints: number;
  readonly taxBasisPoints: number;
  /** Statements below it are carried over. */
  readonly invoiceMinimum: number;
  readonly nettingGroup: string | null;
  readonly disputeDays: number;
  /** Late flights and stays are taken for so many days. */
  readonly claimDays: number;
  /** Days from the announcement of a rate to its beginning. */
  readonly noticeDays: number;
  /** What the partner pays of joint promotions, in hundredths of a percent of its price; the rest is others' or the program's. */
  readonly costShares: readonly { readonly promotion: string; readonly basisPoints: number }[];
  readonly earning: Earning | null;
  readonly limits: AbuseLimits;
  /** Seconds for which a quoted rate is kept. */
  readonly quoteSeconds: number;
}

export interface Contract extends Period, ContractTerms {
  /** From 1, by partner. */
  readonly version: number;
}

export interface Partner {
  /** In the ledger its party. */
  readonly number: number;
  readonly program: number;
  /** As paths and files name it. */
  readonly name: string;
  readonly title: string;
  /** The client whose keys sign this partner's calls. */
  readonly client: number;
  readonly status: 'active' | 'suspended';
  /** By version. */
  readonly contracts: readonly Contract[];
  readonly rates: readonly Rate[];
}

/** What counts already against a cap, in each period of the time that is asked about. */
export type Used = Readonly<Record<CapPeriod, { readonly give: number; readonly receive: number }>>;
