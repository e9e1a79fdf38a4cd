/** PURE. Chance that comes again: the same seed gives the same numbers, so a run that found something can be repeated. */

export interface Random {
  /** From 0 up to, but not including, 1. */
  next(): number;
  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number;
  chance(share: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** A source of its own, so that what is done with it does not move this one on. */
  fork(): Random;
}

/** Mulberry32: 32 bits of state, enough for choices. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const whole = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1));
  return {
    next,
    whole,
    chance: (share) => next() < share,
    pick(list) {
      if (list.length === 0) throw new Error('there is nothing to pick from');
      return list[whole(0, list.length - 1)]!;
    },
    fork: () => createRandom(whole(0, 0xffff_ffff)),
  };
}

/** The list in an order of its own. */
export function shuffled<T>(list: readonly T[], random: Random): T[] {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = random.whole(0, i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
