/**
 * PURE. Whether an exchange looks right: each limit of the contract against what is known of the member, the card, the till and
 * the partner's day. Every limit that is reached is named, with the number it knows and a sentence; the strictest decides.
 */
import type { NameMatch } from '#src/partners/protocol/schemas.ts';
import type { EpochMs } from '#src/values.ts';
import type {
  AbuseLimits,
  CapPeriod,
  Direction,
  ExchangeCap,
  LimitAction,
  LimitName,
  Used,
  Velocity,
} from './types.ts';
import { capPeriods } from './types.ts';

/** Exchanges since the window of a limit began, this one not included. */
export interface Counted {
  readonly count: number;
  /** Points of this program. */
  readonly points: number;
}

/** An exchange that counts. */
export interface Use {
  readonly at: EpochMs;
  /** Points of this program. */
  readonly points: number;
}

/** Links of the last hours beside the present one, the newest first: when other accounts were linked with the member, and the account with other members. */
export interface LinkedTimes {
  readonly accountsAt: readonly EpochMs[];
  readonly membersAt: readonly EpochMs[];
}

export interface ExchangeFacts {
  readonly at: EpochMs;
  readonly direction: Direction;
  readonly give: number;
  readonly receive: number;
  readonly joinedAt: EpochMs;
  /** When a phone number or e-mail address last came to the member after it was enrolled. */
  readonly contactChangedAt: EpochMs | undefined;
  readonly member: Counted;
  readonly card: Counted | undefined;
  readonly terminal: Counted | undefined;
  /** When the member last exchanged the same currency with the partner the other way. */
  readonly oppositeAt: EpochMs | undefined;
  readonly used: Used;
  /** When the present day, month or year of the program's calendar is over; asked for only where it matters. */
  readonly endOf: (period: CapPeriod) => EpochMs;
  /** How the name of the linked account stood to the member's. */
  readonly name: NameMatch;
  readonly links: LinkedTimes | undefined;
  /** Points of this program with all members of the partner today, this direction. */
  readonly partnerToday: number;
}

export interface Reason {
  readonly limit: LimitName;
  readonly action: LimitAction;
  readonly detail: string;
  readonly bound: number | NameMatch;
  /** What stands against the bound, this exchange included. */
  readonly value: number | NameMatch;
  /** When the limit would let it through, where time alone cures it. */
  readonly until?: EpochMs;
}

export interface Judgement {
  readonly outcome: 'allowed' | 'review' | 'refused';
  readonly reasons: readonly Reason[];
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Points of this program that an exchange moves. */
export function ownPoints({
  direction,
  give,
  receive,
}: Pick<ExchangeFacts, 'direction' | 'give' | 'receive'>): number {
  return direction === 'out' ? give : receive;
}

function ageReasons({ accountAge, contactHold }: AbuseLimits, facts: ExchangeFacts): Reason[] {
  if (facts.direction === 'in') return [];
  const reasons: Reason[] = [];
  const { at, joinedAt, contactChangedAt } = facts;
  if (accountAge && at < joinedAt + accountAge.days * dayMs)
    reasons.push({
      limit: 'account_age',
      action: accountAge.action,
      detail: `Points are exchanged out from ${accountAge.days} days of membership on.`,
      bound: accountAge.days,
      value: Math.max(0, Math.floor((at - joinedAt) / dayMs)),
      until: joinedAt + accountAge.days * dayMs,
    });
  if (contactHold && contactChangedAt !== undefined && at < contactChangedAt + contactHold.hours * hourMs)
    reasons.push({
      limit: 'contact_hold',
      action: contactHold.action,
      detail: `A way to reach the member changed less than ${contactHold.hours} hours ago.`,
      bound: contactHold.hours,
      value: Math.max(0, Math.floor((at - contactChangedAt) / hourMs)),
      until: contactChangedAt + contactHold.hours * hourMs,
    });
  return reasons;
}

function velocityReasons(
  limit: 'member_velocity' | 'card_velocity' | 'terminal_velocity',
  bounds: Velocity | undefined,
  counted: Counted | undefined,
  points: number,
): Reason[] {
  if (!bounds || !counted) return [];
  const { count, hours, points: pointsMax, action } = bounds;
  const who = limit.replace('_velocity', '');
  const reasons: Reason[] = [];
  if (counted.count + 1 > count) {
    const detail = `It would be exchange ${counted.count + 1} of this ${who} in ${hours} hours; ${count} are usual.`;
    reasons.push({ limit, action, detail, bound: count, value: counted.count + 1 });
  }
  if (pointsMax !== undefined && counted.points + points > pointsMax) {
    const value = counted.points + points;
    const detail = `It would make ${value} points of this ${who} in ${hours} hours; ${pointsMax} are usual.`;
    reasons.push({ limit, action, detail, bound: pointsMax, value });
  }
  return reasons;
}

function roundTripReasons(
  { roundTrip }: AbuseLimits,
  { at, oppositeAt, direction }: ExchangeFacts,
): Reason[] {
  if (!roundTrip || oppositeAt === undefined) return [];
  const ageMs = at - oppositeAt;
  if (ageMs >= roundTrip.days * dayMs) return [];
  const other = direction === 'out' ? 'in' : 'out';
  return [
    {
      limit: 'round_trip',
      action: roundTrip.action,
      detail: `The member exchanged ${other} with the same partner less than ${roundTrip.days} days ago.`,
      bound: roundTrip.days,
      value: Math.max(0, Math.floor(ageMs / dayMs)),
      until: oppositeAt + roundTrip.days * dayMs,
    },
  ];
}

/** From the strictest. */
const matches: readonly NameMatch[] = ['full', 'initials', 'not_compared'];

function nameReasons({ sameName }: AbuseLimits, { name }: ExchangeFacts): Reason[] {
  if (!sameName || matches.indexOf(name) <= matches.indexOf(sameName.match)) return [];
  const detail =
    name === 'not_compared'
      ? "The name of the linked account was not compared with the member's; link it again with the name."
      : "The name of the linked account is the member's by its initials alone.";
  const { match: bound, action } = sameName;
  return [{ limit: 'same_name', action, detail, bound, value: name }];
}

/** One that is linked now, and the others of the last hours. */
function linkReasons({ links: limit }: AbuseLimits, { links }: ExchangeFacts): Reason[] {
  if (!limit || !links) return [];
  const { hours, action } = limit;
  const others = [
    ['linked_accounts', links.accountsAt, limit.accounts, 'accounts were linked with the member'],
    ['linked_members', links.membersAt, limit.members, 'members were linked with the account'],
  ] as const;
  return others
    .filter(([, times, bound]) => times.length + 1 > bound)
    .map(([name, times, bound, what]): Reason => {
      const value = times.length + 1;
      const detail = `${value} ${what} in ${hours} hours; ${bound} may be.`;
      return { limit: name, action, detail, bound, value, until: times[bound - 1]! + hours * hourMs };
    });
}

function capReasons(caps: readonly ExchangeCap[], { used, endOf, ...amounts }: ExchangeFacts): Reason[] {
  return capPeriods.flatMap((period) =>
    caps
      .filter((cap) => cap.period === period && used[period][cap.of] + amounts[cap.of] > cap.points)
      .map((cap): Reason => {
        const left = Math.max(0, cap.points - used[period][cap.of]);
        return {
          limit: 'member_cap',
          action: 'refuse',
          detail: `Of ${cap.points} points that a member may ${cap.of} in a ${period}, ${left} are left.`,
          bound: cap.points,
          value: used[period][cap.of] + amounts[cap.of],
          ...(amounts[cap.of] > cap.points ? {} : { until: endOf(period) }),
        };
      }),
  );
}

function partnerReasons({ partnerDaily }: AbuseLimits, facts: ExchangeFacts): Reason[] {
  const bound = partnerDaily?.[facts.direction];
  const value = facts.partnerToday + ownPoints(facts);
  if (!partnerDaily || bound === undefined || value <= bound) return [];
  const detail = `All exchanges ${facts.direction} with the partner would come to ${value} points today; ${bound} are agreed.`;
  const until = ownPoints(facts) > bound ? {} : { until: facts.endOf('day') };
  return [{ limit: 'partner_daily_cap', action: partnerDaily.action, detail, bound, value, ...until }];
}

/**
 * When a velocity lets an exchange of so many points through, if there is none in between. `uses` are those of its hours, the newest
 * first; undefined where time does not cure it, or where they do not reach so far.
 */
export function velocityUntil(
  { count, hours, points: pointsMax = Number.POSITIVE_INFINITY }: Velocity,
  uses: readonly Use[],
  points: number,
): EpochMs | undefined {
  if (points > pointsMax) return undefined;
  let sum = points;
  for (const [i, use] of uses.entries()) {
    sum += use.points;
    // Whatever is older than the first that does not fit beside it is over by then.
    if (i + 1 >= count || sum > pointsMax) return use.at + hours * hourMs;
  }
  return undefined;
}

/** Judges an exchange by the limits of its contract and the caps of its rate. */
export function judge(limits: AbuseLimits, caps: readonly ExchangeCap[], facts: ExchangeFacts): Judgement {
  const points = ownPoints(facts);
  const reasons = [
    ...ageReasons(limits, facts),
    ...nameReasons(limits, facts),
    ...linkReasons(limits, facts),
    ...capReasons(caps, facts),
    ...velocityReasons('member_velocity', limits.member, facts.member, points),
    ...velocityReasons('card_velocity', limits.card, facts.card, points),
    ...velocityReasons('terminal_velocity', limits.terminal, facts.terminal, points),
    ...roundTripReasons(limits, facts),
    ...partnerReasons(limits, facts),
  ];
  const strictest = reasons.some(({ action }) => action === 'refuse') ? 'refused' : 'review';
  return { outcome: reasons.length === 0 ? 'allowed' : strictest, reasons };
}
