/** Where the tests keep what outlives one run. */
import { fileURLToPath } from 'node:url';

export const checkout = fileURLToPath(new URL('../../', import.meta.url));
export const cacheFolder = `${checkout}node_modules/.cache/points-engine`;
/** The error codes that each test file saw, one file each. */
export const codesFolder = `${checkout}node_modules/.cache/points-engine-codes`;
