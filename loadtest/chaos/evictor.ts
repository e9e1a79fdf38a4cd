/**
 * Evicts again and again, by the same script as upkeep, which does it once a minute: mostly what nobody has asked for in a
 * second, every third time everybody. Members are cold, loaded and evicted under load all the time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createApp } from '#src/app.ts';
import { loadConfig } from '#src/config.ts';
import { createEviction } from '#src/jobs/eviction.ts';
import { exitWithParent } from '#src/platform/local/parent.ts';

exitWithParent();
const everyMs = 400;
const app = await createApp(loadConfig(), 'evictor');
const evictions = [createEviction(app, 1), createEviction(app, 1), createEviction(app, 0)];
const stopped = new AbortController();
process.once('SIGTERM', () => stopped.abort());

for (let turn = 0; !stopped.signal.aborted; turn += 1) {
  await evictions[turn % evictions.length]!().catch((error: unknown) =>
    app.telemetry.log.warn({ err: error }, 'eviction failed'),
  );
  await delay(everyMs, undefined, { signal: stopped.signal }).catch(() => undefined);
}
await app.close();
process.exit(0);
