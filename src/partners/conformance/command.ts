/** `npm run partner-conformance -- URL`: whether an endpoint speaks the protocol between partners, sentence by sentence. */
import { parseArgs } from 'node:util';
import { partnerCredentials } from '#src/config.ts';
import { protocolVersion } from '#src/partners/protocol/calls.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createBench, pointsMax } from './bench.ts';
import { createClient } from './client.ts';
import { allChecks, type Result, runChecks } from './run.ts';

const help = `npm run partner-conformance -- URL --account ACCOUNT --name NAME [--key ID] [--secret TEXT]

Calls the endpoint at URL as a partner would and says what it does against the protocol (version ${protocolVersion}, /docs/partner-protocol).
Exit code 0 when it keeps all of it, 1 with a sentence for each fault.

  --account A     an active account that is linked with the key and has at most ${pointsMax - 4_000} points; points are given to
                  it and taken from it, and at the end it has what it had, unless the endpoint is wrong
  --name N        the name of its member, as on a ticket
  --currency C    of the movements; the endpoint's main one where it is not named
  --key ID        default PARTNER_KEY
  --secret TEXT   default PARTNER_SECRET (a command line can be read by others on the machine)
  --timeout-ms N  how long an answer may take (default 10000)
  --pending-ms N  how long a pending movement may take (default 30000)
  --watch-ms N    how long points that must not move are watched (default 2000)
  --only NAMES    only these checks, by commas
  --list          the checks, and nothing is called
  --json          one JSON object
  --help          this text
`;

const options = {
  account: { type: 'string' },
  name: { type: 'string' },
  currency: { type: 'string' },
  key: { type: 'string' },
  secret: { type: 'string' },
  'timeout-ms': { type: 'string', default: '10000' },
  'pending-ms': { type: 'string', default: '30000' },
  'watch-ms': { type: 'string', default: '2000' },
  only: { type: 'string' },
  list: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

function needed(flag: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new UsageFault(`--${flag} is missing`);
  return value;
}

function milliseconds(flag: string, text: string): number {
  const number = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (number < 1) throw new UsageFault(`--${flag} takes milliseconds`);
  return number;
}

function chosen(only: string | undefined) {
  if (only === undefined) return allChecks;
  const names = only.split(',');
  const stranger = names.find((name) => !allChecks.some((check) => check.name === name));
  if (stranger !== undefined) throw new UsageFault(`there is no check ${stranger}; --list names them`);
  return allChecks.filter(({ name }) => names.includes(name));
}

function urlOf(text: string | undefined): URL {
  const url = text === undefined ? undefined : URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol))
    throw new UsageFault('the address of the endpoint is missing: https://…');
  return url;
}

function tell({ passed, check, says, fault }: Result): void {
  print(
    `${passed ? 'kept   ' : 'BROKEN '} ${check}: ${says}${fault === undefined ? '' : `\n        ${fault}`}`,
  );
}

function read(args: readonly string[]) {
  return typed(() => parseArgs({ args: [...args], options, allowPositionals: true, strict: true }));
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = read(args);
  if (values.help) {
    print(help);
    return 0;
  }
  if (values.list) {
    for (const { name, says } of allChecks) print(`${name}: ${says}`);
    return 0;
  }
  const credentials = partnerCredentials();
  const url = urlOf(positionals[0]);
  const client = createClient({
    url,
    keyId: needed('key', values.key ?? credentials.key),
    secret: needed('secret', values.secret ?? credentials.secret),
    timeoutMs: milliseconds('timeout-ms', values['timeout-ms']),
  });
  const bench = createBench(client, {
    account: needed('account', values.account),
    name: needed('name', values.name),
    currency: values.currency,
    pendingMs: milliseconds('pending-ms', values['pending-ms']),
    watchMs: milliseconds('watch-ms', values['watch-ms']),
  });
  const results = await runChecks(bench, chosen(values.only), values.json ? () => {} : tell);
  const faults = results.filter(({ passed }) => !passed).length;
  if (values.json) {
    const run = { object: 'partnerConformance', protocol: protocolVersion, endpoint: url.href };
    print(JSON.stringify({ ...run, checks: results.length, faults, results }, undefined, 2));
  } else {
    print(faults === 0 ? `All ${results.length} kept.` : `${faults} of ${results.length} broken.`);
  }
  return faults === 0 ? 0 : 1;
}

await runCommand('partner-conformance', main);
