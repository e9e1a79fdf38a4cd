/** `npm run exchanges`: what needs a person, what became of an exchange, the decision about one, and where partners are called. */
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { type Config, loadConfig } from '#src/config.ts';
import { createIdentity } from '#src/members/identity.ts';
import { loadIdentityKey } from '#src/members/identity-key.ts';
import { schemes } from '#src/partners/signature.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import type { OperationHex } from '#src/values.ts';
import { batch } from './batch-command.ts';
import { type EndpointDraft, setEndpoint } from './endpoints.ts';
import { type Need, needsOf } from './figures.ts';
import { usualPatience } from './policy.ts';
import { resolveExchange, type Verdict, verdicts } from './resolving.ts';
import { historiesOf } from './rows.ts';
import { exchangeId, parseExchangeId } from './types.ts';

const help = `Exchanges of points with partners.

  npm run exchanges -- list
  npm run exchanges -- show EXCHANGE
  npm run exchanges -- resolve EXCHANGE --as retry|undo|completed|refused|settled --reason TEXT [--actor NAME]
  npm run exchanges -- endpoint PARTNER --program NAME --url URL --key ID [--calls N]
      [--signature v1|rfc9421] [--delivery calls] < SECRET

  npm run exchanges -- batch PARTNER --program NAME on|request [N] FILE|reply FILE

  list      exchanges in review, stuck ones and breaks: what needs a person
  show      every step of an exchange, with its time and outcome
  resolve   decides about an exchange in review, and closes a break. completed and refused say what the partner has done: ask
            it before. retry goes on where it stopped, undo asks the partner to take it back or never to do it; settled ends what the
            wallet will not do any more, where its hold is over and you have put right by hand what is missing
  endpoint  where a partner is called from now on, with which key; the secret comes on standard input. One that takes files is
            called only with --delivery calls, and once all its request files are answered
  batch     a partner that takes files: on says that it does; request writes what waits to be sent into FILE, with N the file of that
            number once more; reply takes the partner's answers from FILE, each number once and in order

The database is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data).
`;

const options = {
  as: { type: 'string' },
  reason: { type: 'string' },
  actor: { type: 'string', default: 'operator' },
  program: { type: 'string' },
  url: { type: 'string' },
  key: { type: 'string' },
  calls: { type: 'string' },
  signature: { type: 'string', default: 'v1' },
  delivery: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;
type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

async function list(pool: pg.Pool): Promise<void> {
  const needs = await needsOf(pool, usualPatience.stuckMs);
  if (needs.length === 0) return print('Nothing needs a person.');
  const cells = ({ exchange, partner, what, since }: Need) =>
    [exchangeId(exchange), partner, what, since.toISOString()] as const;
  print(inColumns(needs.map(cells)));
}

function named(id: string | undefined): OperationHex {
  const exchange = parseExchangeId(id ?? '');
  if (!exchange) throw new UsageFault('an exchange is named exc_ and 32 hex digits');
  return exchange;
}

async function show(pool: pg.Pool, id: string | undefined): Promise<void> {
  const exchange = named(id);
  const steps = (await historiesOf(pool, [exchange])).get(exchange)!;
  if (steps.length === 0) throw new Error('there is no such exchange, or its steps are no longer kept');
  print(
    inColumns(
      steps.map(({ at, action, outcome, detail }) => [
        new Date(at).toISOString(),
        action,
        outcome,
        detail ? JSON.stringify(detail) : '',
      ]),
    ),
  );
}

async function identityOf(config: Config) {
  return createIdentity(await loadIdentityKey(config));
}

async function resolve(pool: pg.Pool, config: Config, id: string | undefined, values: Values): Promise<void> {
  const verdict = verdicts.find((each) => each === values.as) as Verdict | undefined;
  if (!verdict) throw new UsageFault(`--as takes ${verdicts.join(', ')}`);
  if (!values.reason) throw new UsageFault('--reason says why, for whoever asks later');
  const decision = { verdict, reason: values.reason, actor: values.actor };
  const { state } = await resolveExchange(pool, await identityOf(config), named(id), decision);
  print(`It is ${state} now; the worker does what follows.`);
}

async function secretFromInput(): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(part as Buffer);
  const secret = Buffer.concat(parts).toString('utf8').trim();
  if (secret === '') throw new UsageFault('the secret comes on standard input');
  return secret;
}

async function partnerOf(
  pool: pg.Pool,
  name: string | undefined,
  program: string | undefined,
): Promise<{ partner: number; program: number }> {
  if (!name || !program) throw new UsageFault('PARTNER and --program are needed');
  const { rows } = await pool.query<{ partner: number; program: number }>(
    'select p.partner, p.program from partner p join program g on g.number = p.program where p.name = $1 and g.name = $2',
    [name, program],
  );
  if (!rows[0]) throw new Error(`the program ${program} has no partner ${name}`);
  return rows[0];
}

async function endpoint(
  pool: pg.Pool,
  config: Config,
  name: string | undefined,
  values: Values,
): Promise<void> {
  const { program, url, key, calls } = values;
  if (!name || !program || !url || !key)
    throw new UsageFault('endpoint needs PARTNER, --program, --url and --key');
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageFault('--url takes http://… or https://…');
  const partner = await partnerOf(pool, name, program);
  const callsAtOnce = calls === undefined ? undefined : Number(calls);
  const signature = schemes.find((each) => each === values.signature);
  if (!signature) throw new UsageFault(`--signature takes ${schemes.join(' or ')}`);
  const { delivery } = values;
  if (delivery !== undefined && delivery !== 'calls')
    throw new UsageFault('--delivery takes calls; batch PARTNER on is for files');
  const secret = await secretFromInput();
  const draft: EndpointDraft = { ...partner, signature, url, keyId: key, secret, callsAtOnce, delivery };
  await setEndpoint(pool, await identityOf(config), draft);
  print(`${name} is called at ${url} with the key ${key}.`);
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = typed(() =>
    parseArgs({ args: [...args], options, allowPositionals: true }),
  );
  const [action, subject, ...more] = positionals;
  if (values.help || action === undefined) return print(help);
  const config = loadConfig();
  const pool = createPool(config.databaseUrl, 2);
  try {
    if (action === 'list') await list(pool);
    else if (action === 'show') await show(pool, subject);
    else if (action === 'resolve') await resolve(pool, config, subject, values);
    else if (action === 'endpoint') await endpoint(pool, config, subject, values);
    else if (action === 'batch') {
      const partner = await partnerOf(pool, subject, values.program);
      await batch({ pool, identity: await identityOf(config) }, { ...partner, name: subject! }, more);
    } else throw new UsageFault(`there is no ${action}`);
  } finally {
    await pool.end();
  }
}

await runCommand('exchanges', main);
