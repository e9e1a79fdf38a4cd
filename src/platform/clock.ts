/**
 * Whether this process's clock can be believed. It is compared with Redis once a second (`standing.ts`); in between a jump
 * shows at once, because the monotonic clock does not jump with it. Scripts check the time of every movement themselves;
 * this is for what is judged before them, where a wrong clock would refuse for good what is right.
 */

/** Wall clock minus monotonic clock when both were last found right; undefined when they were found wrong. */
let believed: { readonly differenceMs: number; readonly skewMsMax: number } | undefined;

/** Called with the difference between this clock and that of Redis. */
export function noteSkew(skewMs: number, skewMsMax: number): void {
  believed = skewMs > skewMsMax ? undefined : { differenceMs: Date.now() - performance.now(), skewMsMax };
}

/** False when the clock was found wrong, or has jumped since it was found right. */
export function clockIsBelieved(): boolean {
  if (!believed) return false;
  return Math.abs(Date.now() - performance.now() - believed.differenceMs) <= believed.skewMsMax;
}
