/**
 * PURE. The small numbers that stand for names in Redis, journal and ledger. They are given when a version is applied and
 * stay with the name for ever: a name that leaves the file and comes back has its old number, and no number is used twice.
 */

/** What is numbered. A counter is named by what it counts, such as `cap:fresh-bonus:month` or `purchases`. */
export interface Numbers {
  /** From 1. */
  readonly currencies: Readonly<Record<string, number>>;
  /** From 0. */
  readonly funders: Readonly<Record<string, number>>;
  /** From 1. */
  readonly counters: Readonly<Record<string, number>>;
  /** From 1. */
  readonly budgets: Readonly<Record<string, number>>;
}

export const noNumbers: Numbers = { currencies: {}, funders: {}, counters: {}, budgets: {} };

function numbered(
  before: Readonly<Record<string, number>>,
  names: readonly string[],
  first: number,
): Record<string, number> {
  const after: Record<string, number> = { ...before };
  let next = Object.values(before).reduce((highest, number) => Math.max(highest, number + 1), first);
  for (const name of names) {
    if (Object.hasOwn(after, name)) continue;
    after[name] = next;
    next += 1;
  }
  return after;
}

/** The numbers after names were added; those that were given stay. */
export function numbersFor(
  before: Numbers,
  names: { readonly [Kind in keyof Numbers]: readonly string[] },
): Numbers {
  return {
    currencies: numbered(before.currencies, names.currencies, 1),
    funders: numbered(before.funders, names.funders, 0),
    counters: numbered(before.counters, names.counters, 1),
    budgets: numbered(before.budgets, names.budgets, 1),
  };
}
