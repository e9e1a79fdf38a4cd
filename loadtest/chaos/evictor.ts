/**
 * Evicts what nobody has asked for in a second, again and again, by the same script as upkeep, which does it once a minute:
 * members are cold, loaded and evicted under load all the time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createApp } from '#src/app.ts';
import { loadConfig } from '#src/config.ts';
import { createEviction } from '#src/jobs/eviction.ts';
import { exitWithParent } from '#src/platform/local/parent.ts';

exitWithParent();
const everyMs = 700;
const app = await createApp(loadConfig(), 'evictor');
const evict = createEviction(app, 1);
const stopped = new AbortController();
process.once('SIGTERM', () => stopped.abort());

while (!stopped.signal.aborted) {
  await evict().catch((error: unknown) => app.telemetry.log.warn({ err: error }, 'eviction failed'));
  await delay(everyMs, undefined, { signal: stopped.signal }).catch(() => undefined);
}
await app.close();
process.exit(0);
