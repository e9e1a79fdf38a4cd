/** Names requests, so that a caller's report, a log line and a reply can be brought together. */
import { randomBytes } from 'node:crypto';

const callersOwn = /^[A-Za-z0-9._-]{1,64}$/;
/** Different in every process; the counter after it makes an id cheap. */
const processPart = randomBytes(6).toString('base64url');
let count = 0;

export function newRequestId(): string {
  count += 1;
  return `${processPart}.${count.toString(36)}`;
}

/** The caller's own id where it is a sane one, else a new one. */
export function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && callersOwn.test(header) ? header : newRequestId();
}
