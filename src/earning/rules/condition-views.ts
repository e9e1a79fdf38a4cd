/**
 * PURE. What conditions see of a receipt, a flight or an activity, of the member and of the time.
 *
 * A view is made once for a receipt and costs next to nothing: a value is made when a condition asks for it, because most
 * rules have no condition and integers of the expression language are BigInts. The language knows a value's type by its
 * class, so views are classes; `condition-types.ts` says which fields each has. What is absent is "" or, where it is a number, 0.
 */
import type { EpochMs } from '#src/values.ts';
import { type Moment, momentOf } from './calendar.ts';
import type { Activity, Flight, JudgedMember, Payment, Purchase, PurchaseLine, Subject } from './types.ts';

const minutesOfHour = 60;

export class ReceiptView {
  readonly #purchase: Purchase;
  readonly #total: number;
  #lines: readonly LineView[] | undefined;
  #payments: readonly PaymentView[] | undefined;

  constructor(purchase: Purchase, total: number) {
    this.#purchase = purchase;
    this.#total = total;
  }
  get total() {
    return BigInt(this.#total);
  }
  get currency() {
    return this.#purchase.currency;
  }
  get store() {
    return this.#purchase.store ?? '';
  }
  get channel() {
    return this.#purchase.channel ?? '';
  }
  get terminal() {
    return this.#purchase.terminal ?? '';
  }
  get order() {
    return this.#purchase.order ?? '';
  }
  get lines() {
    this.#lines ??= this.#purchase.lines.map((line) => new LineView(line));
    return this.#lines;
  }
  get payments() {
    this.#payments ??= (this.#purchase.payments ?? []).map((payment) => new PaymentView(payment));
    return this.#payments;
  }
}

export class LineView {
  readonly #line: PurchaseLine;

  constructor(line: PurchaseLine) {
    this.#line = line;
  }
  get line() {
    return String(this.#line.line);
  }
  get sku() {
    return this.#line.sku ?? '';
  }
  get category() {
    return this.#line.category ?? '';
  }
  get brand() {
    return this.#line.brand ?? '';
  }
  /** A decimal number is the nearest double, here as in the text of a condition, so that comparing them is exact. */
  get quantity() {
    return Number(this.#line.quantity ?? '1');
  }
  get unit() {
    return this.#line.unit ?? '';
  }
  get amount() {
    return BigInt(this.#line.amount);
  }
}

export class PaymentView {
  readonly #payment: Payment;

  constructor(payment: Payment) {
    this.#payment = payment;
  }
  get means() {
    return this.#payment.means;
  }
  get amount() {
    return BigInt(this.#payment.amount);
  }
}

export class FlightView {
  readonly #flight: Flight;

  constructor(flight: Flight) {
    this.#flight = flight;
  }
  get carrier() {
    return this.#flight.carrier;
  }
  get operatingCarrier() {
    return this.#flight.operatingCarrier ?? '';
  }
  get flightNumber() {
    return this.#flight.flightNumber;
  }
  get date() {
    return this.#flight.date;
  }
  get from() {
    return this.#flight.from;
  }
  get to() {
    return this.#flight.to;
  }
  get distanceMiles() {
    return BigInt(this.#flight.distanceMiles ?? 0);
  }
  get bookingClass() {
    return this.#flight.bookingClass;
  }
  get ticket() {
    return this.#flight.ticket ?? '';
  }
  get fare() {
    return BigInt(this.#flight.fare?.amount ?? 0);
  }
  get fareCurrency() {
    return this.#flight.fare?.currency ?? '';
  }
}

export class ActivityView {
  readonly #activity: Activity;

  constructor(activity: Activity) {
    this.#activity = activity;
  }
  get type() {
    return this.#activity.type;
  }
  get attributes() {
    return this.#activity.attributes ?? {};
  }
}

export class MemberView {
  readonly #member: JudgedMember;
  readonly #moment: Moment;
  #attributes: Readonly<Record<string, string | number | bigint | boolean>> | undefined;

  constructor(member: JudgedMember, moment: Moment) {
    this.#member = member;
    this.#moment = moment;
  }
  get known() {
    return this.#member.isKnown;
  }
  get tier() {
    return this.#member.tier ?? '';
  }
  get segments() {
    return this.#member.segments;
  }
  /** Days of the calendar since the member joined; -1 where that is not known or lies ahead. */
  get joinedDays() {
    const { joinedAt } = this.#member;
    return joinedAt === undefined ? -1n : BigInt(Math.max(daysSince(joinedAt, this.#moment), -1));
  }
  get hasBirthday() {
    return this.#member.birthday !== undefined;
  }
  /** Whole numbers are integers, so that they can be added to the integers of a condition. */
  get attributes() {
    this.#attributes ??= Object.fromEntries(
      Object.entries(this.#member.attributes).map(([name, value]) => [
        name,
        typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value,
      ]),
    );
    return this.#attributes;
  }
}

function daysSince(at: EpochMs, moment: Moment): number {
  return moment.dayNumber - momentOf(at, moment.timeZone).dayNumber;
}

export class MomentView {
  readonly #moment: Moment;

  constructor(moment: Moment) {
    this.#moment = moment;
  }
  get year() {
    return BigInt(this.#moment.year);
  }
  get month() {
    return BigInt(this.#moment.month);
  }
  get day() {
    return BigInt(this.#moment.day);
  }
  get weekday() {
    return BigInt(this.#moment.weekday);
  }
  get hour() {
    return BigInt(Math.floor(this.#moment.minuteOfDay / minutesOfHour));
  }
  get minute() {
    return BigInt(this.#moment.minuteOfDay % minutesOfHour);
  }
  get date() {
    return this.#moment.date;
  }
}

/** What a condition is given; the language looks variables up by name. */
export interface SubjectView {
  readonly receipt: ReceiptView | undefined;
  readonly flight: FlightView | undefined;
  readonly activity: ActivityView | undefined;
  /** Known to conditions on lines alone. */
  readonly line: LineView | undefined;
  readonly member: MemberView;
  readonly at: MomentView;
}

class WholeView implements SubjectView {
  readonly #subject: Subject;
  readonly #judged: JudgedMember;
  readonly #moment: Moment;
  readonly #total: number | undefined;
  #receipt: ReceiptView | undefined;
  #member: MemberView | undefined;
  #at: MomentView | undefined;

  constructor(subject: Subject, judged: JudgedMember, moment: Moment, total: number | undefined) {
    this.#subject = subject;
    this.#judged = judged;
    this.#moment = moment;
    this.#total = total;
  }
  get receipt() {
    const { purchase } = this.#subject;
    if (purchase === undefined) return undefined;
    this.#receipt ??= new ReceiptView(purchase, this.#total ?? sumOf(purchase.lines));
    return this.#receipt;
  }
  get flight() {
    return this.#subject.flight && new FlightView(this.#subject.flight);
  }
  get activity() {
    return this.#subject.activity && new ActivityView(this.#subject.activity);
  }
  get line() {
    return undefined;
  }
  get member() {
    this.#member ??= new MemberView(this.#judged, this.#moment);
    return this.#member;
  }
  get at() {
    this.#at ??= new MomentView(this.#moment);
    return this.#at;
  }
}

/** One line, and what stands around it. */
class OneLineView implements SubjectView {
  readonly #around: SubjectView;
  readonly #line: PurchaseLine;

  constructor(around: SubjectView, line: PurchaseLine) {
    this.#around = around;
    this.#line = line;
  }
  get receipt() {
    return this.#around.receipt;
  }
  get flight() {
    return this.#around.flight;
  }
  get activity() {
    return this.#around.activity;
  }
  get line() {
    return new LineView(this.#line);
  }
  get member() {
    return this.#around.member;
  }
  get at() {
    return this.#around.at;
  }
}

function sumOf(lines: readonly PurchaseLine[]): number {
  return lines.reduce((sum, { amount }) => sum + amount, 0);
}

/** What conditions see. `total`: minor units of the receipt that earn; absent: the sum of its lines. */
export function viewOf(subject: Subject, member: JudgedMember, moment: Moment, total?: number): SubjectView {
  return new WholeView(subject, member, moment, total);
}

/** What a condition on a line sees: the line beside all else. */
export function viewOfLine(view: SubjectView, line: PurchaseLine): SubjectView {
  return new OneLineView(view, line);
}
