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

async function definitionFile(definition: unknown): Promise<string> {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.json`);
  await writeFile(path, typeof definition === 'string' ? definition : JSON.stringify(definition));
  return path;
}

const currencies = [{ number: 1, code: 'miles' }];
const rules = [{ name: 'fare', currency: 'miles', points: 5, perMinorUnits: 100 }];

describe('npm run program -- create', () => {
  test('founds a program that is served as soon as it has a key', async () => {
    const file = await definitionFile({ currencies, rules });
    const created = await program('create', 'airline', '--definition', file, '--time-zone', 'Asia/Tokyo');
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
      return shown.status === 200 && shown.body.name === 'airline' && shown.body.timeZone === 'Asia/Tokyo';
    });
    expect((await program('list')).out).toContain('airline  live  Asia/Tokyo  miles\n');
    expect(JSON.parse((await program('export', 'airline')).out)).toMatchObject({ currencies, rules });
    const again = await program('create', 'airline', '--definition', file);
    expect([again.code, again.complaint]).toEqual([2, expect.stringContaining('there is a program airline')]);
  });

  test.each([
    [
      'a rule for a currency that is not there',
      { currencies, rules: [{ ...rules[0], currency: 'coins' }] },
      'rules[0].currency',
    ],
    [
      'two currencies of one number',
      { currencies: [...currencies, { number: 1, code: 'coins' }], rules },
      'currencies[1].number',
    ],
    [
      'a funder that is not there',
      { currencies, rules: [{ ...rules[0], funder: 'bank' }] },
      'rules[0].funder',
    ],
    ['no JSON', '{', 'is not JSON'],
  ])('refuses %s and creates nothing', async (_, definition, named) => {
    const ended = await program('create', 'broken', '--definition', await definitionFile(definition));
    expect([ended.code, ended.complaint]).toEqual([2, expect.stringContaining(named)]);
    expect((await program('list')).out).not.toContain('broken');
  });

  test.each([
    [
      'an unknown time zone',
      ['create', 'x', '--time-zone', 'Mars/Base', '--definition', 'none'],
      'IANA zone',
    ],
    ['a missing file', ['create', 'x', '--definition', '/no/such/file'], 'cannot be read'],
    ['a name with blanks', ['create', 'my program', '--definition', 'none'], 'small letters'],
    ['an unknown verb', ['destroy', 'x'], 'unknown command destroy'],
  ])('refuses %s with a hint', async (_, args, named) => {
    const ended = await program(...args);
    expect([ended.code, ended.complaint]).toEqual([2, expect.stringContaining(named)]);
    expect(ended.complaint).toContain('npm run program -- --help');
  });
});
