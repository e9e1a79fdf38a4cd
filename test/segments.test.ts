/**
 * Runs on a real PostgreSQL: what they find is what an independent model finds in the same purchases; who is killed in a run
 * changes nothing of what it finds; and rules at the till go by the run that ended last. `SEGMENT_KILLS=20` is the long form.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { programFileSchema } from '#src/earning/file/schema.ts';
import { type Program, presentVersion } from '#src/earning/program.ts';
import { applyVersion } from '#src/earning/versions.ts';
import { createGiver } from '#src/jobs/gives.ts';
import { createSegmenter } from '#src/jobs/segments.ts';
import { endProcess, launch } from '#src/platform/local/processes.ts';
import { exportMembers } from '#src/segments/export.ts';
import { lastWholeDay, newestRun, planRun, runInForce } from '#src/segments/runs.ts';
import { takeStep } from '#src/segments/steps.ts';
import { workOn } from '#src/segments/working.ts';
import { memberId, parseMemberId } from '#src/values.ts';
import { amountRule, type Shop, startEngine, waitFor } from './harness.ts';
import { type Bought, buyersThrough, defaultWording } from './house/buyers.ts';
import { commandOf } from './house/command.ts';
import { followerOf, readAll } from './house/diary.ts';
import { checkout } from './house/folders.ts';
import { addMembers, giveAll, runsOf } from './house/gifts.ts';
import { randomOf } from './house/random.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool, stores } = engine;

const named = [
  { name: 'regulars', where: { frequency: { min: 3 } } },
  { name: 'big', where: { spend_class: ['a'] } },
  { name: 'leaving', where: [{ lifecycle: ['declining', 'lapsed'] }, { recency_days: { min: 120 } }] },
];
const segments = { named, value: {} };
const dayMs = 86_400_000;
const kills = Number(process.env.SEGMENT_KILLS ?? 3);

/** Purchases of members over two years through a day and beyond; many amounts and days are equal, some days are of refunds. */
function purchasesOf(members: readonly number[], through: number, seed: number): Bought[] {
  const random = randomOf(seed);
  return members.flatMap((buyer) => {
    const pace = 5 + random(120);
    const days = new Set<number>();
    // Half of them have stopped some time ago, and some of those have come back.
    const end = through + 20 - (random(2) === 0 ? random(420) : 0);
    for (let day = end - random(730); day <= end; day += 1 + random(2 * pace)) days.add(day);
    if (random(3) === 0) days.add(through - random(200));
    return [...days].map((day) => ({ buyer, day, times: 1 + random(2), spend: random(8) * 500 }));
  });
}

async function writeDiary(bought: readonly Bought[]): Promise<void> {
  await pool.query(
    `insert into diary_day (member, day, visits, spend) select * from unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[])`,
    [
      bought.map(({ buyer }) => buyer),
      bought.map(({ day }) => day),
      bought.map(({ times }) => times),
      bought.map(({ spend }) => spend),
    ],
  );
}

/** The program as the database has it now. */
async function present({ program }: Shop): Promise<Program> {
  await app.programs.refresh();
  return app.programs.get(program.number)!;
}

async function runNow(shop: Shop): Promise<void> {
  const program = await present(shop);
  await planRun(pool, program);
  await workOn(pool, program, () => true);
}

/** What the export says, by member id. */
async function exported(shop: Shop): Promise<Map<string, Record<string, string>>> {
  const program = await present(shop);
  const run = await runInForce(pool, program.number);
  const path = join(stores.folder, `segments-${run!.run}.csv`);
  await exportMembers(pool, run!, presentVersion(program).definition.segments!, path);
  const [header = '', ...lines] = (await readFile(path, 'utf8')).trim().split('\n');
  const names = header.split(',');
  return new Map(
    lines.map((line) => {
      const cells = line.split(',');
      return [cells[0]!, Object.fromEntries(names.map((name, i) => [name, cells[i]!]))];
    }),
  );
}

function wantedOf(bought: readonly Bought[], through: number) {
  return [...buyersThrough(bought, through, defaultWording)].map(([buyer, { facts }]) => {
    const text = Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, String(value)]));
    const isLeaving = ['declining', 'lapsed'].includes(text.lifecycle!) || Number(text.recency_days) >= 120;
    const names = [
      ...(Number(text.frequency) >= 3 ? ['regulars'] : []),
      ...(text.spend_class === 'a' ? ['big'] : []),
      ...(isLeaving ? ['leaving'] : []),
    ];
    return [memberId(buyer as never), { ...text, segments: names.join(' ') }] as const;
  });
}

describe('a run', () => {
  test('finds of each member what the purchases say, again after a day, and keeps what was', async () => {
    const shop = await engine.shop({ mode: 'test', definition: { segments } });
    const members = await addMembers(pool, shop, 3_000, { joinedAt: shop.now() - 800 * dayMs });
    const through = lastWholeDay(await present(shop));
    const bought = purchasesOf(members.slice(0, 2_900), through, 20_261_123);
    await writeDiary(bought);
    for (let later = 0; later < 2; later += 1) {
      if (later > 0) await shop.advance(86_400);
      await runNow(shop);
      const found = await exported(shop);
      const wanted = wantedOf(bought, through + later);
      expect(found.size).toBe(wanted.length);
      for (const [member, facts] of wanted) expect(found.get(member), member).toMatchObject(facts);
    }
    const { rows } = await pool.query<{ member: number; segment: string; open: boolean; runs: number }>(
      `select member, segment, until_run is null as open, until_run - from_run as runs from member_segment where member = any($1)`,
      [members],
    );
    const inBoth = [through, through + 1].map((day) => {
      const all = wantedOf(bought, day).flatMap(([member, facts]) =>
        facts.segments.split(' ').map((segment) => `${member} ${segment}`),
      );
      return new Set(all.filter((each) => !each.endsWith(' ')));
    });
    const [before, after] = inBoth as [Set<string>, Set<string>];
    expect(
      new Set(
        rows.filter(({ open }) => open).map((row) => `${memberId(row.member as never)} ${row.segment}`),
      ),
    ).toEqual(after);
    const gone = rows
      .filter(({ open }) => !open)
      .map((row) => `${memberId(row.member as never)} ${row.segment}`);
    expect(new Set(gone)).toEqual(new Set([...before].filter((each) => !after.has(each))));
    expect(gone.length).toBeGreaterThan(0);
    // A day that was measured is not measured again.
    expect(await planRun(pool, await present(shop))).toBe(false);
  }, 120_000);

  test('tells of every broken rhythm once, however often it is looked at', async () => {
    const shop = await engine.shop({ mode: 'test', definition: { segments } });
    const members = await addMembers(pool, shop, 400, { joinedAt: shop.now() - 800 * dayMs });
    const first = lastWholeDay(await present(shop));
    const bought = purchasesOf(members, first, 7);
    await writeDiary(bought);
    const wanted = new Set<string>();
    for (const skipped of [0, 1, 1, 9]) {
      if (skipped > 0) await shop.advance(skipped * 86_400);
      const through = lastWholeDay(await present(shop));
      await runNow(shop);
      for (const [buyer, { brokenDay, lastDay }] of buyersThrough(bought, through, defaultWording))
        if (brokenDay !== undefined && brokenDay <= through && brokenDay > through - 31)
          wanted.add(`${buyer}.${lastDay}`);
    }
    const { rows } = await pool.query<{ key: string }>(
      `select key from event where program = $1 and type = 'member.rhythm_broken'`,
      [shop.program.number],
    );
    expect(rows.map(({ key }) => key).sort()).toEqual([...wanted].sort());
    expect(wanted.size).toBeGreaterThan(30);
    const answer = await shop.admin('GET', '/v1/events?types=member.rhythm_broken&limit=1');
    expect(answer.body.data).toMatchObject([{ type: 'member.rhythm_broken', mode: 'test' }]);
  }, 120_000);

  test('measures flights and late parts of orders, and nobody who has left or never bought', async () => {
    const shop = await engine.shop({ mode: 'test', definition: { segments } });
    const [flyer, shopper, closed, merged] = await addMembers(pool, shop, 5, { joinedAt: shop.now() });
    const through = lastWholeDay(await present(shop));
    await pool.query(
      `insert into diary_day (member, day, visits, spend, flights) values
       ($1, $4, 0, 30000, 1), ($2, $4 - 3, 1, 1000, 0), ($2, $4, 0, 500, 0), ($3, $4, 1, 100, 0), ($5, $4, 1, 100, 0)`,
      [flyer, shopper, closed, through, merged],
    );
    await pool.query(`update member set status = 'closed' where number = $1`, [closed]);
    await pool.query(`update member set status = 'merged', merged_into = $2 where number = $1`, [
      merged,
      flyer,
    ]);
    await runNow(shop);
    const found = await exported(shop);
    expect([...found.keys()].sort()).toEqual([flyer, shopper].map((each) => memberId(each as never)).sort());
    expect(found.get(memberId(flyer as never))).toMatchObject({ frequency: '1', monetary: '30000' });
    // The visit was three days ago, whatever came of it later.
    expect(found.get(memberId(shopper as never))).toMatchObject({ recency_days: '3', monetary: '1500' });
    const run = await runInForce(pool, shop.program.number);
    expect(run?.models).toMatchObject({ missing: expect.stringContaining('only 0 have bought again') });
  }, 60_000);

  test(
    'that was killed again and again ends like one that was not',
    async () => {
      const definition = { segments };
      const [quiet, troubled] = [
        await engine.shop({ mode: 'test', definition }),
        await engine.shop({ mode: 'test', definition }),
      ];
      // A step takes two thousand, and the last one must not be reached.
      const count = (kills + 2) * 2_000;
      const facts: (Record<string, string> | undefined)[][] = [];
      const reports: unknown[] = [];
      for (const shop of [quiet, troubled]) {
        const members = await addMembers(pool, shop, count, { joinedAt: shop.now() - 800 * dayMs });
        const program = await present(shop);
        const bought = purchasesOf(
          members.map((_, i) => i),
          lastWholeDay(program),
          99,
        );
        await writeDiary(bought.map((each) => ({ ...each, buyer: members[each.buyer]! })));
        if (shop === troubled) await killAgainAndAgain(program);
        await runNow(shop);
        const found = await exported(shop);
        facts.push(members.map((member) => ({ ...found.get(memberId(member as never)), member: '' })));
        const run = await newestRun(pool, program.number);
        expect(run?.status).toBe('done');
        const { models, cuts, tally, entered, gone, alerts, members: measured } = run!;
        reports.push({ models, cuts, tally, entered, gone, alerts, measured });
      }
      expect(reports[1]).toEqual(reports[0]);
      expect(facts[1]).toEqual(facts[0]);
    },
    120_000 + kills * 30_000,
  );
});

/** Lets the command work on a run, and kills it each time it has come further. */
async function killAgainAndAgain(program: Program): Promise<void> {
  await planRun(pool, program);
  const place = async () => {
    const run = await newestRun(pool, program.number);
    return `${run!.status} ${run!.memberThrough}`;
  };
  for (let kill = 0; kill < kills; kill += 1) {
    const before = await place();
    const command = {
      file: process.execPath,
      args: [join(checkout, 'src/segments/command.ts'), 'run', '--program', program.name],
      env: { DATABASE_URL: stores.databaseUrl, DATA_DIR: stores.folder },
    };
    const running = launch(command, join(stores.folder, `killed-${kill}.log`), 'ipc');
    await waitFor('the run goes on', async () => (await place()) !== before, 60_000);
    await endProcess(running.pid!, () => running.hasExited(), [{ signal: 'SIGKILL', waitMs: 10_000 }]);
  }
  expect((await newestRun(pool, program.number))?.status).not.toBe('done');
}

describe('at the till', () => {
  const rules = [
    amountRule('spend', 'points', [1, 100]),
    amountRule('for-regulars', 'points', [5, 100], { segments: ['regulars'] }),
  ];
  const rulesOf = (answer: { body: Record<string, unknown> }) =>
    (answer.body.awards as { rule: string }[]).map(({ rule }) => rule).sort();

  test('a rule for a segment fits from the run on that put the member in it, until one takes it out', async () => {
    const shop = await engine.shop({ mode: 'test', definition: { rules, segments } });
    const follower = followerOf(app);
    const [regular, once] = [await shop.enrol(), await shop.enrol()];
    for (let visit = 0; visit < 3; visit += 1) {
      expect(rulesOf(await shop.accrue(regular, 10))).toEqual(['spend']);
      await shop.advance(86_400);
    }
    await shop.accrue(once, 10);
    await shop.advance(86_400);
    await engine.drained();
    await readAll(app, follower);
    const before = await shop.care('GET', `/v1/members/${regular}/segments`);
    expect(before.body).toMatchObject({ segments: [], history: [] });
    expect(before.body).not.toHaveProperty('through');

    const factsVersion = async () =>
      (await pool.query('select sum(facts_version)::int as sum from member')).rows[0];
    const versions = await factsVersion();
    await runNow(shop);
    await present(shop);
    const rewarded = await shop.accrue(regular, 10);
    expect(rulesOf(rewarded)).toEqual(['for-regulars', 'spend']);
    expect(rulesOf(await shop.accrue(once, 10))).toEqual(['spend']);
    expect(await factsVersion()).toEqual(versions);
    const since = new Date(lastWholeDay(await present(shop)) * dayMs).toISOString().slice(0, 10);
    const inside = await shop.care('GET', `/v1/members/${regular}/segments`);
    expect(inside.body).toMatchObject({
      through: since,
      segments: expect.arrayContaining([{ name: 'regulars', since }]),
      facts: { frequency: 3, lifecycle: 'new', recency_score: expect.any(Number) },
      history: [],
    });

    await shop.advance(400 * 86_400);
    await engine.drained();
    await readAll(app, follower);
    await runNow(shop);
    await present(shop);
    expect(rulesOf(await shop.accrue(regular, 10))).toEqual(['spend']);
    const outside = await shop.care('GET', `/v1/members/${regular}/segments`);
    expect(outside.body).toMatchObject({
      segments: [{ name: 'leaving' }],
      facts: { lifecycle: 'lapsed', recency_score: 0 },
      history: expect.arrayContaining([expect.objectContaining({ name: 'regulars', since })]),
    });
    // What was decided before is explained by the segments of then.
    await engine.drained();
    const { explanation } = (await shop.care('GET', `/v1/operations/${String(rewarded.body.id)}`)).body;
    expect(explanation).toMatchObject({ facts: { segments: expect.arrayContaining(['regulars']) } });
    expect(explanation).not.toHaveProperty('missing');
    expect((await shop.care('GET', '/v1/members/nobody/segments')).status).toBe(404);
    expect((await shop.pos('GET', `/v1/members/${regular}/segments`)).status).toBe(403);
  }, 120_000);

  test('a member who goes in and out of a segment hundreds of times keeps those that never changed', async () => {
    const shop = await engine.shop({ definition: { rules, segments } });
    const member = await shop.enrol();
    const [run] = (
      await pool.query<{ run: number }>(
        `insert into segment_run (program, through_day, version, members_before, status, in_force_from)
         select $1, day, 1, 0, 'done', day from generate_series(1, 450) day returning run`,
        [shop.program.number],
      )
    ).rows;
    await pool.query(
      `insert into member_segment (member, segment, from_run, until_run)
       select $1::bigint, 'big', $2::bigint, null::bigint union all
       select $1, 'leaving', $2 + turn, $2 + turn + 1 from generate_series(1, 448, 2) turn`,
      [parseMemberId(String((await shop.care('GET', `/v1/members/${member}`)).body.id)), run!.run],
    );
    const { body } = await shop.care('GET', `/v1/members/${member}/segments`);
    expect(body.segments).toMatchObject([{ name: 'big' }]);
    expect(body.history).toHaveLength(199);
  });

  test('a promotion that gives to a segment gives to those who are in it when it is due', async () => {
    const gift = {
      name: 'gift',
      currency: 'points',
      segments: ['regulars'],
      during: { repeat: 'FREQ=DAILY' },
    };
    const promotions = [{ ...gift, give: { points: 7 } }];
    const shop = await engine.shop({ mode: 'test', definition: { promotions, segments } });
    const giver = createGiver(app);
    const members = await addMembers(pool, shop, 3, { joinedAt: shop.now() - dayMs });
    const through = lastWholeDay(await present(shop));
    const [regular] = members;
    await writeDiary([0, 1, 2].map((ago) => ({ buyer: regular!, day: through - ago, times: 1, spend: 100 })));
    await giveAll(giver, shop);
    await shop.advance(86_400);
    await giveAll(giver, shop);
    await runNow(shop);
    await present(shop);
    await shop.advance(86_400);
    await giveAll(giver, shop);
    const runs = await runsOf(shop);
    expect(runs.map(({ members: selected, given }) => [selected, given])).toEqual([
      [0, 0],
      [1, 1],
    ]);
    await engine.drained();
    const { rows } = await pool.query<{ member: number }>('select member from operation where program = $1', [
      shop.program.number,
    ]);
    expect(rows).toEqual([{ member: regular }]);
    await giver.stop();
  }, 120_000);

  test('a version that says nothing of segments knows none', async () => {
    const shop = await engine.shop({ mode: 'test', definition: { rules, segments } });
    const member = await shop.enrol();
    const { rows } = await pool.query<{ number: number }>('select max(number) as number from member');
    const program = await present(shop);
    const through = lastWholeDay(program);
    const buyer = rows[0]!.number;
    await writeDiary([0, 1, 2].map((ago) => ({ buyer, day: through - ago, times: 1, spend: 100 })));
    await runNow(shop);
    await present(shop);
    expect(rulesOf(await shop.accrue(member, 10))).toEqual(['for-regulars', 'spend']);
    const file = programFileSchema.parse({ timeZone: 'UTC', currencies: [{ code: 'points' }], rules });
    const draft = { file, source: JSON.stringify(file), actor: 'test', effectiveFrom: shop.now() };
    expect((await applyVersion(pool, program, draft)).status).toBe('applied');
    await present(shop);
    expect(rulesOf(await shop.accrue(member, 10))).toEqual(['spend']);
  }, 60_000);

  test('nobody sees what a run has decided before it is done', async () => {
    const shop = await engine.shop({ mode: 'test', definition: { rules, segments } });
    const member = await shop.enrol();
    const { rows } = await pool.query<{ number: number }>('select max(number) as number from member');
    const program = await present(shop);
    const through = lastWholeDay(program);
    await writeDiary(
      [0, 1, 2].map((ago) => ({ buyer: rows[0]!.number, day: through - ago, times: 1, spend: 100 })),
    );
    await planRun(pool, program);
    const decided = async () =>
      (await pool.query('select from member_segment where member = $1', [rows[0]!.number])).rowCount;
    for (let step = 0; step < 20 && (await decided()) === 0; step += 1) await takeStep(pool, program);
    expect(await decided()).toBeGreaterThan(0);
    await present(shop);
    expect(rulesOf(await shop.accrue(member, 10))).toEqual(['spend']);
    expect((await shop.care('GET', `/v1/members/${member}/segments`)).body).toMatchObject({ segments: [] });
    await workOn(pool, program, () => true);
    await present(shop);
    expect(rulesOf(await shop.accrue(member, 10))).toEqual(['for-regulars', 'spend']);
  }, 60_000);
});

describe('the night', () => {
  test('measures a day once its time has come in the zone of the program, once', async () => {
    const zone = 'America/New_York';
    const shop = await engine.shop({ mode: 'test', timeZone: zone, definition: { segments } });
    await addMembers(pool, shop, 1, { joinedAt: shop.now() });
    const segmenter = createSegmenter(app);
    const follower = followerOf(app);
    const runs = async (isRead = true) => {
      await app.programs.refresh();
      await engine.drained();
      if (isRead) await readAll(app, follower);
      await segmenter.tick();
      await segmenter.idle();
      return (await shop.admin('GET', '/v1/program/segments')).body.data as {
        through: string;
        status: string;
      }[];
    };
    // Far enough ahead of now, in the winter of New York: five hours behind.
    await shop.setClock(Date.parse('2030-01-10T06:59:00Z'));
    expect(await runs()).toEqual([]);
    await shop.setClock(Date.parse('2030-01-10T07:00:30Z'));
    expect(await runs()).toMatchObject([{ through: '2030-01-09', status: 'done' }]);
    expect(await runs()).toHaveLength(1);
    await shop.setClock(Date.parse('2030-01-11T06:30:00Z'));
    expect(await runs()).toHaveLength(1);
    // Nights that were missed are not made up for: the next one counts all that was bought, once the diary has it.
    await shop.accrue(await shop.enrol(), 10);
    await shop.setClock(Date.parse('2030-01-15T12:00:00Z'));
    expect(await runs(false)).toHaveLength(1);
    expect(await runs()).toMatchObject([
      { through: '2030-01-14', status: 'done' },
      { through: '2030-01-09' },
    ]);
    await segmenter.stop();
  }, 60_000);
});

describe('the command', () => {
  const run = commandOf('segments/command.ts', {
    PATH: process.env.PATH,
    DATABASE_URL: stores.databaseUrl,
    DATA_DIR: stores.folder,
  });

  test('measures, reports, draws and exports', async () => {
    const shop = await engine.shop({ mode: 'test', definition: { segments } });
    const members = await addMembers(pool, shop, 300, { joinedAt: shop.now() - 800 * dayMs });
    await writeDiary(purchasesOf(members, lastWholeDay(await present(shop)), 5));
    const [svg, csv] = [join(stores.folder, 'report.svg'), join(stores.folder, 'members.csv')];
    const { name } = shop.program;
    expect((await run('report', '--program', name)).complaint).toContain('has been measured yet');
    const first = await run('run', '--program', name, '--svg', svg);
    // Where it takes longer than two seconds it says how far it is.
    expect([first.code, first.complaint]).toEqual([
      0,
      expect.stringMatching(/^(\w+, through member number \d+…\n)*$/),
    ]);
    for (const word of ['BG/NBD of', 'Gamma-gamma', 'regulars', 'lifecycle', 'value', 'monetary score'])
      expect(first.out).toContain(word);
    expect(await readFile(svg, 'utf8')).toMatch(/^<svg[\s\S]*regulars[\s\S]*<\/svg>\n$/);
    expect((await run('run', '--program', name)).complaint).toContain('was there already');
    expect((await run('export', csv, '--program', name)).out).toContain('members through');
    const lines = (await readFile(csv, 'utf8')).trim().split('\n');
    const report = JSON.parse((await run('report', '--program', name, '--json')).out);
    expect(lines).toHaveLength(report.tally.all.members.members + 1);
    expect(lines[0]).toMatch(/^member,segments,recency_days/);
  }, 120_000);

  test.each([
    [['run', '--program', 'nobody'], 'there is no program nobody'],
    [['measure', '--program', 'x'], 'there is no program x'],
    [[], '--program needs one of'],
  ])('refuses %j', async (args, complaint) => {
    const ended = await run(...args);
    expect(ended.code).toBe(2);
    expect(ended.complaint).toContain(complaint);
  });
});
