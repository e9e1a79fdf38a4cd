/** Bounds of the wallet. Scripts receive them as literals, so a number stands in one place. */

/** How long Redis remembers a reference. Older ones are found in PostgreSQL (DESIGN §7). */
export const idempotencyWindowMs = 20 * 60_000;
/** A script call that arrives later than this after its look-up answers `expired` and changes nothing. */
export const deadlineMs = 30_000;
/** Largest difference between the caller's clock and Redis TIME. */
export const clockSkewMsMax = 5_000;
export const itemsPerCallMax = 64;
export const lotsMax = 120;
export const openHoldsMax = 200;
export const rememberedRefusalsMax = 8;
/**
 * For statements on the path of a request. A PostgreSQL that stands still says nothing at all; whoever waits for it is told
 * so (503) after this time instead of waiting out the pool's own limit of 35 s.
 */
export const requestQuery = { query_timeout: 5_000 } as const;
