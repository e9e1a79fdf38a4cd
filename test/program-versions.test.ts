/** What is configured of a program, version by version: applied, kept for ever, in force from its time on, known everywhere. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DateTime } from 'luxon';
import pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';
import { readProgramFile } from '#src/earning/file/read.ts';
import { moveClock, type Program, versionAt } from '#src/earning/program.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { applyVersion, createProgram } from '#src/earning/versions.ts';
import { prepareDatabase } from '#src/platform/migrate.ts';
import { type Answer, type Shop, startEngine, waitFor } from './harness.ts';
import { commandOf } from './house/command.ts';
import { databaseBefore } from './house/database-before.ts';
import { checkout } from './house/folders.ts';

const engine = await startEngine();
const folder = await mkdtemp(join(tmpdir(), 'programs-'));
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await engine.end();
});
const { databaseUrl, redisUrl } = engine.stores;
const command = commandOf('earning/program-command.ts', {
  ...process.env,
  DATABASE_URL: databaseUrl,
  REDIS_URL: redisUrl,
});

/** A file with a comment, in which every money unit earns so many points. */
function source(points: number, { timeZone = 'UTC', more = '' } = {}): string {
  return `# ${points} a unit\ntimeZone: ${timeZone}\ncurrencies: [{ code: points }]\nrules:\n  - name: spend\n    currency: points\n    earn: { by: amount, points: ${points}, perMinorUnits: 100 } # whole units\n${more}`;
}

const apply = (shop: Shop, body: object, options = {}): Promise<Answer> =>
  shop.admin('POST', '/v1/program/versions', body, options);

async function pointsAt(shop: Shop, occurredAt: string): Promise<unknown> {
  const purchase = { currency: 'EUR', lines: [{ line: 1, amount: 1_000 }] };
  const quote = await shop.pos('POST', '/v1/accruals/quote', { occurredAt, purchase });
  expect(quote.status).toBe(200);
  return quote.at('awards.0.points');
}

describe('a version that is applied', () => {
  test('is in force a second later, at every process, and says so', async () => {
    const other = await engine.anotherApi();
    const shop = await engine.shop();
    const applied = await apply(shop, { source: source(3) });
    expect(applied.status).toBe(201);
    expect(applied.body).toMatchObject({
      object: 'appliedVersion',
      status: 'applied',
      version: 2,
      warnings: [],
    });
    expect(applied.at('changes.0')).toMatchObject({ what: 'rule', name: 'spend', change: 'changed' });
    for (const http of [engine.http, other.http]) {
      await waitFor('the API judges by the new version', async () => {
        const shown = await http('GET', '/v1/program', undefined, { key: shop.tokens.pos });
        return shown.body.version === 2 && shown.body.nextVersion === null;
      });
    }
    const member = await shop.enrol();
    const accrued = await shop.accrue(member, 10);
    expect(accrued.at('awards.0.points')).toBe(30);
    const operation = await shop.care('GET', `/v1/operations/${accrued.id}`);
    expect(operation.at('explanation.programVersion')).toBe(2);
  });

  test('judges what occurs from its instant on, and not a millisecond before', async () => {
    for (const timeZone of ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']) {
      const shop = await engine.shop({ mode: 'test', timeZone });
      const tomorrow = DateTime.fromMillis(shop.now(), { zone: timeZone }).startOf('day').plus({ days: 1 });
      const applied = await apply(shop, {
        source: source(2, { timeZone }),
        effectiveFrom: tomorrow.toISODate(),
      });
      expect(applied.body.effectiveFrom).toBe(tomorrow.toUTC().toISO());
      const shown = await shop.admin('GET', '/v1/program');
      expect(shown.body).toMatchObject({
        version: 1,
        nextVersion: { version: 2, effectiveFrom: tomorrow.toUTC().toISO() },
      });
      await shop.setClock(tomorrow.toMillis() + 3_600_000);
      const at = (ms: number) => new Date(tomorrow.toMillis() + ms).toISOString();
      expect(await pointsAt(shop, at(-1)), timeZone).toBe(10);
      expect(await pointsAt(shop, at(0)), timeZone).toBe(20);
      expect((await shop.admin('GET', '/v1/program')).body).toMatchObject({ version: 2, nextVersion: null });
    }
  });

  test.each([
    ['Europe/Berlin', '2027-03-28', '2027-03-27T23:00:00.000Z'],
    ['Europe/Berlin', '2027-03-29', '2027-03-28T22:00:00.000Z'],
    ['Europe/Berlin', '2027-11-01', '2027-10-31T23:00:00.000Z'],
    ['America/New_York', '2027-03-15', '2027-03-15T04:00:00.000Z'],
    ['America/New_York', '2027-11-08', '2027-11-08T05:00:00.000Z'],
    ['Australia/Lord_Howe', '2027-04-04', '2027-04-03T13:00:00.000Z'],
    ['Australia/Lord_Howe', '2027-04-05', '2027-04-04T13:30:00.000Z'],
    // A day that has no midnight begins an hour later, at the same instant.
    ['Africa/Cairo', '2027-04-30', '2027-04-29T22:00:00.000Z'],
  ])('begins with the day of its zone: %s, %s', async (timeZone, effectiveFrom, instant) => {
    const shop = await engine.shop({ timeZone });
    const tried = await apply(shop, { source: source(2, { timeZone }), effectiveFrom, dryRun: true });
    expect([tried.status, tried.body.effectiveFrom]).toEqual([200, instant]);
  });

  test('leaves the explanation of what was judged before as it was', async () => {
    const shop = await engine.shop();
    const accrued = await shop.accrue(await shop.enrol(), 10);
    expect((await apply(shop, { source: source(5) })).status).toBe(201);
    await engine.drained();
    const operation = await shop.care('GET', `/v1/operations/${accrued.id}`);
    expect(operation.at('explanation')).toMatchObject({
      programVersion: 1,
      rules: [{ rule: 'spend', points: 10 }],
    });
  });

  test('is given back byte for byte, and listed, newest first', async () => {
    const shop = await engine.shop();
    const [two, three] = [
      `\uFEFF${source(2).replaceAll('\n', '\r\n')}`,
      `${source(3)}\n\n# Ünïcödé 💳, tabs\t and no newline at the end`,
    ];
    const tomorrow = shop.time(86_400_000);
    expect((await apply(shop, { source: two })).status).toBe(201);
    expect((await apply(shop, { source: three, effectiveFrom: tomorrow })).status).toBe(201);
    expect((await shop.admin('GET', '/v1/program/versions/3')).body).toMatchObject({
      source: three,
      status: 'scheduled',
      effectiveFrom: tomorrow,
    });
    const { out } = await command('export', shop.program.name, '--version', '2');
    expect(out).toBe(two);
    const page = await shop.admin('GET', '/v1/program/versions?limit=2');
    const versions = (page.body.data as { version: number }[]).map(({ version }) => version);
    expect([versions, page.body.nextCursor]).toEqual([[3, 2], '2']);
    const rest = await shop.admin('GET', '/v1/program/versions?limit=2&cursor=2');
    expect(rest.at('data.0')).toMatchObject({ version: 1, effectiveFrom: null });
    expect((await shop.admin('GET', '/v1/program/versions/9')).code).toBe('not_found');
  });

  test('is the same version when it is applied again, and none when it is only tried', async () => {
    const shop = await engine.shop();
    const tried = await apply(shop, { source: source(4), dryRun: true });
    expect([tried.status, tried.body.status]).toEqual([200, 'checked']);
    expect((await apply(shop, { source: source(4) })).status).toBe(201);
    const again = await apply(shop, { source: source(4) });
    expect([again.status, again.body.status, again.body.version]).toEqual([200, 'unchanged', 2]);
    expect((await shop.admin('GET', '/v1/program/versions')).at('data')).toHaveLength(2);
  });

  test('can be replaced until it begins, by one of the same instant', async () => {
    const shop = await engine.shop({ mode: 'test' });
    const begin = new Date(Math.floor(shop.now() / 1_000) * 1_000 + 86_400_000).toISOString();
    expect((await apply(shop, { source: source(2), effectiveFrom: begin })).status).toBe(201);
    expect((await apply(shop, { source: source(7), effectiveFrom: begin })).status).toBe(201);
    await shop.setClock(Date.parse(begin) + 1_000);
    expect(await pointsAt(shop, begin)).toBe(70);
  });

  test('can never be changed or removed', async () => {
    for (const change of [
      "update program_version set source = 'x'",
      'delete from program_version',
      'truncate program_version',
    ])
      await expect(engine.pool.query(change)).rejects.toThrow('append-only');
  });

  test('of many at once every one has a number of its own, in the order of their times', async () => {
    const { program } = await engine.shop();
    const texts = Array.from({ length: 6 }, (_, i) => source(i + 2));
    const applied = await Promise.all(
      texts.map((text) =>
        applyVersion(engine.pool, program, {
          file: readProgramFile(text).file!,
          source: text,
          actor: 'test',
        }),
      ),
    );
    expect(applied.map(({ status }) => status)).toEqual(texts.map(() => 'applied'));
    const programs = await loadPrograms(engine.pool);
    const { versions } = programs.get(program.number)!;
    expect(versions.map(({ version }) => version)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    for (const [i, { effectiveFrom }] of versions.entries())
      expect(effectiveFrom).toBeGreaterThanOrEqual(
        versions[i - 1]?.effectiveFrom ?? Number.NEGATIVE_INFINITY,
      );
  });

  test('keeps the numbers of names that go and come back', async () => {
    const shop = await engine.shop();
    const currencies = (...codes: string[]) =>
      `timeZone: UTC\ncurrencies: [${codes.map((code) => `{ code: ${code} }`).join()}]\n`;
    for (const codes of [['coins', 'stars'], ['stars'], ['gems', 'coins']])
      expect((await apply(shop, { source: currencies('points', ...codes) })).status).toBe(201);
    const program = (await loadPrograms(engine.pool)).get(shop.program.number)!;
    expect(program.definition.numbers.currencies).toEqual({ points: 1, coins: 2, stars: 3, gems: 4 });
    expect([...program.currencyByCode.keys()].toSorted()).toEqual(['coins', 'gems', 'points', 'stars']);
    expect(versionAt(program, Number.NEGATIVE_INFINITY).version).toBe(1);
  });
});

describe('a version that is not applied', () => {
  test.each<[string, object, object]>([
    ['no text', {}, { pointer: '/source' }],
    ['an empty text', { source: '' }, { pointer: '/source' }],
    ['an unknown field', { source: source(2), force: true }, { pointer: '/force' }],
    ['a time that is none', { source: source(2), effectiveFrom: 'soon' }, { pointer: '/effectiveFrom' }],
    ['a time in the past', { source: source(2), effectiveFrom: '2020-01-01' }, { pointer: '/effectiveFrom' }],
    [
      'a file with a fault',
      { source: source(2, { more: 'colour: blue\n' }) },
      { pointer: '/source', path: '/colour', line: 8, column: 1, detail: 'is not a known field' },
    ],
    [
      'another time zone',
      { source: source(2, { timeZone: 'Asia/Tokyo' }) },
      { pointer: '/source', path: '/timeZone', line: 2, column: 11 },
    ],
    [
      'another main currency',
      { source: 'timeZone: UTC\ncurrencies: [{ code: coins }]\n' },
      { pointer: '/source', path: '/currencies/0/code', line: 2, column: 22 },
    ],
  ])('says why: %s', async (_, body, fault) => {
    const shop = await engine.shop();
    const answer = await apply(shop, body, { invalid: true });
    expect(answer.body).toMatchObject({ status: 400, code: 'validation_failed', applied: 'no' });
    expect(answer.at('errors.0')).toMatchObject(fault);
    expect((await shop.admin('GET', '/v1/program')).body.version).toBe(1);
  });

  test('would begin before one that is there', async () => {
    const shop = await engine.shop();
    expect((await apply(shop, { source: source(2), effectiveFrom: shop.time(86_400_000) })).status).toBe(201);
    const answer = await apply(shop, { source: source(3) });
    expect(answer.at('errors.0')).toMatchObject({
      pointer: '/effectiveFrom',
      detail: expect.stringContaining('lies before version 2') as string,
    });
  });

  test('is not of this role', async () => {
    const shop = await engine.shop();
    for (const role of ['pos', 'checkout', 'care', 'finance'] as const)
      expect((await shop[role]('POST', '/v1/program/versions', { source: source(2) })).code).toBe(
        'role_not_allowed',
      );
  });
});

describe('npm run program', () => {
  async function fileWith(text: string): Promise<string> {
    const path = join(folder, `${Math.random().toString(36).slice(2)}.yaml`);
    await writeFile(path, text);
    return path;
  }

  test('validates, founds, compares, applies and exports a file', async () => {
    const first = join(checkout, 'src/earning/samples/supermarket.yaml');
    expect(await command('validate', first)).toMatchObject({ code: 0, complaint: '' });
    expect((await command('create', 'market', '--file', first, '--mode', 'test')).code).toBe(0);
    const text = await readFile(first, 'utf8');
    expect((await command('export', 'market')).out).toBe(text);
    const changed = await fileWith(
      text
        .replace('BYMONTHDAY=8', 'BYMONTHDAY=18')
        .replace('caps: [{ points: 500, period: day }]', 'caps: [{ points: 700, period: day }]'),
    );
    const shown = await command('diff', changed, '--program', 'market');
    expect(shown.out).toBe(
      'promotion member-day changed\n    during.repeat: FREQ=MONTHLY;BYMONTHDAY=8 → FREQ=MONTHLY;BYMONTHDAY=18\n    caps.day.points: 500 → 700\n',
    );
    const data = JSON.parse((await command('diff', changed, '--program', 'market', '--json')).out) as object;
    expect(data).toMatchObject({ program: 'market', version: 1, changes: [{ name: 'member-day' }] });
    const day = DateTime.now().setZone('Europe/Berlin').plus({ days: 2 }).toISODate();
    const applied = await command(
      'apply',
      changed,
      '--program',
      'market',
      '--effective',
      day!,
      '--title',
      'The 18th',
    );
    expect(applied.out).toMatch(
      new RegExp(`^Version 2 of market is in force from ${day}T00:00:00.000\\+0[12]:00`),
    );
    expect((await command('list', 'market')).out).toMatch(
      /^2\s+from .* The 18th\n1 in force {2}from the beginning/,
    );
    expect((await command('diff', changed, '--program', 'market')).out).toBe('Nothing is different.\n');
    const again = await command('apply', changed, '--program', 'market', '--title', 'The 18th');
    expect(again.out).toContain('is version 2 of market already');
  }, 120_000);

  test('says where a file is wrong, and ends with 1', async () => {
    const wrong = await fileWith(source(0, { more: '    stores: []\n' }));
    for (const args of [
      ['validate', wrong],
      ['create', 'nothing', '--file', wrong],
    ]) {
      const { code, complaint } = await command(...args);
      expect([code, complaint.split('\n')]).toEqual([
        1,
        [
          `${wrong}:7:33  /rules/0/earn/points has to be at least 1`,
          `${wrong}:8:13  /rules/0/stores may not be empty`,
          '',
        ],
      ]);
    }
    expect((await command('list')).out).not.toContain('nothing');
  });
});

describe('what is read of the database', () => {
  const file = readProgramFile(source(1)).file!;

  async function database(name: string) {
    const { url, client } = await databaseBefore('9', engine.stores, name);
    await prepareDatabase(url);
    const pool = new pg.Pool({ connectionString: url, max: 2 });
    const close = async () => {
      await pool.end();
      await client.end();
    };
    const apply = async (program: Program, points: number) => {
      const text = source(points);
      const draft = { file: readProgramFile(text).file!, source: text, actor: 'test' };
      return (await applyVersion(pool, program, draft)).status;
    };
    return { pool, apply, close };
  }

  test('is read once: a version stays the same object whatever else changes', async () => {
    const { pool, apply, close } = await database('read_once');
    try {
      const program = await createProgram(pool, { name: 'shop', mode: 'test', file });
      const programs = await loadPrograms(pool);
      const before = programs.get(program.number)!;
      await programs.refresh();
      expect(programs.get(program.number)).toBe(before);
      await moveClock(pool, program.number, 5_000);
      expect(await apply(program, 2)).toBe('applied');
      await Promise.all([programs.refresh(), programs.refresh(), programs.refresh()]);
      const after = programs.get(program.number)!;
      expect([after.clockOffsetMs, after.versions.length]).toEqual([5_000, 2]);
      expect(after.versions[0]).toBe(before.versions[0]);
    } finally {
      await close();
    }
  });

  test('is believed although it came back older: a version that was lost and given again is the new one', async () => {
    const { pool, apply, close } = await database('older_copy');
    try {
      const program = await createProgram(pool, { name: 'shop', mode: 'live', file });
      expect(await apply(program, 2)).toBe('applied');
      const programs = await loadPrograms(pool);
      await pool.query('alter table program_version disable trigger append_only');
      await pool.query('delete from program_version where version = 2');
      expect(await apply(program, 3)).toBe('applied');
      await programs.refresh();
      const { versions } = programs.get(program.number)!;
      expect(versions.map(({ version }) => version)).toEqual([1, 2]);
      expect(versions[1]!.definition.rules[0]!.earn).toMatchObject({ points: 3 });
    } finally {
      await close();
    }
  });

  test('of a later service stops that program alone', async () => {
    const { pool, apply, close } = await database('later_service');
    try {
      const [strange, plain] = [
        await createProgram(pool, { name: 'strange', mode: 'live', file }),
        await createProgram(pool, { name: 'plain', mode: 'live', file }),
      ];
      const programs = await loadPrograms(pool);
      await pool.query(
        `insert into program_version (program, version, effective_from, definition, source, digest, applied_by)
         values ($1, 2, now(), '{"moods": []}', '', '', 'later')`,
        [strange.number],
      );
      await pool.query('update program set changed_at = clock_timestamp()');
      expect(await apply(plain, 2)).toBe('applied');
      await expect(programs.refresh()).rejects.toThrow();
      expect(programs.get(plain.number)!.versions).toHaveLength(2);
      expect(programs.get(strange.number)!.versions).toHaveLength(1);
    } finally {
      await close();
    }
  });
});

describe('a program from before there were files', () => {
  const airline = {
    version: 4,
    currencies: [
      { number: 7, code: 'miles', spendable: true },
      { number: 2, code: 'credits', spendable: false },
    ],
    rules: [
      {
        name: 'fare',
        currency: 'miles',
        points: 5,
        perMinorUnits: 100,
        pendingDays: 3,
        expiresAfterDays: 30,
        funder: 'bank',
      },
      {
        name: 'status',
        currency: 'credits',
        points: 1,
        perMinorUnits: 1_000,
        pendingDays: 0,
        funder: 'program',
      },
    ],
    funders: ['program', 'bank'],
    identifierTypes: ['card'],
    moneyCurrencies: ['EUR'],
    debtAllowed: false,
    backdateDaysMax: 9,
  };
  const least = { currencies: [{ number: 1, code: 'points' }], rules: [] };

  async function converted(databaseName: string) {
    const { url, client } = await databaseBefore('20261122130000', engine.stores, databaseName);
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    const close = async () => {
      await pool.end();
      await client.end();
    };
    for (const [name, definition] of Object.entries({ airline, least, empty: {} })) {
      await client.query(
        `insert into program (name, mode, time_zone, definition) values ($1, 'live', 'Asia/Tokyo', $2)`,
        [name, JSON.stringify(definition)],
      );
    }
    await prepareDatabase(url);
    return { client, programs: (await loadPrograms(pool)).all(), close };
  }

  test('has its definition as its first version, in force from the beginning, with the numbers of the ledger', async () => {
    const { programs, client, close } = await converted('older_programs');
    try {
      expect(programs.map(({ name }) => name)).toEqual(['airline', 'least']);
      expect(programs[0]!.versions).toMatchObject([{ version: 4, effectiveFrom: Number.NEGATIVE_INFINITY }]);
      const { numbers, ...definition } = programs[0]!.definition;
      expect(numbers).toMatchObject({
        currencies: { miles: 7, credits: 2 },
        funders: { program: 0, bank: 1 },
      });
      const earn = { by: 'amount', points: 5, perMinorUnits: 100, each: 'receipt', steps: 'whole' };
      const days = (count: number) => ({ kind: 'days', days: count });
      expect(definition).toMatchObject({
        timeZone: 'Asia/Tokyo',
        rules: [
          { name: 'fare', earn, pending: days(3), expiry: days(30), funder: 'bank', returns: 'reevaluate' },
          { name: 'status', funder: 'program' },
        ],
        debtAllowed: false,
        backdateDaysMax: 9,
      });
      // What older processes read is untouched.
      const kept = await client.query<{ definition: object }>(
        `select definition from program where name = 'airline'`,
      );
      expect(kept.rows[0]!.definition).toEqual(airline);
    } finally {
      await close();
    }
  });

  test('has a file that says the same', async () => {
    const { programs, client, close } = await converted('older_sources');
    try {
      const stored = await client.query<{ program: number; source: string }>(
        'select program, source from program_version',
      );
      expect(stored.rowCount).toBe(2);
      for (const { program, source: text } of stored.rows) {
        const { numbers: _, ...definition } = programs.find(({ number }) => number === program)!.definition;
        expect(readProgramFile(text)).toMatchObject({ faults: [], file: definition });
      }
    } finally {
      await close();
    }
  });
});
