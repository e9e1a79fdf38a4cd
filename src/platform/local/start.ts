/** The entry of `npm start`. */
import { fileURLToPath } from 'node:url';
import { startConfig } from '#src/config.ts';
import { seedDemo } from '#src/earning/samples/seed.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { becomeOwnerOf } from './account.ts';
import { supervise } from './supervisor.ts';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));
const program = (name: string, path: string) => ({ name, script: `${checkout}${path}` });

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function start(): Promise<number> {
  if (process.platform === 'win32') {
    print(
      'Windows is served through WSL (wsl --install), or with DATABASE_URL, REDIS_URL and `docker compose up`.',
    );
    return 1;
  }
  // A terminal that was closed cannot be written to; stopping in order matters more.
  process.stdout.on('error', () => undefined);
  const config = startConfig();
  await becomeOwnerOf(config.dataDir, checkout);
  return supervise({
    config,
    checkout,
    programs: [
      program('api', 'src/main.ts'),
      ...Array.from({ length: config.ledgerWriters }, (_, i) =>
        program(i === 0 ? 'ledger-writer' : `ledger-writer-${i + 1}`, 'workers/ledger-writer.ts'),
      ),
      program('upkeep', 'workers/upkeep.ts'),
      program('promotions', 'workers/promotions.ts'),
      program('tiers', 'workers/tiers.ts'),
      program('alliance', 'workers/alliance.ts'),
    ],
    prepare: prepareDatabase,
    seed: (databaseUrl) => seedDemo(databaseUrl, config.dataDir),
    print,
  });
}

try {
  process.exit(await start());
} catch (error) {
  print(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
