/** How likely parameters of BG/NBD and gamma-gamma make what was bought, written down from the papers; shares nothing with the engine. */

/** Lanczos' approximation, good to fifteen digits. */
function lnGamma(x: number): number {
  const terms = [
    676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
    -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - lnGamma(1 - x);
  const at = x - 1;
  const sum = terms.reduce((total, term, i) => total + term / (at + i + 1), 0.99999999999980993);
  const shifted = at + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (at + 0.5) * Math.log(shifted) - shifted + Math.log(sum);
}

const lnBeta = (a: number, b: number) => lnGamma(a) + lnGamma(b) - lnGamma(a + b);

/** Fader, Hardie and Lee (2005), equation 6: x repeats, the last of them at `recency`, watched for `age` weeks. */
export function buyingLikelihood(
  { r, alpha, a, b }: { readonly r: number; readonly alpha: number; readonly a: number; readonly b: number },
  histories: readonly { readonly repeats: number; readonly recency: number; readonly age: number }[],
): number {
  return histories.reduce((total, { repeats: x, recency, age }) => {
    const ever = lnGamma(r + x) - lnGamma(r) + r * Math.log(alpha);
    const alive = lnBeta(a, b + x) - lnBeta(a, b) - (r + x) * Math.log(alpha + age);
    if (x === 0) return total + ever + alive;
    const gone = lnBeta(a + 1, b + x - 1) - lnBeta(a, b) - (r + x) * Math.log(alpha + recency);
    return total + ever + Math.log(Math.exp(alive) + Math.exp(gone));
  }, 0);
}

/** Fader and Hardie (2013), equation 1a: x repeats of so much on average. */
export function spendingLikelihood(
  { p, q, gamma }: { readonly p: number; readonly q: number; readonly gamma: number },
  spendings: readonly { readonly purchases: number; readonly mean: number }[],
): number {
  return spendings.reduce((total, { purchases: x, mean }) => {
    const first = lnGamma(p * x + q) - lnGamma(p * x) - lnGamma(q) + q * Math.log(gamma);
    const power = (p * x - 1) * Math.log(mean) + p * x * Math.log(x);
    return total + first + power - (p * x + q) * Math.log(gamma + x * mean);
  }, 0);
}

/** Whether a hundredth more or less of any parameter makes the likelihood less. */
export function isHighest<Parameters extends Readonly<Record<string, number>>>(
  found: Parameters,
  likelihood: (parameters: Parameters) => number,
): boolean {
  const best = likelihood(found);
  return Object.keys(found).every((name) =>
    [0.99, 1.01].every((factor) => likelihood({ ...found, [name]: found[name]! * factor }) < best),
  );
}
