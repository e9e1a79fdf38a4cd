/** Tiers of a whole program: who would move and who does, ladders that change while they are used, offers, and what it costs. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';
import { draftOf } from '#src/earning/backtest/draft.ts';
import { runBacktest } from '#src/earning/backtest/run.ts';
import { readProgramFile } from '#src/earning/file/read.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { applyVersion, readVersion } from '#src/earning/versions.ts';
import { createGiver } from '#src/jobs/gives.ts';
import { reviewTouched } from '#src/jobs/tiers.ts';
import { createJudgedMembers } from '#src/members/judged-member.ts';
import { parseMemberId } from '#src/values.ts';
import { reference, type Shop, startEngine, waitFor } from './harness.ts';
import { commandOf } from './house/command.ts';
import { giveAll, runsOf } from './house/gifts.ts';
import { type FileLadder, standingOf, startTierHouse, tieredDefinition, yearly } from './house/tiers.ts';

const engine = await startEngine();
const house = startTierHouse(engine.app, engine.drained);
afterAll(async () => {
  await house.stop();
  await engine.end();
});
const { pool, app } = engine;

const year = new Date().getUTCFullYear() + 1;
const at = (text: string) => Date.parse(`${year}-${text}Z`);

async function opened(definition = tieredDefinition(), now = at('03-10T12:00')): Promise<Shop> {
  const shop = await engine.shop({ mode: 'test', definition });
  await goTo(shop, now);
  return shop;
}

async function goTo(shop: Shop, now: number): Promise<void> {
  await shop.setClock(now);
  await app.programs.refresh();
}

async function earn(shop: Shop, member: string, points: number): Promise<Record<string, unknown>> {
  const answer = await shop.accrue(member, points);
  expect(answer.status).toBe(201);
  return answer.body;
}

const [blue, silver, gold] = yearly.tiers as [
  FileLadder['tiers'][0],
  FileLadder['tiers'][0],
  FileLadder['tiers'][0],
];
const pointsOf = (atLeast: number) => ({
  all: [{ measure: 'points' as const, currency: 'points', atLeast }],
});

/** Applies a file at once and waits until every process has it. */
async function applied(shop: Shop, source: string): Promise<void> {
  const { file, faults } = readProgramFile(source);
  expect(faults).toEqual([]);
  const program = app.programs.get(shop.program.number)!;
  const made = await applyVersion(pool, program, { file: file!, source, actor: 'test' });
  expect(made.status).toBe('applied');
  await goTo(shop, shop.now() + 2_000);
}

interface PreviewView {
  readonly moves: readonly { readonly from: string; readonly to: string; readonly members: number }[];
  readonly data: readonly { readonly member: string; readonly from: string; readonly to: string }[];
  readonly nextCursor: string | null;
}

async function previewOf(shop: Shop, source?: string): Promise<PreviewView['data'][number][]> {
  const rows: PreviewView['data'][number][] = [];
  for (let after = ''; ; ) {
    const path = `/v1/tiers/preview?limit=2${after}`;
    const answer =
      source === undefined ? await shop.admin('GET', path) : await shop.admin('POST', path, { source });
    expect(answer.status).toBe(200);
    const { data, nextCursor } = answer.body as unknown as PreviewView;
    expect(new Set(data.map(({ member }) => member)).size).toBeLessThanOrEqual(2);
    rows.push(...data.map(({ member, from, to }) => ({ member, from, to })));
    if (nextCursor === null) return rows;
    after = `&after=${nextCursor}`;
  }
}

/** What the last run moved, as the books have it. */
async function movedBy(shop: Shop): Promise<PreviewView['data'][number][]> {
  const { rows } = await pool.query<{ member: number; from: string; to: string }>(
    `select member, from_tier as from, to_tier as to from tier_change
     where run = (select max(run) from tier_run where program = $1) and is_move order by member, number`,
    [shop.program.number],
  );
  return rows.map(({ member, from, to }) => ({
    member: `mem_${member.toString(36).padStart(8, '0')}`,
    from,
    to,
  }));
}

describe('a tier that a version renames or removes', () => {
  test('keeps its members under its new name, from the day that they had it; of one that is gone they have the next lower one', async () => {
    const shop = await opened();
    const [high, middle] = [await shop.enrol(), await shop.enrol()];
    await earn(shop, high, 900);
    await earn(shop, middle, 150);
    await house.settled();
    const since = (await standingOf(shop, middle)).since;
    expect([(await standingOf(shop, high)).tier, (await standingOf(shop, middle)).tier]).toEqual([
      'gold',
      'silver',
    ]);
    const stored = await readVersion(pool, shop.program.number, 1);
    const ladders = [{ ...yearly, tiers: [blue, { ...silver, name: 'bronze', was: ['silver'] }] }];
    const definition = { ...JSON.parse(stored!.source), ladders };
    definition.rules[1].tiers = ['bronze'];
    await goTo(shop, at('04-10T12:00'));
    await applied(shop, JSON.stringify(definition));
    await house.recalculated();
    expect(await movedBy(shop)).toMatchObject([{ from: 'gold', to: 'bronze' }]);
    expect((await standingOf(shop, high)).tier).toBe('bronze');
    expect(await standingOf(shop, middle)).toMatchObject({ tier: 'bronze', since });
    // A receipt from before the version is judged by the tier of then, one of today by that of today.
    const awards = async (occurredAt: string) => {
      const receipt = { ...shop.receipt(middle, 10), occurredAt };
      const { body } = await shop.pos('POST', '/v1/accruals', receipt);
      return (body.awards as { rule: string }[]).map(({ rule }) => rule).toSorted();
    };
    const today = await awards(shop.time());
    expect(today.length).toBe(2);
    expect(await awards(new Date(at('04-01T12:00')).toISOString())).toEqual(today);
    await house.settled();
    await engine.audit();
  });
});

describe('a preview', () => {
  test('is the run that follows: at the end of a year, and with a tier that is inserted into a program in use', async () => {
    const shop = await opened();
    const members = await Promise.all(Array.from({ length: 7 }, () => shop.enrol()));
    const points = [0, 50, 100, 220, 250, 300, 900];
    for (const [i, member] of members.entries()) if (points[i]! > 0) await earn(shop, member, points[i]!);
    await house.settled();
    await house.recalculated();
    expect(await previewOf(shop)).toEqual([]);
    // A tier between silver and gold, and silver gets another name.
    const inserted: FileLadder = {
      ...yearly,
      tiers: [
        blue,
        { ...silver, name: 'bronze', was: ['silver'] },
        { name: 'titanium', reach: pointsOf(200) },
        gold,
      ],
    };
    const stored = await readVersion(pool, shop.program.number, 1);
    const definition = { ...JSON.parse(stored!.source), ladders: [inserted] };
    definition.rules[1].tiers = ['bronze', 'titanium', 'gold'];
    const before = await previewOf(shop, JSON.stringify(definition));
    expect(before.map(({ from, to }) => `${from} to ${to}`).toSorted()).toEqual([
      'bronze to titanium',
      'bronze to titanium',
    ]);
    const changed = await pool.query('select count(*)::int as rows from tier_change where program = $1', [
      shop.program.number,
    ]);
    expect(changed.rows).toEqual([{ rows: 5 }]);
    await applied(shop, JSON.stringify(definition));
    await house.recalculated();
    expect(await movedBy(shop)).toEqual(before);
    expect((await standingOf(shop, members[3]!)).tier).toBe('titanium');
    expect((await standingOf(shop, members[2]!)).tier).toBe('bronze');
    await goTo(shop, Date.parse(`${year + 2}-01-01T00:30Z`));
    const atYearsEnd = await previewOf(shop);
    expect(atYearsEnd.length).toBe(5);
    await house.recalculated();
    expect(await movedBy(shop)).toEqual(atYearsEnd);
    expect(await previewOf(shop)).toEqual([]);
  });
});

describe('a recalculation', () => {
  test('is one for a day and its ladders, and looking again changes nothing', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    await earn(shop, member, 150);
    await house.settled();
    await house.recalculated();
    await house.recalculated();
    const runs = async () =>
      (await shop.admin('GET', '/v1/tiers/runs')).body.data as Record<string, unknown>[];
    expect(await runs()).toMatchObject([{ status: 'done', occasion: 'night', members: 1, changes: 0 }]);
    expect((await shop.admin('POST', '/v1/tiers/runs')).status).toBe(202);
    await house.recalculated();
    expect(await runs()).toMatchObject(
      ['demand', 'night'].map((occasion) => ({ status: 'done', occasion, members: 1, changes: 0 })),
    );
    expect((await standingOf(shop, member)).history.length).toBe(1);
  });

  test('beside receipts that qualify loses no tier and makes none twice', async () => {
    const shop = await opened();
    const members = await Promise.all(Array.from({ length: 12 }, () => shop.enrol()));
    const earning = (async () => {
      for (let round = 0; round < 5; round += 1)
        await Promise.all(members.map((member) => earn(shop, member, 30)));
    })();
    let isOver = false;
    void earning.finally(() => {
      isOver = true;
    });
    await waitFor(
      'the receipts are through',
      async () => {
        await shop.admin('POST', '/v1/tiers/runs');
        await house.recalculated();
        return isOver;
      },
      60_000,
    );
    await earning;
    await house.settled();
    for (const member of members) {
      const { tier, history } = await standingOf(shop, member);
      expect([tier, history.map(({ from, to }) => `${from} to ${to}`)]).toEqual([
        'silver',
        ['blue to silver'],
      ]);
    }
  });
});

describe('a standing that cannot be read', () => {
  test('holds up nobody: neither the diary nor the others of a recalculation', async () => {
    const shop = await opened();
    const [broken, other] = await Promise.all([shop.enrol(), shop.enrol()]);
    for (const member of [broken, other]) await earn(shop, member, 100);
    await house.settled();
    const { id } = (await shop.admin('GET', `/v1/members/${broken}`)).body;
    await pool.query(
      `update tier_standing set standing = '{"earned":{"tier":"silver","qualified":{"needed":5}},"grants":[]}' where member = $1`,
      [parseMemberId(String(id))],
    );
    for (const member of [broken, other]) await earn(shop, member, 200);
    await house.settled();
    expect((await standingOf(shop, other)).tier).toBe('gold');
    await goTo(shop, Date.parse(`${year + 2}-01-01T00:30Z`));
    await house.recalculated();
    expect((await standingOf(shop, other)).tier).toBe('silver');
    const { rows } = await pool.query('select tier from tier_standing where member = $1', [
      parseMemberId(String(id)),
    ]);
    expect(rows).toEqual([{ tier: 'silver' }]);
  });
});

describe('npm run tiers', () => {
  test('previews, recalculates and lists the runs', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    await earn(shop, member, 100);
    await house.settled();
    await goTo(shop, Date.parse(`${year + 2}-01-01T08:00Z`));
    const tiers = commandOf('tiers/command.ts', {
      ...process.env,
      DATABASE_URL: engine.stores.databaseUrl,
      REDIS_URL: engine.stores.redisUrl,
      DATA_DIR: engine.stores.folder,
    });
    const said = async (...args: string[]) => {
      const { code, out, complaint } = await tiers(...args);
      expect([code, complaint.includes('Error')], complaint).toEqual([0, false]);
      return out;
    };
    const { name } = shop.program;
    expect(await said('preview', name)).toMatch(/status +silver +blue +1\n[\s\S]*soft_landing/);
    expect(JSON.parse(await said('preview', name, '--json'))).toMatchObject({ members: 1 });
    expect(await said('recalculate', name)).toMatch(/^1 members, 1 changes/);
    const svg = join(engine.stores.folder, 'tiers.svg');
    expect(await said('report', name, '--svg', svg)).toMatch(/blue +1 +100\.0 %[\s\S]+01 +0 +1/);
    expect(await readFile(svg, 'utf8')).toMatch(/^<svg [\s\S]+status: members by tier[\s\S]+<\/svg>\n$/);
    expect(await said('runs', name)).toMatch(new RegExp(`${year + 2}-01-01 +1 +demand +done +1 +1 +0`));
    expect((await tiers('preview')).code).toBe(2);
    await house.settled();
  }, 120_000);
});

describe('warnings', () => {
  test('say once for each number of days ahead what is missing to stay', async () => {
    const shop = await opened(tieredDefinition([{ ...yearly, warnDays: [30, 7] }]));
    const member = await shop.enrol();
    await earn(shop, member, 100);
    await house.settled();
    const warnings = async () =>
      (await shop.care('GET', '/v1/events?types=tier.warning')).body.data as Record<string, unknown>[];
    for (const day of ['12-01', '12-02', '12-24', '12-25', '12-31']) {
      await goTo(shop, Date.parse(`${year + 1}-${day}T08:00Z`));
      await house.recalculated();
      await house.recalculated();
    }
    expect(await warnings()).toMatchObject(
      [30, 7].map((days) => ({
        tier: 'silver',
        lastDay: `${year + 1}-12-31`,
        days,
        keep: { tier: 'silver', goals: [{ counted: 0, missing: 100 }] },
      })),
    );
  });
});

describe('an offer to match', () => {
  const ladder: FileLadder = {
    ...yearly,
    matches: [
      {
        name: 'rivals',
        partner: 'Rival Air',
        trialDays: 90,
        tiers: [
          { from: ['Elite'], tier: 'silver', keep: pointsOf(40) },
          { from: ['Top'], tier: 'gold' },
        ],
        onceIn: { months: 24 },
        afterFailureMonths: 60,
      },
    ],
    alliances: [
      {
        alliance: 'Stars',
        tiers: [
          { tier: 'silver', equals: 'Silver' },
          { tier: 'gold', equals: 'Gold' },
        ],
        from: `${year}-01-01`,
        through: `${year}-12-31`,
      },
    ],
  };
  const evidence = { document: 'card 12 345', origin: 'earned' };

  test('gives a trial, which stays when what it asks for is reached, and ends otherwise', async () => {
    const shop = await opened(tieredDefinition([ladder]));
    const [kept, lost] = [await shop.enrol(), await shop.enrol()];
    const match = (member: string, more = {}, invalid = false) => {
      const body = { reference: reference('care'), offer: 'rivals', tier: 'Elite', evidence, ...more };
      return shop.care('POST', `/v1/members/${member}/tier/matches`, body, { invalid });
    };
    for (const member of [kept, lost]) expect((await match(member)).status).toBe(200);
    expect(await standingOf(shop, kept)).toMatchObject({
      tier: 'silver',
      origin: 'trial',
      until: `${year}-06-07`,
      alliances: { Stars: 'Silver' },
      progress: { keep: { goals: [{ missing: 40 }] } },
    });
    const held = (await shop.care('GET', `/v1/members/${kept}/export`)).body.member;
    expect(held).toMatchObject({
      tiers: { tier: 'silver', ladders: [{ grants: [{ reason: 'Rival Air Elite' }] }] },
      matches: [{ offer: 'rivals', sourceTier: 'Elite', evidence }],
    });
    expect((await match(kept)).body).toMatchObject({ code: 'match_refused', notBefore: `${year + 2}-03-10` });
    expect((await match(await shop.enrol(), { evidence: { ...evidence, origin: 'matched' } })).code).toBe(
      'match_refused',
    );
    for (const wrong of [{ offer: 'none' }, { tier: 'Tin' }, { evidence: { origin: 'earned' } }])
      expect((await match(await shop.enrol(), wrong, true)).code).toBe('validation_failed');
    await earn(shop, kept, 40);
    await house.settled();
    await goTo(shop, at('06-08T00:10'));
    await house.recalculated();
    expect((await standingOf(shop, kept)).tier).toBe('silver');
    expect((await standingOf(shop, lost)).tier).toBe('blue');
    await goTo(shop, Date.parse(`${year + 2}-03-11T12:00Z`));
    expect((await match(lost)).body).toMatchObject({ code: 'match_refused', notBefore: `${year + 5}-03-10` });
    expect((await standingOf(shop, lost)).alliances).toEqual({});
  });
});

describe('erasure', () => {
  test('takes reasons and evidence along; that there was a tier stays', async () => {
    const shop = await opened();
    const member = await shop.enrol();
    const grant = { reference: reference(), tier: 'gold', reason: 'Ms Muster knows the director' };
    expect((await shop.care('POST', `/v1/members/${member}/tier`, grant)).status).toBe(200);
    const { id } = (await shop.admin('GET', `/v1/members/${member}`)).body;
    expect((await shop.admin('POST', `/v1/members/${member}/erasure`, {})).status).toBe(200);
    await house.settled();
    const { rows } = await pool.query(
      `select (select count(*)::int from tier_standing where member = $1) as standings,
         (select count(*)::int from tier_order where member = $1) as orders,
         (select count(*)::int from tier_change where member = $1) as changes`,
      [parseMemberId(String(id))],
    );
    expect(rows).toEqual([{ standings: 0, orders: 0, changes: 1 }]);
  });
});

describe('rules', () => {
  test('give other ends and fares by tier, and a backtest finds the same', async () => {
    const day = (days: number) => ({ kind: 'days' as const, days });
    const definition = tieredDefinition([yearly], {
      rules: [
        {
          name: 'spend',
          currency: 'points',
          earn: { by: 'amount', points: 1, perMinorUnits: 100 },
          expiry: { kind: 'tier', tiers: { silver: day(100) }, otherwise: day(10) },
        },
        {
          name: 'fare',
          on: 'flight',
          currency: 'bonus',
          earn: { by: 'fare', points: 5, perMinorUnits: 100, tiers: { silver: 7 } },
        },
      ],
    });
    const shop = await opened(definition);
    const member = await shop.enrol();
    const flight = {
      ...{
        carrier: 'XX',
        flightNumber: '1',
        date: `${year}-03-01`,
        from: 'BER',
        to: 'CDG',
        bookingClass: 'Y',
      },
      fare: { amount: 10_000, currency: 'EUR' },
    };
    const fly = async () => {
      const body = { reference: reference(), member, occurredAt: shop.time(), flight };
      const answer = await shop.pos('POST', '/v1/accruals', body);
      return (answer.body.awards as { points: number }[])[0]!.points;
    };
    const ends = async () => {
      const { awards } = await earn(shop, member, 100);
      return (awards as { expiresOn: string }[])[0]!.expiresOn;
    };
    expect([await fly(), await ends()]).toEqual([500, `${year}-03-20`]);
    await house.settled();
    expect([await fly(), await ends()]).toEqual([700, `${year}-06-18`]);
    const late = shop.receipt(member, 5, { occurredAt: new Date(at('03-10T11:00')).toISOString() });
    expect((await shop.pos('POST', '/v1/accruals', late)).body.awards).toMatchObject([
      { expiresOn: `${year}-03-20` },
    ]);
    await house.settled();
    const program = (await loadPrograms(pool)).get(shop.program.number)!;
    const { source } = (await readVersion(pool, program.number, 1))!;
    const judged = createJudgedMembers(pool, app.identity, true);
    const report = await runBacktest(pool, {
      draft: draftOf(readProgramFile(source).file!, program),
      span: {},
      judgedMember: ({ member: number, occurredAt, ...position }) => {
        const unknown = { program: program.number, factsVersion: 0, mergedInto: undefined };
        const asOf = { at: occurredAt, decided: { member: number, position, at: position.at } };
        return judged(program, { ...unknown, member: number }, asOf);
      },
      endsAt: shop.now(),
    });
    expect([report.receipts, report.receiptsOtherwise]).toEqual([5, 0]);
  });
});

describe('a promotion that gives', () => {
  test('selects members by the tier that they have, the first one included', async () => {
    const gift = (name: string, tiers: string[]) => ({
      ...{ name, currency: 'points', during: { repeat: 'FREQ=DAILY' }, give: { points: 1 }, tiers },
    });
    const promotions = [
      gift('for-silver', ['silver']),
      gift('for-blue', ['blue']),
      gift('for-both', ['blue', 'silver']),
    ];
    const shop = await opened(tieredDefinition([yearly], { promotions }));
    const [one] = await Promise.all([shop.enrol(), shop.enrol(), shop.enrol()]);
    await earn(shop, one, 100);
    await house.settled();
    const giver = createGiver(app);
    await giver.tick();
    await goTo(shop, at('03-11T12:00'));
    await giveAll(giver, shop);
    await giver.stop();
    const given = (await runsOf(shop)).map(({ promotion, given: members }) => [promotion, members]);
    expect(Object.fromEntries(given)).toEqual({ 'for-silver': 1, 'for-blue': 2, 'for-both': 3 });
  });

  test('lets the points end as the tier of the day says', async () => {
    const day = (days: number) => ({ kind: 'days' as const, days });
    const gift = {
      ...{ name: 'gift', currency: 'points', during: { repeat: 'FREQ=DAILY' }, give: { points: 1 } },
      expiry: { kind: 'tier' as const, tiers: { silver: day(100) }, otherwise: day(10) },
    };
    const shop = await opened(tieredDefinition([yearly], { promotions: [gift] }));
    const [one] = await Promise.all([shop.enrol(), shop.enrol()]);
    await earn(shop, one, 100);
    await house.settled();
    const giver = createGiver(app);
    await giver.tick();
    await goTo(shop, at('03-11T12:00'));
    await giveAll(giver, shop);
    await giver.stop();
    const { rows } = await pool.query<{ days: number }>(
      `select round((l.expires_at - $2) / 86400000.0)::int as days from lot l join member m on m.number = l.member
       where m.program = $1 and l.expires_at > 0 order by 1`,
      [shop.program.number, at('03-11T00:00')],
    );
    // Through the end of the last day.
    expect(rows).toEqual([{ days: 11 }, { days: 101 }]);
  });
});

describe('a program without ladders', () => {
  test('asks nobody for tiers: not the judge of a receipt, not who reads the books', async () => {
    const shop = await engine.shop({
      definition: {
        rules: [
          {
            name: 'spend',
            currency: 'points',
            when: 'member.known',
            earn: { by: 'amount', points: 1, perMinorUnits: 100 },
          },
        ],
      },
    });
    await app.programs.refresh();
    const member = await shop.enrol();
    await earn(shop, member, 100);
    await house.settled();
    const program = app.programs.get(shop.program.number)!;
    const asked: string[] = [];
    const listening = new Proxy(pool, {
      get(target, name, receiver) {
        if (name !== 'query') return Reflect.get(target, name, receiver);
        return (query: string | pg.QueryConfig, values?: unknown[]) => {
          asked.push(typeof query === 'string' ? query : query.text);
          return target.query(query as string, values);
        };
      },
    });
    const number = parseMemberId(String((await shop.admin('GET', `/v1/members/${member}`)).body.id))!;
    const facts = { member: number, program: program.number, factsVersion: 0, mergedInto: undefined };
    await createJudgedMembers(listening, app.identity)(program, facts, { at: Date.now() });
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter((text) => text.includes('tier_'))).toEqual([]);
    const untouchable = new Proxy({} as pg.PoolClient, {
      get: (_, name) => {
        throw new Error(`${String(name)} was asked for`);
      },
    });
    await reviewTouched(app.programs, app.telemetry.log)(untouchable, [
      { program, member: number, day: 20_000, doneAt: undefined },
    ]);
    const { rows } = await pool.query(
      `select (select count(*)::int from operation where program = $1 and kind = 'tier') as records,
         (select count(*)::int from tier_run where program = $1) as runs,
         (select max(facts_version) from member where program = $1) as facts`,
      [program.number],
    );
    expect(rows).toEqual([{ records: 0, runs: 0, facts: 0 }]);
    expect((await shop.care('GET', `/v1/members/${member}/tier`)).body).toMatchObject({
      tier: null,
      ladders: [],
    });
  });
});
