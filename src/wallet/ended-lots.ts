/**
 * PURE. Which points of a lot have ended unused, so that a return does not take them a second time: read out of everything that
 * happened to a member since the points were earned.
 *
 * A lot may have ended itself, or its points were moved into other lots before (an extension, activity, neighbours made one, a
 * redemption that was given back with a later end, a merge of members), and those ended. Of what another lot has ended as
 * many count as were moved into it. Points of one lot are alike: those that ended count for whoever asks first, each
 * once. What has been taken back of them stands in the records of returns (`expired`).
 */
import type { Effect } from '#src/journal.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { capturedParts, lower, type OperationPart, spentParts, type Wish } from './operation-state.ts';

/** A record of a member, as the books have it. */
export interface PastRecord {
  readonly operation: OperationHex;
  readonly kind: string;
  readonly member: MemberNumber;
  readonly legs: Effect['legs'];
  readonly expired: NonNullable<Effect['expired']> | null;
  /** What it undid of which originals: [operation, note, wishes]. */
  readonly undone: readonly (readonly [OperationHex, string, readonly Wish[]])[] | null;
  /** What it follows from: the transfer whose points arrived with it. */
  readonly origin: OperationHex | null;
}

/** A lot whose points ended, or may have: [currency, member, lot, points that ended and nobody has taken back]. */
export type EndedLot = [currency: number, member: MemberNumber, lot: number, points: number];

/** [currency, lot, [[place in the list of lots, from 0, points of it that may be this lot's], …]] */
export type LotPast = [currency: number, lot: number, ended: [place: number, pointsMax: number][]];

export interface Past {
  /** The lots that were asked for, in the order in which they were. */
  readonly rows: readonly LotPast[];
  readonly lots: readonly EndedLot[];
}

interface Lot {
  readonly currency: number;
  readonly member: MemberNumber;
  readonly lot: number;
  ended: number;
  /** Points of other lots that were taken back for points of this one. */
  readonly claimed: Map<Lot, number>;
}

function add(map: Map<Lot, number>, lot: Lot, points: number): void {
  map.set(lot, (map.get(lot) ?? 0) + points);
}

interface InLot {
  readonly lot: Lot;
  readonly points: number;
}

/** The other side of points that come back, in `undo.lua` and `receive.lua`. */
const backFrom: ReadonlySet<string> = new Set(['redemption', 'partner', 'clearing']);

/** What an operation took out of lots that may come back into others. */
function leavingParts(kind: string, record: PastRecord): OperationPart[] | undefined {
  switch (kind) {
    case 'redemption':
    case 'transfer':
      return spentParts(record);
    case 'capture':
      return capturedParts(record);
    default:
      return undefined;
  }
}

interface Move extends InLot {
  readonly into: Lot;
}

class History {
  private readonly lots = new Map<string, Lot>();
  /** Points that were moved from one lot into another, the first move first. */
  private readonly moves: Move[] = [];
  /** What left by operations from which it may come back into other lots. */
  private readonly left = new Map<OperationHex, { member: MemberNumber; parts: OperationPart[] }>();

  lotOf(currency: number, member: MemberNumber, lot: number): Lot {
    const key = `${currency}.${member}.${lot}`;
    const known = this.lots.get(key);
    if (known) return known;
    const opened = { currency, member, lot, ended: 0, claimed: new Map() };
    this.lots.set(key, opened);
    return opened;
  }

  read(record: PastRecord): void {
    const { operation, kind, member } = record;
    const parts = leavingParts(kind, record);
    if (parts) this.left.set(operation, { member, parts });
    const arrived = this.readLegs(record);
    const back = arrived.length > 0 ? this.comingBack(record) : [];
    for (const [i, { lot: into, points }] of arrived.entries()) {
      const from = back[i];
      // Where recovery has booked something else than was decided, nobody knows where points were before.
      if (from?.points !== points || from.lot.currency !== into.currency) break;
      if (from.lot !== into) this.moves.push({ lot: from.lot, into, points });
    }
    for (const [currency, points, owner, lot, of, ofLot] of record.expired ?? []) {
      const ended = this.lotOf(currency, owner as MemberNumber, lot);
      ended.ended -= points;
      add(this.lotOf(currency, of as MemberNumber, ofLot).claimed, ended, points);
    }
  }

  /**
   * Lots that ended stand right before the leg of what ended. A move is two legs, one after the other, or around another move.
   * Answers what arrived out of redemptions and transfers.
   */
  private readLegs({ member, legs }: PastRecord): InLot[] {
    const arrived: InLot[] = [];
    let out: InLot[] = [];
    let isBack = false;
    for (const leg of legs) {
      const [account, currency, points] = leg;
      if (leg[0] !== 'wallet') {
        if (account === 'breakage' && points > 0)
          for (const { lot, points: ended } of out) if (lot.currency === currency) lot.ended += ended;
        isBack = backFrom.has(account) && points < 0;
        out = [];
        continue;
      }
      const lot = this.lotOf(currency, member, leg[3]);
      const before = out.at(-1);
      if (points < 0) out.push({ lot, points: -points });
      else if (before?.points === points && before.lot.currency === currency) {
        this.moves.push({ lot: before.lot, into: lot, points });
        out.pop();
      } else if (isBack) {
        arrived.push({ lot, points });
        isBack = false;
      }
    }
    return arrived;
  }

  /** From which lots a record's points left before they came back, in the order of its legs. */
  private comingBack({ undone, origin }: PastRecord): InLot[] {
    const back: InLot[] = [];
    const give = (member: MemberNumber, [currency, lot]: OperationPart, points: number) =>
      back.push({ lot: this.lotOf(currency, member, lot), points });
    for (const [operation, , wishes] of undone ?? []) {
      const left = this.left.get(operation);
      if (!left) continue;
      for (const wish of wishes) lower(left.parts, wish, (part, points) => give(left.member, part, points));
    }
    const sent = undone || origin === null ? undefined : this.left.get(origin);
    for (const part of sent?.parts ?? []) give(sent!.member, part, part[2]);
    return back;
  }

  /**
   * The lots in which points of a lot may have ended, with how many of each may be its. Moves are followed in their order: what
   * left a lot before cannot be what came into it later. Of what was moved from one lot into another no more is its than
   * the first has had of it, and nowhere more than had left it.
   */
  reach(from: Lot): Map<Lot, number> {
    const most = new Map([[from, Number.MAX_SAFE_INTEGER]]);
    const passed = new Map<Lot, Map<Lot, number>>();
    let left = 0;
    for (const { lot, into, points } of this.moves) {
      const here = most.get(lot);
      if (here === undefined || into === from) continue;
      if (lot === from) left += points;
      const onward = passed.get(lot) ?? new Map<Lot, number>();
      passed.set(lot, onward);
      const before = onward.get(into) ?? 0;
      const share = Math.min(here, before + points);
      onward.set(into, share);
      most.set(into, Math.min(left, (most.get(into) ?? 0) + share - before));
    }
    for (const [lot, points] of from.claimed) most.set(lot, Math.max(0, (most.get(lot) ?? 0) - points));
    return most;
  }
}

/** What has ended of lots of `member`, from everything that happened to it and to those it was merged into, each's oldest first. */
export function pastOf(
  records: readonly PastRecord[],
  member: MemberNumber,
  asked: readonly (readonly [currency: number, lot: number])[],
): Past {
  const history = new History();
  for (const record of records) history.read(record);
  const places = new Map<Lot, number>();
  const rows = asked.map(([currency, lot]): LotPast => {
    const reached = [...history.reach(history.lotOf(currency, member, lot))];
    const ended = reached.map(([of, most]): [number, number] => {
      const place = places.get(of) ?? places.size;
      places.set(of, place);
      return [place, most];
    });
    return [currency, lot, ended];
  });
  const lots = [...places.keys()].map(
    (lot): EndedLot => [lot.currency, lot.member, lot.lot, Math.max(0, lot.ended)],
  );
  return { rows, lots };
}
