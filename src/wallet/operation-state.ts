/**
 * PURE. What is left of an operation to take back or give back: its own effect less that of every operation that followed
 * from it. `undo.lua` keeps the same state while the operation is hot; this recomputes it from the books.
 */
import type { Effect } from '#src/journal.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { partnerOfLot } from './lot-party.ts';

/** [currency, lot, points left, expiresAt, availableAt, party] */
export type OperationPart = [number, number, number, number, number, number];

export interface OperationState {
  /** How many operations followed; guards `note` against a second writer. */
  readonly version: number;
  /** What the caller noted about returned lines; empty at first. */
  readonly note: string;
  readonly parts: OperationPart[];
}

/** Points of a currency to undo; of the named part (from 1) first. Versions before named none. */
export type Wish = readonly [currency: number, points: number, part?: number];

export interface OperationInBooks {
  readonly operation: OperationHex;
  readonly kind: string;
  readonly member: MemberNumber;
  readonly effect: Effect;
  /** `undone` says how much of which original an undo took: [operation, note, [[currency, points, part?], …]]. */
  readonly request: {
    readonly undone?: readonly (readonly [string, string, readonly Wish[]])[];
    /** Parts of the one original that an unlock let count: [part from 1, expiresAt]. */
    readonly terms?: readonly (readonly [number, number])[];
  };
}

type Legs = Pick<Effect, 'legs'>;

function partsOf(kind: string, effect: Legs): OperationPart[] | undefined {
  switch (kind) {
    case 'accrual':
      return creditedParts(effect);
    case 'redemption':
      return spentParts(effect);
    case 'capture':
      return capturedParts(effect);
    default:
      return undefined;
  }
}

/**
 * What an accrual gave, by terms. The wallet leg of a part stands right before its other side (`accrue.lua`): issuance, or the
 * partner that gave it. Versions before had a part for each award. The party is that of the other side, but for lots whose
 * partner is billed when they are spent: of these `undo.lua` takes back from the partner's lots first.
 */
export function creditedParts(effect: Legs): OperationPart[] {
  const parts: OperationPart[] = [];
  for (let i = 1; i < effect.legs.length; i += 1) {
    const leg = effect.legs[i]!;
    const credited = effect.legs[i - 1]!;
    if ((leg[0] !== 'issuance' && leg[0] !== 'partner') || credited[0] !== 'wallet') continue;
    const party = partnerOfLot(credited[4]) === undefined ? leg[3] : credited[4];
    parts.push([leg[1], credited[3], -leg[2], credited[5], credited[6], party]);
  }
  return parts;
}

/** What left the wallet, by lots. */
export function spentParts(effect: Legs): OperationPart[] {
  const parts: OperationPart[] = [];
  for (const leg of effect.legs) {
    if (leg[0] === 'wallet' && leg[2] < 0) parts.push([leg[1], leg[3], -leg[2], leg[5], leg[6], leg[4]]);
  }
  return parts;
}

/** A capture took held parts and gave the rest of the last one back to its lot. */
export function capturedParts(effect: Legs): OperationPart[] {
  const parts: OperationPart[] = [];
  for (const leg of effect.legs) {
    if (leg[0] !== 'held') continue;
    const back = effect.legs.find((l) => l[0] === 'wallet' && l[1] === leg[1] && l[3] === leg[3] && l[2] > 0);
    const points = -leg[2] - (back ? back[2] : 0);
    if (points > 0) parts.push([leg[1], leg[3], points, leg[6], leg[7], leg[5]]);
  }
  return parts;
}

/** Lowers the named part, then from the last one on, exactly as `undo.lua` does; tells what of each. */
export function lower(
  parts: readonly OperationPart[],
  [currency, points, named]: Wish,
  undone: (part: OperationPart, points: number) => void = () => {},
): void {
  let left = points;
  const first = named === undefined ? undefined : parts[named - 1];
  for (const part of first ? [first, ...parts.toReversed()] : parts.toReversed()) {
    const share = part[0] === currency ? Math.min(left, part[2]) : 0;
    if (share === 0) continue;
    part[2] -= share;
    left -= share;
    undone(part, share);
  }
}

/**
 * Parts that stopped waiting stand in the lots to which their points moved, as `redate.lua` has it; those of a member that was
 * merged since stay as they were, because numbers of its survivor's lots are others.
 */
function unlockParts(
  parts: readonly OperationPart[],
  effect: Effect,
  terms: readonly (readonly number[])[],
): void {
  const { legs } = effect;
  let next = 0;
  for (const [number = 0] of terms) {
    const part = parts[number - 1];
    if (!part || part[2] === 0) continue;
    for (let i = next; i + 1 < legs.length; i += 1) {
      const [from, into] = [legs[i]!, legs[i + 1]!];
      if (from[0] !== 'wallet' || into[0] !== 'wallet' || from[2] !== -into[2] || from[2] > 0) continue;
      if (from[1] !== part[0] || from[3] !== part[1]) continue;
      [part[1], part[3], part[4]] = [into[3], into[5], into[6]];
      next = i + 2;
      break;
    }
  }
}

/** State of `operation` from its own row and its consequences, oldest first; undefined when it cannot be undone. */
export function operationStateOf(
  operation: OperationHex,
  rows: readonly OperationInBooks[],
): OperationState | undefined {
  const own = rows.find((row) => row.operation === operation);
  const parts = own && partsOf(own.kind, own.effect);
  if (!parts) return undefined;
  let version = 0;
  let note = '';
  for (const row of rows) {
    for (const [origin, noted, taken] of row.request.undone ?? []) {
      if (origin !== operation) continue;
      version += 1;
      note = noted;
      for (const wish of taken) lower(parts, wish);
      if (row.member === own.member) unlockParts(parts, row.effect, row.request.terms ?? []);
    }
  }
  return { version, note, parts };
}
