/** Commands of operators, beside the running service: a program is founded, gets a key and is served. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { startEngine } from './harness.ts';
import { commandOf } from './house/command.ts';
import { waitFor } from './house/waiting.ts';

const engine = await startEngine();
const folder = await mkdtemp(join(tmpdir(), 'commands-'));
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await engine.end();
});

const { databaseUrl, redisUrl } = engine.stores;
const environment = { ...process.env, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl };
const program = commandOf('earning/program-command.ts', environment);
const keys = commandOf('http/keys-command.ts', environment);

async function programFile(content: string | object): Promise<string> {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.yaml`);
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const timeZone = 'Asia/Tokyo';
const currencies = [{ code: 'miles' }];
const rule = { name: 'spend', currency: 'miles', earn: { by: 'amount', points: 5, perMinorUnits: 100 } };

describe('npm run program -- create', () => {
  test('founds a program that is served as soon as it has a key', async () => {
    const file = await programFile({ timeZone, currencies, rules: [rule] });
    const created = await program('create', 'airline', '--file', file);
    expect([created.code, created.complaint]).toEqual([0, '']);
    const made = await keys(
      'create',
      '--program',
      'airline',
      '--client',
      'office',
      '--role',
      'admin',
      '--json',
    );
    const { token } = JSON.parse(made.out) as { token: string };
    await waitFor('the API knows the new program and its key', async () => {
      const shown = await engine.http('GET', '/v1/program', undefined, { key: token });
      return shown.status === 200 && shown.body.name === 'airline' && shown.body.timeZone === timeZone;
    });
    expect((await program('list')).out).toContain('airline  live  Asia/Tokyo  miles  version 1\n');
    const again = await program('create', 'airline', '--file', file);
    expect([again.code, again.complaint]).toEqual([2, expect.stringContaining('there is a program airline')]);
  });

  test.each<[string, string | object, string]>([
    [
      'a rule for a currency that is not there',
      { timeZone, currencies, rules: [{ ...rule, currency: 'coins' }] },
      '/rules/0/currency coins is not in currencies',
    ],
    [
      'two currencies of one name',
      { timeZone, currencies: [...currencies, ...currencies] },
      '/currencies/1/code miles is used twice',
    ],
    [
      'a funder that is not there',
      { timeZone, currencies, rules: [{ ...rule, funder: 'bank' }] },
      '/rules/0/funder bank is not in funders',
    ],
    ['an unknown time zone', { timeZone: 'Mars/Base', currencies }, 'is not an IANA time zone'],
    ['half a file', '{', ':1:'],
  ])('refuses %s and creates nothing', async (_, content, named) => {
    const ended = await program('create', 'broken', '--file', await programFile(content));
    expect([ended.code, ended.complaint]).toEqual([1, expect.stringContaining(named)]);
    expect((await program('list')).out).not.toContain('broken');
  });

  test.each([
    ['no file', ['create', 'x'], '--file'],
    ['a missing file', ['create', 'x', '--file', '/no/such/file'], 'cannot be read'],
    ['a name with blanks', ['create', 'my program', '--file', 'none'], 'small letters'],
    ['an unknown verb', ['destroy', 'x'], 'unknown command destroy'],
    ['a program that is not there', ['export', 'x'], 'there is no program x'],
    ['a version that is none', ['export', 'airline', '--version', 'two'], '--version needs a number'],
    [
      'a file for a program that is not there',
      ['apply', 'x.yaml', '--program', 'x'],
      'there is no program x',
    ],
  ])('refuses %s with a hint', async (_, args, named) => {
    const ended = await program(...args);
    expect([ended.code, ended.complaint]).toEqual([2, expect.stringContaining(named)]);
    expect(ended.complaint).toContain('npm run program -- --help');
  });
});
