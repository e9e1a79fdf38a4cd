/**
 * Exchanges with the partner simulator, a process of its own, under each of its behaviours: after every step of the saga, points
 * that are here, on their way and there are together what there were before, and the exchange ends or waits for a person.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Call } from '#src/http/route.ts';
import { createExchanging } from '#src/partners/exchange/assembly.ts';
import { createEndpoints } from '#src/partners/exchange/endpoints.ts';
import { type Exchanging, exchangePoints } from '#src/partners/exchange/exchanges.ts';
import type { Patience } from '#src/partners/exchange/policy.ts';
import { resolveExchange, type Verdict } from '#src/partners/exchange/resolving.ts';
import { readExchange } from '#src/partners/exchange/rows.ts';
import { createSaga } from '#src/partners/exchange/saga.ts';
import type { ExchangeBody } from '#src/partners/exchange/schemas.ts';
import { parseExchangeId, type State } from '#src/partners/exchange/types.ts';
import { farDay, reconcileDay } from '#src/partners/reconciliation/comparing-days.ts';
import { createDays } from '#src/partners/reconciliation/days.ts';
import type { Sums } from '#src/partners/simulator/books.ts';
import { type Behaviour, behaviours } from '#src/partners/simulator/magic.ts';
import { parseMemberId } from '#src/values.ts';
import { reference, startEngine, waitFor } from './harness.ts';
import { allied, flyer, partnerAccount } from './house/alliance.ts';
import { clearAll, clearingOf } from './house/clearing.ts';
import { keyId, secret, startSimulator } from './house/partner-processes.ts';

const engine = await startEngine();
afterAll(() => engine.end());
const { app, pool } = engine;
const { identity } = app;
const shop = await engine.shop();
const folder = await mkdtemp(join(tmpdir(), 'simulator-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const sides = [
  '--accounts',
  '60',
  '--points',
  '1000',
  '--linked',
  '--pending-ms',
  '200',
  '--slow-ms',
  '1000',
];
let simulator = await startSimulator(folder, ...sides);
afterAll(() => simulator.end());
const { url } = simulator;
const same = { give: 1, receive: 1 };
const { name, partner } = await allied(app, shop, { url, keyId, secret }, { out: same, in: same });

let accounts = 0;
function nextAccount(): string {
  accounts += 1;
  return `FF${String(accounts).padStart(6, '0')}`;
}

const quick: Partial<Patience> = {
  timeoutMs: 400,
  retryMs: 5,
  retryMsMax: 20,
  doubtsMax: 8,
  openMs: 10,
  openMsMax: 20,
};

const sums = async () => (await (await fetch(`${url}/simulator/sums`)).json()) as Sums;

/** Points of all accounts there, beside those that they were opened with. */
async function there(): Promise<number> {
  const { points, opened, balanced } = await sums();
  expect(balanced).toBe(true);
  return points - opened;
}

const opening = 500;

interface Standing {
  readonly available: number;
  readonly held: number;
  /** To the partner by our books. */
  readonly went: number;
  /** To the member's account by the partner's books. */
  readonly came: number;
}

/** An exchange of one member from its beginning, of which each step is looked at. */
async function exchanging(patience: Partial<Patience> = {}) {
  const [wentBefore, cameBefore] = [await partnerAccount(pool, shop, partner.number), await there()];
  const member = await flyer(app, shop, partner, opening, nextAccount);
  const seen: Standing[] = [];

  async function standing(): Promise<Standing> {
    await engine.drained();
    const { available, held, debt, pending } = await shop.balances(member);
    expect([debt, pending]).toEqual([0, 0]);
    const went = (await partnerAccount(pool, shop, partner.number)) - wentBefore;
    return { available, held, went, came: (await there()) - cameBefore };
  }

  /** Nobody has points that nobody gave: out, the partner has at most what is held or gone here; in, here is at most what it took. */
  async function look(): Promise<void> {
    const now = await standing();
    seen.push(now);
    const { available, held, went, came } = now;
    expect(available + held + went, JSON.stringify(now)).toBe(opening);
    const [isOutFair, isInFair] = [
      went <= came && came <= went + held,
      held === 0 && came <= went && went <= 0,
    ];
    expect(isOutFair || isInFair, JSON.stringify(now)).toBe(true);
  }

  const plain = createExchanging(app, { ...quick, ...patience });
  const { gathered } = plain;
  const watched: Exchanging = {
    ...plain,
    gathered: {
      ...gathered,
      async advance(change) {
        const made = await gathered.advance(change);
        await look();
        return made;
      },
      async beginCall(call) {
        const begun = await gathered.beginCall(call);
        await look();
        return begun;
      },
    },
  };
  const saga = createSaga(watched);
  const context: Exchanging = { ...watched, saga };

  return {
    seen,
    standing,
    async begin(direction: 'out' | 'in', points: number): Promise<string> {
      const body = { member, partner: name, direction, points, reference: reference() } as ExchangeBody;
      const caller = { program: shop.program, client: 1, keyId: 'test', role: 'checkout' };
      const call = { caller, body, waitMs: 0, params: {}, query: {} } as unknown as Call<ExchangeBody>;
      await exchangePoints(context, call).catch(() => undefined);
      const { rows } = await pool.query<{ exchange: string }>(
        `select replace(exchange::text, '-', '') as exchange from exchange where member = $1`,
        [parseMemberId(member)],
      );
      return `exc_${rows[0]!.exchange}`;
    },
    /** Drives as the worker does, until it has ended or waits for a person. */
    driven: (id: string): Promise<State> =>
      waitFor(
        `${id} has ended`,
        async () => {
          const { state } = await saga.drive(parseExchangeId(id)!, Date.now() + 10_000);
          return ['completed', 'refused', 'reversed', 'in_review'].includes(state) ? state : undefined;
        },
        30_000,
      ),
    async resolved(id: string, verdict: Verdict): Promise<void> {
      const decision = { verdict, actor: 'anna', reason: 'asked by telephone' };
      await resolveExchange(pool, identity, parseExchangeId(id)!, decision);
    },
    read: async (id: string) => (await readExchange(pool, identity, parseExchangeId(id)!))!,
  };
}

/** What becomes of an exchange whose amount chooses the behaviour; in review, what the partner has booked. */
const ends: Readonly<Record<Behaviour, { readonly state: State; readonly booked?: 'out' | 'in' }>> = {
  plain: { state: 'completed' },
  never_tells: { state: 'in_review' },
  fails_unbooked: { state: 'completed' },
  fails_booked: { state: 'completed' },
  arrives_twice: { state: 'completed' },
  // Points of a pending redemption are gone at once, those of a pending accrual come later.
  pending: { state: 'in_review', booked: 'in' },
  pending_success: { state: 'completed' },
  pending_failure: { state: 'refused' },
  drops_reply: { state: 'completed' },
  slow: { state: 'completed' },
  refuses: { state: 'refused' },
  late_copy: { state: 'completed' },
  late_copy_refused: { state: 'refused' },
};
const cases: [Behaviour, number][] = [
  ['plain', 80],
  ...Object.entries(behaviours).map(([points, [behaviour]]): [Behaviour, number] => [
    behaviour,
    Number(points),
  ]),
];

describe.each(['out', 'in'] as const)('points that go %s', (direction) => {
  const sign = direction === 'out' ? 1 : -1;

  test.each(cases)('are neither created nor lost where the partner: %s', async (behaviour, points) => {
    // Somebody looks at what stays pending after the first answer; everybody else has time.
    const own = await exchanging(behaviour === 'pending' ? { pendingMsMax: 0 } : {});
    const id = await own.begin(direction, points);
    const { state, booked } = ends[behaviour];
    expect(await own.driven(id)).toBe(state);
    const isThere = state === 'completed' || booked === direction;
    const isGone = state === 'completed' || (state === 'in_review' && direction === 'out');
    const left = direction === 'out' ? (isGone ? opening - points : opening) : undefined;
    await waitFor('nothing is on its way', async () => (await sums()).late === 0);
    const now = await own.standing();
    expect(now.came).toBe(isThere ? sign * points : 0);
    expect(now.went).toBe(state === 'completed' ? sign * points : 0);
    expect(now.held).toBe(state === 'in_review' && direction === 'out' ? points : 0);
    expect(now.available).toBe(left ?? opening + (state === 'completed' ? points : 0));
    expect(own.seen.length).toBeGreaterThan(1);
    expect((await own.read(id)).state).toBe(state);
  });

  test('come back where a person says that the partner never booked them', async () => {
    const own = await exchanging();
    const id = await own.begin(direction, 90);
    expect(await own.driven(id)).toBe('in_review');
    await own.resolved(id, 'refused');
    expect(await own.driven(id)).toBe('refused');
    expect(await own.standing()).toEqual({ available: opening, held: 0, went: 0, came: 0 });
  });

  test('are neither created nor lost where the partner is killed with the answer on its way', async () => {
    const own = await exchanging({ doubtsMax: 100_000 });
    const begun = own.begin(direction, 98);
    await waitFor('something was sent', () => own.seen.length > (direction === 'out' ? 1 : 0));
    await simulator.end('SIGKILL');
    const id = await begun;
    const { port } = new URL(url);
    simulator = await startSimulator(folder, ...sides, '--port', port);
    expect(await own.driven(id)).toBe('completed');
    const available = opening - sign * 98;
    expect(await own.standing()).toEqual({ available, held: 0, went: sign * 98, came: sign * 98 });
  });
});

test('the day of both books is the same, but for what waits for a person', async () => {
  await engine.drained();
  await clearAll(pool, clearingOf(app));
  const { rows } = await pool.query<{ day: string; parked: number }>(
    `select to_char(to_timestamp(max(occurred_at) / 1000) at time zone 'UTC', 'YYYY-MM-DD') as day,
       count(*) filter (where state = 'in_review')::int as parked
     from exchange where partner = $1`,
    [partner.number],
  );
  const { day, parked } = rows[0]!;
  const endpoint = (await createEndpoints(pool, identity).of(partner.number))!;
  const traffic = { calls: 0, bytes: 0 };
  const surroundings = {
    ...app,
    ...app.telemetry,
    databaseUrl: engine.stores.databaseUrl,
    days: createDays(pool),
  };
  const pair = { program: shop.program, partner: partner.number };
  const farOn = (each: string) => farDay(endpoint, each, 5_000, traffic);
  const { made } = await reconcileDay(surroundings, { pair, day, actor: 'test' }, farOn);
  const { matched, differences } = made[0]!;
  const { missing_there: missing, status, ...others } = differences;
  expect(others).toEqual({ missing_here: 0, amount: 0, date: 0, duplicate: 0 });
  expect(missing + status).toBeLessThanOrEqual(parked);
  expect(matched).toBeGreaterThan(0);
});
