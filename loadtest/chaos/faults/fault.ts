/** What a fault is. Each is injected, seen to have bitten, and healed; one that met nothing is not counted. */
import type { House } from '../house.ts';
import type { Load } from '../load.ts';
import type { Random } from '../random.ts';

export interface Stage {
  readonly house: House;
  readonly load: Load;
  readonly random: Random;
}

/** A fault that is there. */
export interface Bite {
  /** How it was seen. */
  readonly evidence: string;
  /** How long it stays before it is healed. */
  readonly holdMs: number;
  heal(): Promise<void>;
}

export interface Fault {
  readonly name: string;
  readonly does: string;
  /** Data that was on a disk, or should have been on a replica, is gone: only then may `journal` forfeit anything. */
  readonly destroys?: true;
  /** It makes another node of a cluster decide in a way that may not lose anything. */
  readonly losesNothing?: true;
  /** What it is about; both where nothing is said. */
  readonly needs?: 'one Redis' | 'a cluster';
  /** Why it cannot be injected on this machine; undefined where it can. */
  missing?(): Promise<string | undefined>;
  inject(stage: Stage): Promise<Bite>;
}

/** The fault did not show: it is healed, and not counted. */
export class NoBite extends Error {}

export function seen(isThere: boolean, what: string): void {
  if (!isThere) throw new NoBite(`not seen: ${what}`);
}

/** The bite of what was over when it was seen: it neither stays nor is healed. */
export function momentary(evidence: string): Bite {
  return { evidence, holdMs: 0, heal: async () => undefined };
}
