/** PURE. Chance from a seed: the same seed and step give the same choices on every machine. */

export interface Chance {
  /** A whole number below `end`. */
  below(end: number): number;
  /** True in one of `of` cases. */
  oneIn(of: number): boolean;
  pick<T>(all: readonly T[]): T;
}

/** splitmix32 over seed and step; 2^32 states are plenty for some hundred choices a step. */
export function chanceOf(seed: number, step: number): Chance {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b)) >>> 0;
  function next(): number {
    state = (state + 0x9e3779b9) >>> 0;
    let word = state;
    word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    return (word ^ (word >>> 15)) >>> 0;
  }
  const below = (end: number) => Math.floor((next() / 2 ** 32) * end);
  return {
    below,
    oneIn: (of) => below(of) === 0,
    pick: (all) => all[below(all.length)]!,
  };
}
