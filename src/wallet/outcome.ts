/** PURE. What became of a movement, from what its script answered (`scripts/run.lua`). */
import { parseStreamId } from '#src/journal.ts';
import type { EpochMs, OperationHex, OperationKind, Points, Position } from '#src/values.ts';
import { shardProblem } from './problems.ts';

/** What became of a movement. */
export type Outcome =
  | {
      readonly status: 'done';
      readonly kind: OperationKind;
      readonly position: Position;
      readonly effect: string;
      readonly at: EpochMs;
    }
  | { readonly status: 'replayed'; readonly operation: OperationHex; readonly streamId: string }
  | { readonly status: 'reference_reused'; readonly operation: OperationHex | undefined }
  | { readonly status: 'stale_facts' }
  | { readonly status: 'member_not_found' }
  | { readonly status: 'original_not_found' }
  | { readonly status: 'refused'; readonly code: string; readonly details: Record<string, unknown> };

/** What an accrual would be given of each award; absent where nothing is trimmed. Nothing was written. */
export interface Weighed {
  readonly weighed: readonly Points[] | undefined;
}

/** What must be read from the books, or granted by them, before the movement can be decided. */
export type Wanting =
  | { readonly wants: 'member' }
  | { readonly wants: 'operation'; readonly operation: OperationHex }
  | { readonly wants: 'counters'; readonly places: readonly (readonly [counter: number, period: number])[] }
  | { readonly wants: 'lots'; readonly lots: readonly LotOf[] }
  | { readonly wants: 'leases'; readonly short: readonly ShortOf[] };

/** A lot to which an operation gave points. */
export type LotOf = readonly [operation: OperationHex, currency: number, lot: number];

/** What budgets must grant before the movement can be decided; `highest` is the last lease that the shard has. */
export type ShortOf = readonly [budget: number, points: number, least: number, highest: number];

/** An item's result: one text where it was done, otherwise a word and what belongs to it. */
export type Result = string | (string | number)[];

/** `position at kind effect`, spaces between them; the kind is empty where it is the asked one. */
function doneOf(shard: number, asked: OperationKind, result: string): Outcome {
  const [streamId, at, kind] = result.split(' ', 3) as [string, string, OperationKind | ''];
  return {
    status: 'done',
    kind: kind === '' ? asked : kind,
    position: { shard, ...parseStreamId(streamId) },
    effect: result.slice(streamId.length + at.length + kind.length + 3),
    at: Number(at),
  };
}

/** The outcome of an item. Throws the Problem that concerns its shard. */
export function outcomeOf(shard: number, asked: OperationKind, result: Result): Outcome | Weighed | Wanting {
  if (typeof result === 'string') return doneOf(shard, asked, result);
  const word = result[0] as string;
  switch (word) {
    case 'replayed':
      return { status: 'replayed', operation: result[1] as OperationHex, streamId: String(result[2]) };
    case 'reference_reused':
      return {
        status: 'reference_reused',
        operation: result[1] === '' ? undefined : (result[1] as OperationHex),
      };
    case 'stale_facts':
      return { status: 'stale_facts' };
    case 'refused':
      return {
        status: 'refused',
        code: String(result[1]),
        details: {
          ...(JSON.parse(String(result[2])) as Record<string, unknown>),
          ...(result[3] === 'replayed' ? { replayed: true } : {}),
        },
      };
    case 'weighed':
      return { weighed: result[1] === '' ? undefined : (JSON.parse(String(result[1])) as Points[]) };
    case 'cold':
      return { wants: 'member' };
    case 'cold_operation':
      return { wants: 'operation', operation: result[1] as OperationHex };
    case 'cold_counter':
      return { wants: 'counters', places: JSON.parse(String(result[1])) as [number, number][] };
    case 'cold_lot':
      return { wants: 'lots', lots: JSON.parse(String(result[1])) as LotOf[] };
    case 'lease_short':
      return { wants: 'leases', short: JSON.parse(String(result[1])) as ShortOf[] };
    default:
      throw shardProblem(word);
  }
}
