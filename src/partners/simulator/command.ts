/** `npm run partner-simulator`: a partner to try exchanges with, in a process and with books of its own. */
import { parseArgs } from 'node:util';
import { partnerCredentials } from '#src/config.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { openBooks } from './books.ts';
import { behaviours } from './magic.ts';
import { serve, simulatorParts } from './server.ts';

const help = `npm run partner-simulator -- [--port N] [--data FOLDER] [--accounts N] [--points N]
npm run partner-simulator -- sums [--data FOLDER]

Speaks the protocol between partners on 127.0.0.1; its books stand in FOLDER and outlive it.

  sums            adds the books of FOLDER up: one JSON object, exit code 1 where they do not balance
  --port N        default 4100; 0 takes a free one
  --data FOLDER   default .data/partner-simulator
  --accounts N    opens accounts FF000001, FF000002, … where they are missing (default 10, at most 100000); CODE-000001 links
                  FF000001, and so on; all are called LI/XIAOMING
  --points N      what a new account has (default 10000)
  --linked        new accounts are linked with the caller already
  --currency CODE default miles
  --pending-ms N  how long what is pending stays so (default 2000)
  --slow-ms N     how long a slow answer takes (default 15000)
  --key ID        who signs; default PARTNER_KEY, else simulator
  --secret TEXT   what is signed with; default PARTNER_SECRET, else ls_simulator. Twice while it is replaced
  --help          this text

GET /simulator/sums answers what sums prints; PUT /simulator/accounts/ACCOUNT sets {name, status, linked, points, code}.

Points of an accrual or a redemption, or a thousand times them, choose what happens:
${Object.entries(behaviours)
  .map(([points, [, says]]) => `  ${points}  ${says}`)
  .join('\n')}
`;

const options = {
  port: { type: 'string', default: '4100' },
  data: { type: 'string', default: '.data/partner-simulator' },
  accounts: { type: 'string', default: '10' },
  points: { type: 'string', default: '10000' },
  linked: { type: 'boolean', default: false },
  currency: { type: 'string', default: 'miles' },
  'pending-ms': { type: 'string', default: '2000' },
  'slow-ms': { type: 'string', default: '15000' },
  key: { type: 'string' },
  secret: { type: 'string', multiple: true },
  help: { type: 'boolean' },
} as const;

const accountsMax = 100_000;

function wholeNumber(flag: string, text: string, most: number): number {
  const number = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN;
  if (!(number <= most)) throw new UsageFault(`--${flag} takes a whole number up to ${most}`);
  return number;
}

function printSums(folder: string): number {
  const books = openBooks(folder);
  try {
    const sums = books.sums();
    print(JSON.stringify(sums));
    return sums.balanced ? 0 : 1;
  } finally {
    books.close();
  }
}

/** Resolves when the process is asked to end. */
function asked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    // Whoever started it with a channel and is gone needs it no longer.
    process.once('disconnect', () => resolve());
  });
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true, strict: true }),
  );
  if (values.help) {
    print(help);
    return 0;
  }
  const [command, ...more] = positionals;
  if ((command !== undefined && command !== 'sums') || more.length > 0)
    throw new UsageFault(`unknown: ${positionals.join(' ')}`);
  if (command === 'sums') return printSums(values.data);
  const credentials = partnerCredentials();
  const keyId = values.key ?? credentials.key ?? 'simulator';
  const secrets = values.secret ?? [credentials.secret ?? 'ls_simulator'];
  const accounts = wholeNumber('accounts', values.accounts, accountsMax);
  const points = wholeNumber('points', values.points, 1_000_000_000);
  const parts = simulatorParts({
    folder: values.data,
    keyId,
    secrets,
    currency: values.currency,
    pendingMs: wholeNumber('pending-ms', values['pending-ms'], 86_400_000),
    slowMs: wholeNumber('slow-ms', values['slow-ms'], 3_600_000),
    claimDays: 365,
  });
  const memberSince = new Date().toISOString().slice(0, 10);
  await parts.books.commit(() => {
    for (let i = 1; i <= accounts; i += 1) {
      const number = String(i).padStart(6, '0');
      const account = `FF${number}`;
      if (parts.books.account(account)) continue;
      const rest = { linked: values.linked, points, code: `CODE-${number}`, memberSince };
      parts.books.open({ account, name: 'LI/XIAOMING', status: 'active', ...rest });
    }
  });
  const simulator = await serve(parts, wholeNumber('port', values.port, 65_535));
  print(`A partner listens at ${simulator.url} for the key ${keyId}; its books are in ${values.data}.`);
  await asked();
  await simulator.close();
  return 0;
}

await runCommand('partner-simulator', main);
