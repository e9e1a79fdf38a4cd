/**
 * After an erasure nothing of the person is left: not in the files of PostgreSQL and its log, not in those of Redis, not in
 * any log or metric. The person has been everywhere before: in look-ups, receipts, refusals and faulty requests.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type Answer, reference, waitFor } from './harness.ts';
import { spawnEngine } from './house/spawn.ts';

const engine = await spawnEngine({ ownPostgres: true, upkeep: true, env: { LOG_LEVEL: 'trace' } });
afterAll(() => engine.end());
const shop = await engine.shop();

/** Values that cannot stand anywhere by chance. */
const person = {
  id: 'kunde-Quaxolotl-88121',
  card: '9280557301846612',
  phone: '+4915559871263',
  email: 'frieda.zwirbelbart@example.org',
  city: 'Zwirbelhausen-an-der-Qualle',
  birthday: '1931-07-23',
  reason: 'wants her Zwirbelakte gone',
};
const values = Object.values(person);
const card = { type: 'card', value: person.card };

async function liveTheirLife(): Promise<void> {
  const enrolled = await shop.pos('POST', '/v1/members', {
    member: person.id,
    birthday: person.birthday,
    identifiers: [card, { type: 'phone', value: person.phone }, { type: 'email', value: person.email }],
    attributes: { city: person.city },
  });
  expect(enrolled.status).toBe(201);
  for (const name of [person.id, card, { type: 'email', value: person.email }]) {
    expect((await shop.pos('POST', '/v1/accruals', { ...shop.receipt('', 10), member: name })).status).toBe(
      201,
    );
  }
  for (const type of ['phone', 'email', 'card'] as const) {
    expect((await shop.pos('POST', '/v1/members/lookup', { type, value: person[type] })).status).toBe(200);
  }
  await shop.admin('PATCH', `/v1/members/${person.id}`, { attributes: { city: `${person.city} 2` } });
  await shop.care('GET', `/v1/members/${person.id}/export`);
  const suspend = { reference: reference(), reason: person.reason };
  await shop.admin('POST', `/v1/members/${person.id}/suspend`, suspend);
  await shop.admin('POST', `/v1/members/${person.id}/resume`, { ...suspend, reference: reference() });
}

/** Refusals and faults that name the person in bodies, paths, queries and headers. */
async function beRefused(): Promise<void> {
  const invalid = { invalid: true } as const;
  const refused: Answer[] = await Promise.all([
    shop.pos('POST', '/v1/redemptions', { member: card, reference: reference(), points: 1_000_000 }),
    shop.pos('POST', '/v1/accruals', {
      ...shop.receipt('', 1),
      member: { ...card, value: `${person.card}0` },
    }),
    shop.pos('POST', '/v1/members', { member: 'somebody else', identifiers: [card] }),
    shop.pos('POST', '/v1/members', { member: person.id, birthday: '1931-07-24' }),
    shop.pos('POST', '/v1/members', { member: person.id, birthday: `${person.birthday}x` }, invalid),
    shop.pos('POST', '/v1/accruals', `{"member":"${person.id}", broken ${person.email}`, invalid),
    shop.pos('POST', '/v1/accruals', { ...shop.receipt(person.id, 1), [person.city]: person.phone }, invalid),
    shop.pos(
      'GET',
      `/v1/members/${person.id}/nowhere?phone=${encodeURIComponent(person.phone)}`,
      undefined,
      invalid,
    ),
    shop.finance('POST', '/v1/accruals', { ...shop.receipt(person.id, 1) }),
    engine.http('GET', `/v1/members/${person.id}`, undefined, { key: person.email }),
  ]);
  for (const answer of refused)
    expect(answer.status, JSON.stringify(answer.body)).toBeGreaterThanOrEqual(400);
}

/** A request about the person that fails on our side, which is what the log tells about in detail. */
async function fail(): Promise<void> {
  const { pool } = engine.stores;
  const { rows } = await pool.query<{ type: string; value_encrypted: Buffer }>(
    'select type, value_encrypted from identifier',
  );
  await pool.query(`update identifier set value_encrypted = '\\x01'`);
  const answer = await shop.admin('GET', `/v1/members/${person.id}`);
  expect(answer.code).toBe('internal');
  for (const { type, value_encrypted } of rows) {
    await pool.query('update identifier set value_encrypted = $2 where type = $1', [type, value_encrypted]);
  }
}

/** Files below a folder that hold one of the values, as `file: value`. */
async function findings(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path).catch(() => Buffer.alloc(0));
    for (const value of values) if (bytes.includes(value)) found.push(`${path}: ${value}`);
  }
  return found;
}

test('an erased person stands in no file, no log and no metric', async () => {
  await liveTheirLife();
  await beRefused();
  await fail();
  const erasure = { reference: reference(), reason: person.reason };
  const erased = await shop.admin('POST', `/v1/members/${person.id}/erasure`, erasure);
  expect(erased.body.status).toBe('closed');
  expect((await shop.pos('POST', '/v1/members/lookup', card)).code).toBe('member_not_found');
  await engine.drained();
  await engine.stores.pool.query('checkpoint');

  expect(await findings(engine.stores.folder)).toEqual([]);
  for (const api of engine.apis) {
    const metrics = await (await fetch(`${api.url}/metrics`)).text();
    for (const value of values) expect(metrics).not.toContain(value);
  }
});

test('what is searched is really there: the search finds what was not erased', async () => {
  const found = await findings(engine.stores.folder);
  expect(found).toEqual([]);
  await engine.stores.pool.query('create table probe (text text)');
  await engine.stores.pool.query('insert into probe values ($1)', [person.city]);
  await engine.stores.pool.query('checkpoint');
  await waitFor(
    'the files of PostgreSQL hold it',
    async () => (await findings(engine.stores.folder)).length > 0,
  );
  await engine.stores.pool.query('drop table probe');
});

test('the log tells of the request that failed, so that its silence about the person says something', async () => {
  const logs = await Promise.all(engine.apis.map((api) => readFile(api.logPath, 'utf8')));
  expect(logs.join('')).toMatch(/"requestId":"[^"]+"/);
});
