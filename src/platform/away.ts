/** PURE. Whether an error says that a store is away: nothing is wrong with the request, and nothing with us. */

/** Of sockets and of name look-up, on the way to either store. */
const socketCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** PostgreSQL: class 08 (connection), shutdown, crash, starting up, too many connections, statement timeout. */
const sqlStates = /^(?:08...|57P0[1-3]|53300|57014)$/;

/** What `pg` and ioredis throw by themselves has no code. */
const sentences =
  /^(?:Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Connection is closed|Command timed out|Reached the max retries per request)/;

/** Whether PostgreSQL or Redis could not be reached, or went away while it was asked. */
export function isStoreAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  // Where a name has several addresses each of them has failed.
  if (error instanceof AggregateError) return error.errors.some(isStoreAway);
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined) return socketCodes.has(code) || sqlStates.test(code);
  return sentences.test(error.message);
}
