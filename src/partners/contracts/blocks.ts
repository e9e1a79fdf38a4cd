/**
 * PURE. Point blocks of a prepaid partner: bought in advance, drawn from the one that started earliest. A block whose day has
 * not come or has gone gives nothing; the reserve gives when all others are empty and the contract says so. What cannot be
 * drawn whole is not drawn at all.
 */
import type { EpochMs } from '#src/values.ts';
import { holdsAt } from './arithmetic.ts';
import type { Billing, Period } from './types.ts';

export interface Block extends Period {
  readonly block: number;
  /** Not drawn yet. */
  readonly left: number;
  readonly isReserve: boolean;
}

export interface Draw {
  readonly block: number;
  readonly points: number;
}

export type Drawn =
  | {
      readonly status: 'drawn';
      readonly draws: readonly Draw[];
      /** In blocks that are not the reserve, afterwards. */
      readonly left: number;
      readonly alert: boolean;
      readonly usesReserve: boolean;
    }
  | { readonly status: 'refused'; readonly left: number };

function inOrder(a: Block, b: Block): number {
  return Number(a.isReserve) - Number(b.isReserve) || a.from - b.from || a.block - b.block;
}

/** Draws points at a time from blocks, earliest first. */
export function drawFrom(
  blocks: readonly Block[],
  points: number,
  at: EpochMs,
  billing: Extract<Billing, { kind: 'prepaid' }>,
): Drawn {
  const open = blocks.filter((block) => holdsAt(block, at) && block.left > 0).toSorted(inOrder);
  const may = open.filter((block) => billing.usesReserve || !block.isReserve);
  const own = open.reduce((sum, { left, isReserve }) => sum + (isReserve ? 0 : left), 0);
  const draws: Draw[] = [];
  let missing = points;
  for (const { block, left } of may) {
    if (missing === 0) break;
    const taken = Math.min(left, missing);
    draws.push({ block, points: taken });
    missing -= taken;
  }
  if (missing > 0) return { status: 'refused', left: own };
  const reserves = new Set(may.filter(({ isReserve }) => isReserve).map(({ block }) => block));
  const fromOwn = draws.reduce((sum, draw) => sum + (reserves.has(draw.block) ? 0 : draw.points), 0);
  const left = own - fromOwn;
  return {
    status: 'drawn',
    draws,
    left,
    alert: left <= billing.alertPoints,
    usesReserve: draws.some(({ block }) => reserves.has(block)),
  };
}
