/** PURE. One judgement while it is made: what both rules and promotions read of it and add to it. */
import { Problem } from '#src/errors.ts';
import type { EpochMs, Points } from '#src/values.ts';
import { type Counted, type CountedLine, countedOf, shareOf } from './amounts.ts';
import { momentOf } from './calendar.ts';
import type { CompiledCap, CompiledGiver, CompiledRule, CompiledRules } from './compile.ts';
import { viewOf } from './condition-views.ts';
import { namedPeriodOf, periodOf } from './periods.ts';
import { allHold, amountOf, type Case } from './selection.ts';
import type {
  Assumption,
  Award,
  Count,
  CounterValues,
  JudgedMember,
  Limit,
  PurchaseLine,
  Subject,
} from './types.ts';

export interface Question {
  readonly subject: Subject;
  readonly member: JudgedMember;
  readonly counters: CounterValues;
  readonly occurredAt: EpochMs;
  /** When it is booked, in the program's time. */
  readonly postedAt: EpochMs;
  /** What is left of a line after returns; absent: all. */
  readonly remaining?: (line: PurchaseLine) => { readonly amount: number; readonly millionths: number };
}

/** Hears of every rule and promotion that was looked at; only explanations listen. */
export interface Trace {
  notOfKind(giver: CompiledGiver): void;
  /** `more` says what beside the checks did not fit. */
  notMatched(giver: CompiledGiver, each: Case, more?: string): void;
  /** `asked`: before the caps of a receipt cut it. */
  judged(
    giver: CompiledGiver,
    each: Case,
    base: number,
    points: Points,
    asked: Points,
    detail?: string,
  ): void;
  failed(giver: CompiledGiver, reason: string): void;
}

/** A receipt with some of its lines only, and what all rules gave for these, by currency. */
export interface OfLines {
  readonly each: Case;
  readonly sums: Map<string, number>;
}

export interface Judging {
  readonly rules: CompiledRules;
  readonly question: Question;
  readonly trace: Trace | undefined;
  readonly each: Case;
  readonly kind: CompiledGiver['on'];
  /** The day on which it is booked. */
  readonly posted: string;
  /** What rules gave: what promotions multiply. */
  readonly given: { readonly rule: CompiledRule; readonly points: Points }[];
  /** What rules gave for lines that promotions pick. */
  readonly ofLines: Map<readonly CountedLine[], OfLines>;
  readonly awards: Award[];
  readonly assumptions: Assumption[];
  /** What promotions that were given add to counters. */
  readonly counts: Count[];
  readonly shipment: Shipment;
  readonly failures: { readonly rule: string; readonly reason: string }[];
}

/** Which shipment of its order a receipt is; `alone`: nobody tells. */
export type Shipment = 'alone' | 'first' | 'further';

export const counterMax = Number.MAX_SAFE_INTEGER;

/**
 * A further shipment is no purchase of its own. Orders are told apart as long as the member is below the highest number that a
 * promotion asks for: beyond it nobody asks, and looking an order up among many costs a query.
 */
function shipmentOf(
  { purchases }: CompiledRules,
  { subject, counters }: Question,
  assumptions: Assumption[],
): Shipment {
  const order = subject.purchase?.order;
  if (purchases?.ofOrder === undefined || order === undefined) return 'alone';
  const { counter, ofOrder, numberMax } = purchases;
  const made = counters({ counter, period: 0 }) ?? counterMax;
  if (made >= numberMax) {
    assumptions.push({ counter, period: 0, from: numberMax, to: counterMax });
    return 'alone';
  }
  assumptions.push({ counter, period: 0, from: 0, to: numberMax - 1 });
  const place = { counter: ofOrder, period: namedPeriodOf(order) };
  // Of an order that was never heard of it is the first: that is true of nearly all.
  const isFirst = (counters(place) ?? 0) === 0;
  assumptions.push({ ...place, from: isFirst ? 0 : 1, to: isFirst ? 0 : counterMax });
  return isFirst ? 'first' : 'further';
}

function kindOf({ purchase, flight }: Subject): CompiledGiver['on'] {
  if (purchase) return 'purchase';
  return flight ? 'flight' : 'activity';
}

/** The receipt as conditions see it: of what came back they see nothing. */
function seenOf({ subject, remaining }: Question, { lines, paid, total }: Counted) {
  if (!remaining || !subject.purchase) return { subject, paid };
  const left = lines.reduce((sum, { remainingAmount }) => sum + remainingAmount, 0);
  return { subject: { purchase: { ...subject.purchase, lines } }, paid: shareOf(left, paid, total) };
}

export function beginJudging(rules: CompiledRules, question: Question, trace: Trace | undefined): Judging {
  const { member, occurredAt, postedAt, remaining } = question;
  const { purchase } = question.subject;
  const moment = momentOf(occurredAt, rules.timeZone);
  const counted = countedOf(purchase?.lines ?? [], purchase?.payments, remaining);
  const { subject, paid } = seenOf(question, counted);
  const assumptions: Assumption[] = [];
  return {
    rules,
    question,
    trace,
    each: {
      subject,
      counted,
      indexed: rules.index.of(counted.lines),
      member,
      moment,
      view: viewOf(subject, member, moment, paid),
    },
    kind: kindOf(subject),
    posted: postedAt === occurredAt ? moment.date : momentOf(postedAt, rules.timeZone).date,
    given: [],
    ofLines: new Map(),
    awards: [],
    assumptions,
    counts: [],
    shipment: shipmentOf(rules, question, assumptions),
    failures: [],
  };
}

/** Runs what one rule does; its failure is its own. */
export function guarded<Answer>(
  judging: Judging,
  giver: CompiledGiver,
  run: () => Answer,
): Answer | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof Problem) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    judging.failures.push({ rule: giver.name, reason });
    judging.trace?.failed(giver, reason);
    return undefined;
  }
}

/** Whether a giver fits by what it says of whom and what. */
export function fits({ kind, each, trace }: Judging, giver: CompiledGiver): boolean {
  if (giver.on !== kind) {
    trace?.notOfKind(giver);
    return false;
  }
  if (allHold(giver.checks, each)) return true;
  trace?.notMatched(giver, each);
  return false;
}

/** The period that a cap counts in for a case; undefined where there is none, such as that of an order without one. */
export function capPeriod(
  period: CompiledCap['period'],
  { subject, moment }: Pick<Case, 'subject' | 'moment'>,
): number | undefined {
  switch (period) {
    case 'receipt':
      return undefined;
    case 'order': {
      const order = subject.purchase?.order;
      return order === undefined ? undefined : namedPeriodOf(order);
    }
    case 'ticket': {
      const ticket = subject.flight?.ticket;
      return ticket === undefined ? undefined : namedPeriodOf(ticket);
    }
    default:
      return periodOf(period, moment);
  }
}

/** Points within the caps of one receipt. */
export function withinReceipt(giver: CompiledGiver, points: Points): Points {
  let rest = points;
  for (const cap of giver.caps) {
    if (cap.period !== 'receipt' || rest <= cap.pointsMax) continue;
    rest = cap.isAllOrNothing ? 0 : cap.pointsMax;
  }
  return rest;
}

/** The limits that the script holds an award of a giver to. */
export function limitsOf(giver: CompiledGiver, each: Pick<Case, 'subject' | 'moment'>): Limit[] {
  const limits: Limit[] = [];
  for (const { counter, period, pointsMax, isAllOrNothing } of giver.caps) {
    const place = capPeriod(period, each);
    if (place !== undefined) limits.push({ counter, period: place, pointsMax, isAllOrNothing });
  }
  return limits;
}

/** Adds what a giver gives. */
export function award(judging: Judging, giver: CompiledGiver, points: Points): void {
  if (points === 0) return;
  const { moment, member } = judging.each;
  const availableAt = giver.availableOf(moment.date);
  const expiresAt = giver.isUntilEvent
    ? availableAt
    : giver.expiryOf({ occurred: moment.date, posted: judging.posted }, member);
  const limits = giver.caps.length > 0 ? limitsOf(giver, judging.each) : [];
  judging.awards.push({
    currency: giver.currency,
    points,
    rule: giver.name,
    funder: giver.funder,
    availableAt,
    expiresAt,
    ...(limits.length > 0 ? { limits } : {}),
    ...(giver.budget === undefined ? {} : { budget: giver.budget }),
  });
}

/** Minor units of the receipt that count as spending. */
export function spentOf({ each }: Judging): number {
  return amountOf(each, each.counted.lines);
}
