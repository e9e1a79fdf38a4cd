/**
 * PURE. Which fault comes when. Every fault comes once before any comes twice, in an order that the seed decides, so that
 * a short run shows as many as it can and a long one shows each about equally often. How long a fault lasts is seen only
 * when it is there, so a moment is a pause after the one before.
 */
import { createRandom, type Random, shuffled } from './random.ts';

interface Moment {
  readonly fault: string;
  /** Calm before it. */
  readonly pauseMs: number;
  /** What else is chance about it: which process, how long. */
  readonly random: Random;
}

const pauseMsMin = 300;
const pauseMsMax = 2_500;

/** The moments of a run, without end. */
export function* scheduleOf(seed: number, faults: readonly string[]): Generator<Moment, never> {
  if (faults.length === 0) throw new Error('there is no fault to schedule');
  const random = createRandom(seed);
  for (;;) {
    for (const fault of shuffled(faults, random)) {
      yield { fault, pauseMs: random.whole(pauseMsMin, pauseMsMax), random: random.fork() };
    }
  }
}
