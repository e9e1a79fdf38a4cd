/** PURE. The two functions of analysis that the models of buying are written in. */

/** Lanczos' approximation with g = 7 and nine terms (as in Numerical Recipes); its relative error is below 1e-14. */
const lanczos = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
] as const;
const halfLogTwoPi = 0.5 * Math.log(2 * Math.PI);

/** The logarithm of the gamma function of a positive number. */
export function logGamma(x: number): number {
  // Below a half the approximation is of its reflection.
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const shifted = x - 1;
  let sum: number = lanczos[0];
  for (let i = 1; i < lanczos.length; i += 1) sum += lanczos[i]! / (shifted + i);
  const t = shifted + 7.5;
  return halfLogTwoPi + (shifted + 0.5) * Math.log(t) - t + Math.log(sum);
}

const termsMax = 50_000;
const relativeError = 1e-13;

/**
 * Gauss' hypergeometric function 2F1(a, b; c; z) for 0 ≤ z < 1 by its series. Near 1 that is slow unless c > a + b; whoever
 * calls has to bring it into such a form.
 */
export function hypergeometric(a: number, b: number, c: number, z: number): number {
  let term = 1;
  let sum = 1;
  for (let n = 0; n < termsMax; n += 1) {
    term *= (((a + n) * (b + n)) / ((c + n) * (n + 1))) * z;
    sum += term;
    if (Math.abs(term) <= relativeError * Math.abs(sum)) return sum;
  }
  return sum;
}
