/**
 * PURE. What somebody spends at a purchase: the gamma-gamma model of Fader and Hardie, "The Gamma-Gamma Model of Monetary Value",
 * Hardie's note 25 (2013). Equation numbers are that note's.
 *
 * Amounts of a member vary at random around the member's own mean (gamma distributed: p and a scale of the member's own), and
 * means vary over members (the scale is gamma distributed: q, gamma). It does not depend on how often one buys. The mean of few
 * purchases is drawn towards that of all members, the mean of many is nearly believed.
 */
import type { Fit } from './bgnbd.ts';
import { minimize } from './nelder-mead.ts';
import { logGamma } from './special-functions.ts';

export interface SpendingParameters {
  readonly p: number;
  readonly q: number;
  /** In the unit of the amounts. */
  readonly gamma: number;
}

/** Purchases of a member that were counted and their mean amount, which is above zero. */
export interface Spending {
  readonly purchases: number;
  readonly mean: number;
}

/** Logarithm of the likelihood of some means (equation 1a). */
export function spendingLogLikelihood(
  { p, q, gamma }: SpendingParameters,
  spendings: readonly Spending[],
): number {
  const ofPurchases = new Map<number, number>();
  const constant = q * Math.log(gamma) - logGamma(q);
  let sum = 0;
  for (const { purchases: x, mean } of spendings) {
    let gammas = ofPurchases.get(x);
    if (gammas === undefined) {
      gammas = logGamma(p * x + q) - logGamma(p * x) + p * x * Math.log(x);
      ofPurchases.set(x, gammas);
    }
    sum += gammas + constant + (p * x - 1) * Math.log(mean) - (p * x + q) * Math.log(gamma + x * mean);
  }
  return sum;
}

const [smallest, largest] = [Math.log(1e-3), Math.log(1e5)];
/** At q = 1 and below, the mean over all members would be infinite. */
const smallestQ = Math.log(1.01);

/** The parameters under which the amounts are most likely. */
export function fitSpending(spendings: readonly Spending[]): Fit<SpendingParameters> {
  const mean = spendings.reduce((sum, each) => sum + each.mean, 0) / spendings.length;
  // Amounts are sought in units of their mean, whatever the currency.
  const scaled = spendings.map((each) => ({ ...each, mean: each.mean / mean }));
  const parametersAt = ([p = 0, q = 0, gamma = 0]: readonly number[]): SpendingParameters => ({
    p: Math.exp(p),
    q: Math.exp(q),
    gamma: Math.exp(gamma),
  });
  const loss = (at: readonly number[]) => -spendingLogLikelihood(parametersAt(at), scaled) / scaled.length;
  const box = { lower: [smallest, smallestQ, smallest], upper: [largest, largest, largest] };
  const { at, isFound } = minimize(loss, [Math.log(2), Math.log(3), 0], box);
  const found = parametersAt(at);
  const parameters = { ...found, gamma: found.gamma * mean };
  return { parameters, logLikelihood: spendingLogLikelihood(parameters, spendings), isFound };
}

/** The mean amount to be expected of a member's later purchases (equation 5); of somebody unknown, that of all members. */
export function expectedSpend({ p, q, gamma }: SpendingParameters, { purchases: x, mean }: Spending): number {
  return (p * (gamma + x * mean)) / (p * x + q - 1);
}
