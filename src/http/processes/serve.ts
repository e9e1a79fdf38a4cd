/** One API process, alone on its port or one of several: from its stores to the end of its drain. */
import { once } from 'node:events';
import { createApp } from '#src/app.ts';
import type { Config } from '#src/config.ts';
import { createApi } from '../api.ts';
import { drain } from '../server.ts';
import { joinSupervisor } from './link.ts';

/** Serves until it is told to stop. Answers the exit code. */
export async function serveApi(config: Config): Promise<number> {
  const number = config.apiProcess;
  const link = number === undefined ? undefined : joinSupervisor(number);
  const app = await createApp(config, number === undefined ? 'api' : `api-${number}`);
  if (number !== undefined) app.telemetry.registry.setDefaultLabels({ process: String(number) });
  const { server, keys, health } = await createApi(app, link?.siblings);
  await link?.untilReady(health);
  server.listen(config.port, config.listenHost);
  await once(server, 'listening');
  link?.report(health);
  app.telemetry.log.info({ port: config.port }, 'listening');

  const signal = await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  app.telemetry.log.info({ signal: signal[0] as string }, 'draining');
  const clean = await drain(server, config.shutdownSeconds * 1_000);
  keys.stop();
  await app.close();
  return clean ? 0 : 1;
}
