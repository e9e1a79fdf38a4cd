/** `npm run migrate`: brings the database to this version's schema; with DEMO_KEYS it also founds the sample program. */
import { loadConfig } from '#src/config.ts';
import { seedDemo } from '#src/earning/samples/seed.ts';
import { prepareDatabase } from './migrate.ts';

const config = loadConfig();
await prepareDatabase(config.databaseUrl);
if (config.demoKeys) await seedDemo(config.databaseUrl, config.dataDir);
process.stdout.write('the database has the schema of this version\n');
