/**
 * PURE. How often somebody will buy again, and whether at all: the BG/NBD model of Fader, Hardie and Lee, "Counting Your
 * Customers the Easy Way: An Alternative to the Pareto/NBD Model", Marketing Science 24 (2005), 275-284. Equation numbers are
 * that article's.
 *
 * While a member is active, purchases come at random at a rate of the member's own (gamma distributed over members: r, alpha);
 * after each purchase the member may leave for good, with a probability of the member's own (beta distributed: a, b). All that
 * matters of a history is how many repeat purchases there were, when the last one was and how long the member has been watched.
 * Times are counted from the first purchase, in any unit; alpha is in the same unit.
 */
import { minimize } from './nelder-mead.ts';
import { hypergeometric, logGamma } from './special-functions.ts';

export interface BuyingParameters {
  readonly r: number;
  readonly alpha: number;
  readonly a: number;
  readonly b: number;
}

/** What of a member's purchases matters. */
export interface History {
  /** Purchases after the first one; several of one day are one. */
  readonly repeats: number;
  /** From the first to the last purchase. */
  readonly recency: number;
  /** From the first purchase to the end of the watch. */
  readonly age: number;
}

/** Histories that are alike are counted once, with how many they are. */
export interface CountedHistory extends History {
  readonly members: number;
}

/** lnΓ(base + n) for n from 0 to `last`, each from the one before. */
function logGammas(base: number, last: number): Float64Array {
  const table = new Float64Array(last + 1);
  table[0] = logGamma(base);
  for (let n = 1; n <= last; n += 1) table[n] = table[n - 1]! + Math.log(base + n - 1);
  return table;
}

/**
 * Logarithm of the likelihood of some histories (equation 6, split into A1 to A4 as in Hardie's note 4, "Implementing the
 * BG/NBD Model for Customer Base Analysis in Excel", so that nothing overflows).
 */
export function buyingLogLikelihood(
  { r, alpha, a, b }: BuyingParameters,
  histories: readonly CountedHistory[],
): number {
  const last = histories.reduce((most, { repeats }) => Math.max(most, repeats), 0);
  const [ofR, ofB, ofBoth] = [logGammas(r, last), logGammas(b, last), logGammas(a + b, last)];
  const rLogAlpha = r * Math.log(alpha);
  let sum = 0;
  for (const { repeats: x, recency, age, members } of histories) {
    const a1 = ofR[x]! - ofR[0]! + rLogAlpha;
    const a2 = ofBoth[0]! + ofB[x]! - ofB[0]! - ofBoth[x]!;
    const a3 = -(r + x) * Math.log(alpha + age);
    let tail = a3;
    if (x > 0) {
      const a4 = Math.log(a) - Math.log(b + x - 1) - (r + x) * Math.log(alpha + recency);
      const higher = Math.max(a3, a4);
      tail = higher + Math.log(Math.exp(a3 - higher) + Math.exp(a4 - higher));
    }
    sum += members * (a1 + a2 + tail);
  }
  return sum;
}

/** Counts histories that are alike. */
export function countedHistories(histories: Iterable<History>): CountedHistory[] {
  const counted = new Map<string, { -readonly [Key in keyof CountedHistory]: CountedHistory[Key] }>();
  for (const { repeats, recency, age } of histories) {
    const key = `${repeats}/${recency}/${age}`;
    const known = counted.get(key);
    if (known) known.members += 1;
    else counted.set(key, { repeats, recency, age, members: 1 });
  }
  return [...counted.values()];
}

export interface Fit<Parameters> {
  readonly parameters: Parameters;
  readonly logLikelihood: number;
  /** False where the search was ended before it had found the place. */
  readonly isFound: boolean;
}

/** Parameters are sought by their logarithms, between these: beyond, members are all alike. */
const [smallest, largest] = [Math.log(1e-4), Math.log(1e5)];

/** The parameters under which the histories are most likely. There have to be repeat purchases among them. */
export function fitBuying(histories: readonly CountedHistory[]): Fit<BuyingParameters> {
  const parametersAt = ([r = 0, alpha = 0, a = 0, b = 0]: readonly number[]): BuyingParameters => ({
    r: Math.exp(r),
    alpha: Math.exp(alpha),
    a: Math.exp(a),
    b: Math.exp(b),
  });
  let [members, age] = [0, 0];
  for (const each of histories) {
    members += each.members;
    age += each.members * each.age;
  }
  // Per member, so that what counts as no gain any more does not depend on how many there are.
  const loss = (at: readonly number[]) => -buyingLogLikelihood(parametersAt(at), histories) / members;
  const start = [0, Math.log(Math.max(age / members, 1e-3)), 0, 0];
  const { at, value, isFound } = minimize(loss, start, {
    lower: start.map(() => smallest),
    upper: start.map(() => largest),
  });
  return { parameters: parametersAt(at), logLikelihood: -value * members, isFound };
}

/** How much likelier it is that the member has left after the last purchase than that the member has been silent since. */
function oddsOfLeaving({ r, alpha, a, b }: BuyingParameters, { repeats: x, recency, age }: History): number {
  if (x === 0) return 0;
  return (a / (b + x - 1)) * Math.exp((r + x) * Math.log((alpha + age) / (alpha + recency)));
}

/**
 * The probability that the member is still active (Fader, Hardie and Lee, "Computing P(alive) Using the BG/NBD Model", 2008).
 * Who bought once is: in this model one can leave after a repeat purchase only.
 */
export function probabilityAlive(parameters: BuyingParameters, history: History): number {
  return 1 / (1 + oddsOfLeaving(parameters, history));
}

/** The formula divides by a - 1 and, in its series, begins with 1 / (a + b + x - 1); both have limits where that is 0. */
function awayFrom(value: number, hole: number): number {
  return Math.abs(value - hole) < 1e-6 ? hole + 1e-6 : value;
}

/**
 * Purchases to be expected of a member in the next `time` (equation 10). Euler's transformation of its hypergeometric function
 * takes the powers out that would overflow for members with many purchases, and makes the series short:
 * 2F1(r+x, b+x; a+b+x-1; z) = w^(a-1-r-x) · 2F1(a+b-1-r, a-1; a+b+x-1; z), with w = 1 - z = (alpha + T) / (alpha + T + t).
 */
export function expectedPurchases(parameters: BuyingParameters, history: History, time: number): number {
  const { r, alpha, b } = parameters;
  const a = awayFrom(parameters.a, 1);
  const { repeats: x, age } = history;
  const c = awayFrom(a + b + x - 1, 0);
  const w = (alpha + age) / (alpha + age + time);
  const series = hypergeometric(a + b - 1 - r, a - 1, c, 1 - w);
  const whileActive = (c / (a - 1)) * (1 - Math.exp((a - 1) * Math.log(w)) * series);
  return Math.max(0, whileActive / (1 + oddsOfLeaving(parameters, history)));
}
