/** `npm run keys`: API keys from the command line, beside the running service. A change holds there within a second. */
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { loadConfig } from '#src/config.ts';
import { programNamed } from '#src/earning/named.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { loadIdentityKey } from '#src/members/identity-key.ts';
import { createSealing } from '#src/partners/sealing.ts';
import { addSecret, overlapSecondsDefault, overlapSecondsMax } from '#src/partners/secrets.ts';
import { print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { listKeys, revokeKey, type StoredKey } from './key-queries.ts';
import { createKey, createPartnerKey } from './keys.ts';
import { type Role, roles } from './route.ts';

const help = `API keys of the points engine.

  npm run keys -- create --client NAME --role ROLE [options]
  npm run keys -- list [--program NAME] [--json]
  npm run keys -- rotate KEY_ID [--program NAME] [--overlap-hours N]
  npm run keys -- revoke KEY_ID [--program NAME]

ROLE is one of ${roles.join(', ')}.

  --program NAME             the program; may be left out when there is only one
  --client NAME              the integration the key belongs to, such as "tills" or "web-shop"; all keys of one
                             client share its references
  --stores A,B               the stores that the key may act for; without it: all
  --points-per-movement N    the most points of one movement
  --points-per-day N         the most points of one day
  --backdate-days N          how far back occurredAt may lie
  --expires DATE             when the key ends: 2027-01-01 (midnight UTC) or a time with offset
  --overlap-hours N          rotate: how long the secret of before goes on signing (${overlapSecondsDefault / 3_600})
  --json                     print JSON
  --help                     this text

The database is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data). A key is shown once, when it is created.
A key of role partner is a secret that signs calls (/docs/partner) and is never sent. It is stored encrypted with the identity
key: IDENTITY_KEY, or DATA_DIR/identity.key. rotate makes a new secret, and for a while both sign.
`;

const options = {
  program: { type: 'string' },
  client: { type: 'string' },
  role: { type: 'string' },
  stores: { type: 'string' },
  'points-per-movement': { type: 'string' },
  'points-per-day': { type: 'string' },
  'backdate-days': { type: 'string' },
  expires: { type: 'string' },
  'overlap-hours': { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const parsed = (args: readonly string[]) =>
  typed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
type Flags = ReturnType<typeof parsed>['values'];

function wholeNumber(text: string | undefined, flag: string, min: number): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < min) {
    throw new UsageFault(`--${flag} needs a whole number of at least ${min}`);
  }
  return number;
}

function roleOf(text: string | undefined): Role {
  const role = roles.find((known) => known === text);
  if (role === undefined) throw new UsageFault(`--role needs one of ${roles.join(', ')}`);
  return role;
}

function expiryOf(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const isDate = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/.test(text);
  const expiry = new Date(text);
  if (!isDate || Number.isNaN(expiry.getTime()))
    throw new UsageFault('--expires needs a date such as 2027-01-01');
  if (expiry.getTime() <= Date.now()) throw new UsageFault('--expires lies in the past');
  return expiry;
}

function plain(key: StoredKey) {
  const { id, clientName: client, role, stores, createdAt, expiresAt, revokedAt } = key;
  const { pointsPerMovementMax, pointsPerDayMax, backdateDaysMax } = key;
  return {
    id,
    client,
    role,
    stores,
    pointsPerMovementMax,
    pointsPerDayMax,
    backdateDaysMax,
    createdAt,
    expiresAt,
    revokedAt,
  };
}

function stateOf(key: StoredKey): string {
  if (key.revokedAt) return `revoked ${key.revokedAt.toISOString().slice(0, 10)}`;
  if (!key.expiresAt) return 'in force';
  const day = key.expiresAt.toISOString().slice(0, 10);
  return key.expiresAt.getTime() <= Date.now() ? `expired ${day}` : `until ${day}`;
}

async function create(pool: pg.Pool, flags: Flags): Promise<void> {
  const { client, stores } = flags;
  if (client === undefined || client.length < 1 || client.length > 64)
    throw new UsageFault('--client needs a name of 1 to 64 characters');
  const draft = {
    client,
    role: roleOf(flags.role),
    stores: stores
      ?.split(',')
      .map((store) => store.trim())
      .filter((store) => store !== ''),
    pointsPerMovementMax: wholeNumber(flags['points-per-movement'], 'points-per-movement', 1),
    pointsPerDayMax: wholeNumber(flags['points-per-day'], 'points-per-day', 1),
    backdateDaysMax: wholeNumber(flags['backdate-days'], 'backdate-days', 0),
    expiresAt: expiryOf(flags.expires),
    actor: 'command',
  };
  if (draft.stores?.length === 0) throw new UsageFault('--stores needs at least one store');
  const program = await programNamed(pool, flags.program);
  if (draft.role === 'partner') {
    const { key, secret } = await createPartnerKey(pool, await sealing(), {
      ...draft,
      program: program.number,
    });
    if (flags.json) print(JSON.stringify({ ...plain(key), program: program.name, secret }));
    else
      print(
        `${secret}\n\nThis is shown once. Key ${key.id} signs the calls of client ${key.clientName}, program ${program.name}.`,
      );
    return;
  }
  const { key, token } = await createKey(pool, { ...draft, program: program.number });
  if (flags.json) print(JSON.stringify({ ...plain(key), program: program.name, token }));
  else
    print(
      `${token}\n\nThis is shown once. Key ${key.id}: ${key.role} of client ${key.clientName}, program ${program.name}.`,
    );
}

const listedMax = 10_000;

async function list(pool: pg.Pool, flags: Flags): Promise<void> {
  const program = await programNamed(pool, flags.program);
  const keys = await listKeys(pool, program.number, { after: undefined, limit: listedMax });
  if (flags.json) {
    print(JSON.stringify(keys.map(plain)));
    return;
  }
  for (const key of keys) {
    const stores = key.stores ? `stores ${key.stores.join(', ')}` : 'all stores';
    print([key.id, key.role.padEnd(8), key.clientName, stores, stateOf(key)].join('  '));
  }
  if (keys.length === 0) print(`Program ${program.name} has no keys.`);
}

async function revoke(pool: pg.Pool, flags: Flags, id: string | undefined): Promise<void> {
  if (id === undefined) throw new UsageFault('revoke needs the id of a key (see list)');
  const programs =
    flags.program === undefined
      ? (await loadPrograms(pool)).all()
      : [await programNamed(pool, flags.program)];
  for (const program of programs) {
    const key = await revokeKey(pool, program.number, id, 'command');
    if (key === undefined) continue;
    if (flags.json) print(JSON.stringify(plain(key)));
    else print(`Key ${key.id} is revoked; running processes refuse it within a second.`);
    return;
  }
  throw new UsageFault(`there is no key ${id}`);
}

async function sealing() {
  return createSealing(await loadIdentityKey(loadConfig()));
}

async function rotate(pool: pg.Pool, flags: Flags, keyId: string | undefined): Promise<void> {
  if (keyId === undefined) throw new UsageFault('rotate needs the id of a key (see list)');
  const hours = wholeNumber(flags['overlap-hours'], 'overlap-hours', 0) ?? overlapSecondsDefault / 3_600;
  const overlapSeconds = hours * 3_600;
  if (overlapSeconds > overlapSecondsMax)
    throw new UsageFault(`--overlap-hours is at most ${overlapSecondsMax / 3_600}`);
  const { number } = await programNamed(pool, flags.program);
  const to = { program: number, keyId, overlapSeconds, actor: 'command' };
  const added = await addSecret(pool, await sealing(), to);
  if (!added) throw new UsageFault(`there is no key ${keyId} of role partner in force`);
  const previousEndsAt = added.previousEndsAt?.toISOString() ?? null;
  if (flags.json) print(JSON.stringify({ key: keyId, secret: added.secret, previousEndsAt }));
  else
    print(
      `${added.secret}\n\nThis is shown once. The secret of before signs until ${previousEndsAt ?? 'now'}.`,
    );
}

async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parsed(args);
  const [verb, id, ...rest] = positionals;
  if (values.help || verb === undefined || verb === 'help') {
    print(help);
    return;
  }
  if (rest.length > 0) throw new UsageFault(`unexpected ${rest.join(' ')}`);
  if (!['create', 'list', 'revoke', 'rotate'].includes(verb)) throw new UsageFault(`unknown command ${verb}`);
  const pool = createPool(loadConfig().databaseUrl, 1);
  try {
    if (verb === 'create') await create(pool, values);
    else if (verb === 'list') await list(pool, values);
    else if (verb === 'rotate') await rotate(pool, values, id);
    else await revoke(pool, values, id);
  } finally {
    await pool.end();
  }
}

await runCommand('keys', main);
