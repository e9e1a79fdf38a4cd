/**
 * `npm run partner-conformance` on partners that are processes of their own: it passes the simulator and this service, and fails each
 * partner that is wrong with the sentence that says why.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createBench } from '#src/partners/conformance/bench.ts';
import { createClient } from '#src/partners/conformance/client.ts';
import { allChecks, type Result, runChecks } from '#src/partners/conformance/run.ts';
import { protocolVersion } from '#src/partners/protocol/calls.ts';
import { startEngine, waitFor } from './harness.ts';
import { clearingOf } from './house/clearing.ts';
import { commandOf } from './house/command.ts';
import { linked, openPartner } from './house/partner.ts';
import { keyId, secret, startSimulator, startWrongPartners } from './house/partner-processes.ts';

const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

const credentials = { ...process.env, PARTNER_KEY: keyId, PARTNER_SECRET: secret };
const member = ['--account', 'FF000001', '--name', 'MR XIAOMING LI'];
/** Alone it takes five seconds; files beside it take the cores. */
const runMsMax = 150_000;
const conformance = commandOf('partners/conformance/command.ts', credentials, runMsMax);

interface Report {
  readonly protocol: string;
  readonly faults: number;
  readonly results: readonly Result[];
}

function brokenOf(results: readonly Result[]): Readonly<Record<string, string>> {
  const broken = results.filter(({ passed }) => !passed);
  return Object.fromEntries(broken.map(({ check, fault }) => [check, fault!]));
}

/** Whose promises a partner breaks, with the sentences; by the command. */
async function faultsOf(url: string): Promise<Readonly<Record<string, string>>> {
  const ended = await conformance(url, ...member, '--watch-ms', '600', '--json');
  expect(ended.complaint).toBe('');
  const report = JSON.parse(ended.out) as Report;
  const faults = brokenOf(report.results);
  expect([report.protocol, report.faults]).toEqual([protocolVersion, Object.keys(faults).length]);
  expect(ended.code).toBe(report.faults > 0 ? 1 : 0);
  return faults;
}

const wrongPartners = await startWrongPartners(folder);
afterAll(() => wrongPartners.end());

/** The same run on each wrong partner, all of them at once: most of a run is watching that nothing moves. */
async function runOn(kind: string): Promise<Readonly<Record<string, string>>> {
  const url = new URL(wrongPartners.urls[kind]!);
  const client = createClient({ url, keyId, secret, timeoutMs: 30_000 });
  const [account, name] = [member[1]!, member[3]!];
  const settings = { account, name, currency: undefined, pendingMs: 60_000, watchMs: 600 };
  return brokenOf(await runChecks(createBench(client, settings), allChecks, () => {}));
}
const faultsOfWrong = Object.fromEntries(Object.keys(wrongPartners.urls).map((kind) => [kind, runOn(kind)]));

describe('passes', () => {
  test('the simulator, which has afterwards what it had before', async () => {
    const books = join(folder, 'simulator');
    const partner = await startSimulator(books, '--accounts', '1', '--points', '12', '--linked');
    const sums = async () => (await (await fetch(`${partner.url}/simulator/sums`)).json()) as object;
    expect(await sums()).toMatchObject({ points: 12, net: 0 });
    expect(await faultsOf(partner.url)).toEqual({});
    expect(await sums()).toMatchObject({ points: 12, net: 0, balanced: true });
    await partner.end();
  }, 180_000);

  test('the parts that the wrong ones are made of', async () => {
    expect(await faultsOfWrong.right).toEqual({});
  }, 180_000);

  test('this service', async () => {
    const engine = await startEngine();
    try {
      const shop = await engine.shop();
      const sky = await openPartner(engine, shop);
      const guest = await shop.enrol('guest');
      await shop.admin('PATCH', `/v1/members/${guest}`, { attributes: { name: 'Li Xiaoming' } });
      const account = await linked(shop, sky, guest, 'FF000001');
      // As the process `alliance` does: a day is told of what clearing has read.
      const follower = clearingOf(engine.app);
      let isOver = false;
      const clearing = waitFor(
        'the run is over',
        async () => {
          await follower.turn();
          return isOver;
        },
        runMsMax,
      );
      const run = commandOf('partners/conformance/command.ts', process.env, runMsMax);
      const signing = ['--key', sky.keyId, '--secret', sky.secret];
      const ended = await run(
        engine.url,
        '--account',
        account,
        '--name',
        'LI/XIAOMING',
        ...signing,
        '--watch-ms',
        '500',
      );
      isOver = true;
      await clearing;
      expect(ended.out).toMatch(/All \d+ kept\.\n$/);
      expect(ended.out).not.toContain('BROKEN');
      expect(ended.code).toBe(0);
    } finally {
      await engine.end();
    }
  }, 180_000);
});

const wrongs: readonly (readonly [
  what: string,
  kind: string,
  checks: readonly string[],
  sentence: string,
])[] = [
  [
    'credits twice',
    'doubleCredit',
    ['repeat-accrual', 'together-accrual'],
    'The same accrual was sent three times. 300 points should have been given, and 900 were given.',
  ],
  [
    'does not repeat its first answer',
    'noReplay',
    ['repeat-accrual', 'together-accrual'],
    'The same accrual again, reference and body, was answered with 422 reference_reused in place of its first answer.',
  ],
  [
    'rounds what it credits',
    'wrongRounding',
    ['exact', 'copied'],
    'An accrual of 1 points was answered as succeeded. 1 points should have been given, and 0 were given.',
  ],
  [
    'accepts a stale signature',
    'acceptsStale',
    ['stale', 'future'],
    'A signature that was 330 seconds old was answered with 201 succeeded in place of 401 signature_invalid.',
  ],
  [
    'takes back more than the original',
    'partialOverOriginal',
    ['partial-accrual', 'partial-redemption', 'partial-together-accrual', 'partial-together-redemption'],
    'Taking back 451 points of an accrual of 1000 points, of which 450 were left, was answered with 201 succeeded in place of a refusal with reversal_exceeds_original.',
  ],
  [
    'books what it has refused, later and silently',
    'silentLateSuccess',
    ['void-accrual'],
    'An accrual that arrived after it was voided was answered with 422 reference_reused. 300 points were given all the same.',
  ],
  [
    'leaves out of a day what was taken back',
    'forgetsReversals',
    ['day'],
    'A reversal that was booked is not among the movements of its day.',
  ],
];

describe('fails a partner that', () => {
  test.each(wrongs)(
    '%s, for that alone',
    async (_, kind, checks, sentence) => {
      const faults = (await faultsOfWrong[kind])!;
      expect(faults[checks[0]!]).toBe(sentence);
      expect(Object.keys(faults).toSorted()).toEqual(checks.toSorted());
    },
    180_000,
  );

  test('is not there', async () => {
    const ended = await conformance('http://127.0.0.1:9', ...member);
    expect([ended.code, ended.out]).toEqual([1, expect.stringMatching(/accruals was not answered: /)]);
  });
});

describe('npm run partner-conformance', () => {
  test('ends with code 1 where something is broken, and says what as JSON', async () => {
    await faultsOfWrong.wrongRounding;
    const faults = await faultsOf(wrongPartners.urls.wrongRounding!);
    expect(Object.keys(faults).toSorted()).toEqual(['copied', 'exact']);
  }, 180_000);

  test('says what was typed wrongly', async () => {
    const typed = async (...args: string[]) => {
      const { code, complaint } = await conformance(...args);
      return [code, complaint.split('\n')[0]];
    };
    expect(await typed()).toEqual([2, 'the address of the endpoint is missing: https://…']);
    expect(await typed('http://127.0.0.1:9', '--name', 'x')).toEqual([2, '--account is missing']);
    expect(await typed('http://127.0.0.1:9', ...member, '--only', 'nothing')).toEqual([
      2,
      'there is no check nothing; --list names them',
    ]);
  });

  test('makes the checks that are named, and lists all', async () => {
    // With nobody else on it: two runs on one account would measure each other.
    await faultsOfWrong.wrongRounding;
    const url = wrongPartners.urls.wrongRounding!;
    const ended = await conformance(url, ...member, '--only', 'inquiry-unused');
    expect([ended.code, ended.out]).toEqual([0, expect.stringContaining('All 3 kept.')]);
    expect((await conformance('--list')).out).toContain(
      'stale: A signature that is more than 300 seconds old',
    );
  });
});
