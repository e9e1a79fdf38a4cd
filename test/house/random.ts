/** Chance that comes again: the same seed gives the same numbers. */
import { createRandom } from '../../loadtest/chaos/random.ts';

/** Answers whole numbers from 0 to below the bound that it is given. */
export function randomOf(seed: number): (below: number) => number {
  const { whole } = createRandom(seed);
  return (below) => whole(0, Math.ceil(below) - 1);
}
