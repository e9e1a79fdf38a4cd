/**
 * PURE. Receipts that the ledger has, judged by a draft in the order in which they were booked. A member's counters begin with
 * what the ledger counted before the first receipt that is replayed, and go on with what the draft counts; so do budgets, from
 * nothing. What is returned is taken back from what the draft gave, by the draft.
 *
 * Where the draft is the version that was in force, every step is the one of the script and the result is the ledger's.
 * Whatever is not replayed (receipts that occurred at other times, merges of members, corrections) changes the counters as
 * it did in the ledger.
 */
import { Problem } from '#src/errors.ts';
import type { CounterRow } from '#src/journal.ts';
import type { EpochMs, MemberNumber, OperationHex, OperationKind, Points } from '#src/values.ts';
import type { Recorded } from '#src/wallet/operations.ts';
import {
  type AccrualSubject,
  judge,
  type KeptAward,
  keptAward,
  keptAwards,
  type WrittenAward,
} from '../judge.ts';
import { takeBackOfOrder } from '../order-awards.ts';
import { versionNumbered } from '../program.ts';
import { parseReturned, type ReturnedSoFar } from '../returned.ts';
import { momentOf } from '../rules/calendar.ts';
import { checkMoneyCurrency } from '../rules/money.ts';
import type { Award, JudgedMember, Judgement } from '../rules/types.ts';
import type { TakenBack } from '../undoing.ts';
import { createBudgets } from './budgets.ts';
import { createMemberCounters, type MemberCounters, weigh } from './counters.ts';
import type { Draft } from './draft.ts';
import type { Positioned } from './ordering.ts';
import { createTally, type MemberFigures, type Side } from './tally.ts';

/** An operation of the ledger. */
export interface LedgerRow extends Positioned {
  readonly operation: OperationHex;
  readonly kind: OperationKind;
  readonly member: MemberNumber;
  readonly at: EpochMs;
  readonly occurredAt: EpochMs;
  /** Of receipts that are replayed, and of what takes back. */
  readonly request: KeptRequest | undefined;
  /** JSON: the points of each award, where caps or budgets trimmed any. */
  readonly given: string | undefined;
  /** JSON: what it counted; of receipts that are replayed nobody asks. */
  readonly counters: string | undefined;
  /** Something was taken back from it later. */
  readonly isUndone: boolean;
}

/** What the ledger keeps of a request. */
export interface KeptRequest {
  readonly body?: AccrualSubject;
  readonly awards?: readonly WrittenAward[];
  readonly programVersion?: number;
  readonly segmentRun?: number;
  readonly takenBack?: readonly KeptAward[];
  readonly undone?: readonly (readonly [operation: OperationHex, note: string, ...unknown[]])[];
}

interface MemberState extends Record<Side, Points> {
  readonly counters: MemberCounters;
}

/** A receipt of which something comes back later: what the draft gave for it, and what has come back. */
interface Returnable {
  readonly accrual: Recorded;
  readonly actualVersion: number | undefined;
  /** Its tiers and segments are those that the receipt is judged by again. */
  readonly member: JudgedMember;
  note: string;
}

interface Count {
  readonly name: string;
  count: number;
}

/** A receipt with what its judgement rested on. */
interface Judged {
  readonly row: LedgerRow;
  readonly member: JudgedMember;
  readonly stood: CounterRow[];
}

/** What the counters stood at that a judgement asked for, as an operation's effect says it. */
function countersOf({ assumptions }: Judgement, counters: MemberCounters): CounterRow[] {
  return assumptions.map((place) => [place.counter, place.period, 0, counters.value(place)]);
}

const noJudgement: Judgement = { awards: [], counts: [], assumptions: [], failures: [] };

function isSameAward(a: KeptAward, b: KeptAward): boolean {
  return (
    a.rule === b.rule &&
    a.currency === b.currency &&
    a.points === b.points &&
    a.expiresAt === b.expiresAt &&
    a.availableAt === b.availableAt &&
    a.funder === b.funder
  );
}

/** Whether two receipts gave the same; awards without points give nothing. */
function isSameOutcome(draft: readonly KeptAward[], actual: readonly KeptAward[]): boolean {
  if (draft.length === actual.length && draft.every((award, i) => isSameAward(award, actual[i]!)))
    return true;
  const [ours, theirs] = [draft, actual].map((awards) => awards.filter(({ points }) => points > 0));
  return (
    ours!.length === theirs!.length &&
    ours!.every((award) => theirs!.some((other) => isSameAward(award, other)))
  );
}

function withPoints<Kept extends KeptAward | Award>(
  awards: readonly Kept[],
  given: readonly Points[] | undefined,
): readonly Kept[] {
  return given ? awards.map((award, i) => ({ ...award, points: given[i] ?? award.points })) : awards;
}

export interface Replay {
  /** Takes the next operation of the ledger; `member` is what the draft's rules may know of its member. */
  take(row: LedgerRow, member: JudgedMember): void;
  readonly receipts: number;
  /** Receipts that the draft would have given anything else for than the ledger has. */
  readonly otherwise: number;
  /** The first of them. */
  readonly otherwiseFirst: readonly OperationHex[];
  readonly refused: readonly Count[];
  readonly failed: readonly Count[];
  members(): Iterable<MemberFigures>;
  readonly tally: ReturnType<typeof createTally>;
  readonly budgets: ReturnType<typeof createBudgets>;
}

const namedMax = 20;

export function createReplay({ program, version }: Draft, endsAt: EpochMs): Replay {
  const { definition } = version;
  const main = program.mainCurrency.code;
  const members = new Map<MemberNumber, MemberState>();
  const returnables = new Map<OperationHex, Returnable>();
  const [refused, failed]: [Count[], Count[]] = [[], []];
  const otherwiseFirst: OperationHex[] = [];
  const tally = createTally(endsAt, program.segmentRun !== undefined);
  const budgets = createBudgets(definition);
  const hasBudgets = definition.budgets.length > 0;
  let [receipts, otherwise] = [0, 0];

  function stateOf(member: MemberNumber): MemberState {
    const known = members.get(member);
    if (known) return known;
    const made = { counters: createMemberCounters(), draft: 0, actual: 0 };
    members.set(member, made);
    return made;
  }

  function count(counts: Count[], name: string): void {
    const known = counts.find((each) => each.name === name);
    if (known) known.count += 1;
    else if (counts.length < 1_000) counts.push({ name, count: 1 });
  }

  function add(side: Side, judgedBy: typeof definition, award: KeptAward, sign: 1 | -1, place: Place): void {
    if (award.points === 0) return;
    tally.add(side, judgedBy, award, sign, place.segments);
    if (award.currency !== main) return;
    place.state[side] += sign * award.points;
    tally.day(place.date, side, sign * award.points);
  }

  function judged(
    row: LedgerRow,
    subject: AccrualSubject,
    member: JudgedMember,
    counters: MemberCounters,
  ): Judgement {
    try {
      if (subject.purchase) checkMoneyCurrency(definition, subject.purchase.currency, '/purchase/currency');
      return judge(program, version, {
        subject,
        member,
        counters: counters.value,
        occurredAt: row.occurredAt,
        postedAt: row.at,
      });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      count(refused, error.message);
      return noJudgement;
    }
  }

  function accrual(row: LedgerRow, member: JudgedMember): void {
    const { body: subject = {}, programVersion, awards = [] } = row.request!;
    // A reference that was only used up, or a gift of a worker: no receipt earned it.
    if (!(subject.purchase || subject.flight || subject.activity || subject.grant)) return;
    receipts += 1;
    const state = stateOf(row.member);
    const judgement = judged(row, subject, member, state.counters);
    for (const { rule } of judgement.failures) count(failed, rule);
    const { segments } = member;
    tally.receipt(segments);
    const place = { state, segments, date: momentOf(row.occurredAt, program.timeZone).date };
    const asked = awards.map(keptAward);
    const theirs = withPoints(
      asked,
      row.given === undefined ? undefined : (JSON.parse(row.given) as number[]),
    );
    const { definition: actual } = versionNumbered(program, programVersion, row.occurredAt);
    const withinBudget = hasBudgets
      ? budgets.on(place.date, { definition: actual, asked, given: theirs })
      : undefined;
    const stood = row.isUndone ? countersOf(judgement, state.counters) : [];
    const given = weigh(judgement, state.counters, withinBudget);
    if (hasBudgets) budgets.inLedger(actual, theirs, 1);
    const ours = withPoints(judgement.awards, given);
    for (const award of ours) add('draft', definition, award, 1, place);
    for (const award of theirs) add('actual', actual, award, 1, place);
    if (!isSameOutcome(ours, theirs)) {
      otherwise += 1;
      if (otherwiseFirst.length < namedMax) otherwiseFirst.push(row.operation);
    }
    if (row.isUndone) keep({ row, member, stood }, subject, judgement, given, programVersion);
  }

  function keep(
    { row, member: judged, stood }: Judged,
    body: AccrualSubject,
    { awards }: Judgement,
    given: readonly Points[] | undefined,
    actualVersion: number | undefined,
  ): void {
    const { operation, kind, member, at, occurredAt, shard, epoch, seq } = row;
    const accrual: Recorded = {
      ...{ operation, kind, member, at, occurredAt, program: program.number, order: '', fingerprint: '' },
      position: { shard, epoch, seq },
      request: { body, awards: awards.map(keptAward), programVersion: version.version },
      effect: { legs: [], balances: [], counters: stood, ...(given ? { given: [...given] } : {}) },
    };
    returnables.set(operation, { accrual, actualVersion, member: judged, note: '' });
  }

  /** Takes back from one receipt by the draft. */
  function takeBack(returnable: Returnable, { undone, awards }: TakenBack, place: Place): void {
    const [operation, , note, , counters = []] = undone;
    for (const [counter, period, by] of counters) place.state.counters.lower({ counter, period }, -by);
    for (const award of awards) {
      add('draft', definition, award, -1, place);
      budgets.giveBack(award.rule, award.points, place.date);
    }
    const { all, taken = [] } = parseReturned(note);
    const isGone = all && keptAwards(returnable.accrual).every(({ points }, i) => points === taken[i]);
    if (isGone) returnables.delete(operation);
    else returnable.note = note;
  }

  /** Takes back by the draft, so that as much of the receipts has come back as did. False: none of them is replayed. */
  function undo(row: LedgerRow, member: JudgedMember): boolean {
    const { undone = [], takenBack = [] } = row.request!;
    const found = new Map<Recorded, Returnable>();
    const afters = new Map<Recorded, ReturnedSoFar>();
    for (const [operation, note] of undone) {
      const returnable = returnables.get(operation);
      if (!returnable) continue;
      found.set(returnable.accrual, returnable);
      if (note !== '') afters.set(returnable.accrual, parseReturned(note));
    }
    const stateOfReceipt = (accrual: Recorded) => ({ version: 0, note: found.get(accrual)!.note });
    const memberOf = (accrual: Recorded): JudgedMember => {
      const { tier, tiers, segments } = found.get(accrual)!.member;
      return { ...member, tier, tiers, segments };
    };
    const back = takeBackOfOrder(program, [...found.keys()], afters, stateOfReceipt, memberOf);
    const placeOf = ({ accrual, member: judged }: Returnable): Place => ({
      state: stateOf(row.member),
      segments: judged.segments,
      date: momentOf(accrual.occurredAt, program.timeZone).date,
    });
    for (const [accrual, taken] of back) {
      const returnable = found.get(accrual)!;
      takeBack(returnable, taken, placeOf(returnable));
    }
    const [first] = found.values();
    if (!first) return false;
    // What a return of several receipts took back is not kept apart; it is put to the version and day of the first.
    const { definition: actual } = versionNumbered(program, first.actualVersion, first.accrual.occurredAt);
    for (const award of takenBack) add('actual', actual, award, -1, placeOf(first));
    budgets.inLedger(actual, takenBack, -1);
    return true;
  }

  return {
    take(row, member) {
      if (row.kind === 'accrual' && row.request !== undefined) return accrual(row, member);
      if (row.request !== undefined && undo(row, member)) return;
      if (row.counters === undefined) return;
      const { counters } = stateOf(row.member);
      for (const [counter, period, by] of JSON.parse(row.counters) as [number, number, number][])
        counters.add({ counter, period }, by);
    },
    get receipts() {
      return receipts;
    },
    get otherwise() {
      return otherwise;
    },
    otherwiseFirst,
    refused,
    failed,
    *members() {
      for (const [member, { draft, actual }] of members) yield { member, draft, actual };
    },
    tally,
    budgets,
  };
}

/** Whose points they are, and in which segments and on which day they are counted. */
interface Place {
  readonly state: MemberState;
  readonly segments: readonly string[];
  readonly date: string;
}
