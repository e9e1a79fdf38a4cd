/** The API process. Several can run; each holds nothing that another one needs. */
import { once } from 'node:events';
import { createApp } from './app.ts';
import { loadConfig } from './config.ts';
import { createApi } from './http/api.ts';
import { drain } from './http/server.ts';
import { exitWithParent } from './platform/local/parent.ts';

exitWithParent();
const config = loadConfig();
const app = await createApp(config, 'api');
const { server, keys } = await createApi(app);
server.listen(config.port, config.listenHost);
await once(server, 'listening');
app.telemetry.log.info({ port: config.port }, 'listening');

const signal = await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
app.telemetry.log.info({ signal: signal[0] as string }, 'draining');
const clean = await drain(server, config.shutdownSeconds * 1_000);
keys.stop();
await app.close();
process.exit(clean ? 0 : 1);
