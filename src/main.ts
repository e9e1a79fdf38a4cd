/** The API: one process, or `API_PROCESSES` of them behind one port. Each holds nothing that another one needs. */
import { loadConfig } from './config.ts';
import { exitWithParent } from './platform/local/parent.ts';

exitWithParent();
const config = loadConfig();
// Loaded on demand: the supervisor has no use for the web and the domains, which are 60 MB.
if (config.apiProcesses > 1 && config.apiProcess === undefined) {
  const { superviseApi } = await import('./http/processes/supervisor.ts');
  process.exit(await superviseApi(config));
}
const { serveApi } = await import('./http/processes/serve.ts');
process.exit(await serveApi(config));
