/**
 * Random interleavings of everything that can happen in two households, several things at a time on two API processes and the
 * worker: afterwards nothing is under way or held, the points of all are what was given less what was redeemed, nobody is below
 * nothing, and the audit finds nothing. A failure prints the seed and the sequence. `POOL_RUNS=50` is the long form.
 */
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { finishPools } from '#src/jobs/pools.ts';
import { createMembers } from '#src/members/members.ts';
import { type Answer, reference, type Shop, startEngine, waitFor } from './harness.ts';
import {
  figuresOf,
  give,
  household,
  householdFile,
  join,
  leave,
  partsOf,
  type Resident,
  spend,
} from './house/household.ts';

const runs = Number(process.env.POOL_RUNS ?? 6);

const engine = await startEngine();
afterAll(() => engine.end());
const second = await engine.anotherApi();
const shop = await engine.shop({ definition: householdFile });
/** The same program at the other API. */
const other: Shop = {
  ...shop,
  checkout: (method, path, body, options) =>
    second.http(method, path, body, { key: shop.tokens.checkout, ...options }),
};

type Step =
  | {
      readonly do: 'spend';
      readonly who: number;
      readonly pool: number;
      readonly points: number;
      readonly at: boolean;
    }
  | { readonly do: 'own' | 'give'; readonly who: number; readonly points: number }
  | { readonly do: 'join' | 'leave'; readonly who: number; readonly pool: number }
  | { readonly do: 'hold'; readonly who: number; readonly pool: number; readonly points: number }
  | { readonly do: 'capture' | 'release' | 'refund'; readonly pick: number; readonly points: number }
  | { readonly do: 'suspend' | 'resume' | 'close'; readonly who: number }
  | { readonly do: 'merge'; readonly who: number; readonly into: number }
  | { readonly do: 'upkeep' };

const residentsCount = 6;
const who = fc.nat(residentsCount - 1);
const pool = fc.nat(1);
const points = fc.integer({ min: 1, max: 60 });
const of = <Name extends Step['do']>(...names: Name[]) => fc.constantFrom(...names);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 9, arbitrary: fc.record({ do: of('spend'), who, pool, points, at: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: of('own', 'give'), who, points }) },
  { weight: 3, arbitrary: fc.record({ do: of('join', 'leave'), who, pool }) },
  { weight: 3, arbitrary: fc.record({ do: of('hold'), who, pool, points }) },
  { weight: 4, arbitrary: fc.record({ do: of('capture', 'release'), pick: fc.nat(20), points }) },
  { weight: 3, arbitrary: fc.record({ do: of('refund'), pick: fc.nat(20), points }) },
  { weight: 2, arbitrary: fc.record({ do: of('suspend', 'resume'), who }) },
  { weight: 1, arbitrary: fc.record({ do: of('close'), who }) },
  { weight: 1, arbitrary: fc.record({ do: of('merge'), who, into: who }) },
  { weight: 1, arbitrary: fc.record({ do: of('upkeep') }) },
);
/** What stands together happens at once. */
const story = fc.array(fc.array(step, { minLength: 2, maxLength: 8, size: 'max' }), {
  minLength: 3,
  maxLength: 12,
  size: 'max',
});

interface Told {
  readonly pools: readonly string[];
  readonly residents: readonly Resident[];
  readonly redeemed: { pool: string; id: string }[];
  readonly held: { pool: string; id: string; points: number }[];
  given: number;
  taken: number;
  back: number;
}

/** What may be answered; whatever else is answered is a fault. */
const refusals = [
  ...[
    'insufficient_points',
    'spender_not_allowed',
    'member_not_active',
    'member_merging',
    'member_not_found',
  ],
  ...[
    'hold_already_resolved',
    'member_in_pool',
    'pool_dissolved',
    'refund_exceeds_redemption',
    'reference_in_progress',
    'pool_limit',
  ],
];

function checked(answer: Answer): boolean {
  if (answer.status === 200 || answer.status === 201) return true;
  if (!refusals.includes(answer.code)) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return false;
}

/** Whoever is told that something is under way asks again, under the same reference. */
async function done(call: () => Promise<Answer>): Promise<Answer> {
  return waitFor(
    'a call is answered for good',
    async () => {
      const answer = await call();
      const isOpen = answer.status === 202 || ['outcome_unknown', 'not_ready'].includes(answer.code);
      return isOpen ? undefined : answer;
    },
    30_000,
  );
}

async function resolve(
  told: Told,
  { pool: of, id }: Told['held'][number],
  mode: 'capture' | 'release',
  points: number,
): Promise<void> {
  const body = { reference: reference(), ...(mode === 'capture' ? { points } : {}) };
  const answer = await done(() => shop.checkout('POST', `/v1/pools/${of}/holds/${id}/${mode}`, body));
  if (!checked(answer) || mode === 'release') return;
  told.taken += points;
  told.redeemed.push({ pool: of, id: String(answer.at('redemption.id')) });
}

async function take(told: Told, made: Step): Promise<void> {
  const { residents, pools } = told;
  const life = (action: string, name: number, more: object = {}) => {
    const body = { reference: reference(), reason: 'chance', ...more };
    return done(() => shop.admin('POST', `/v1/members/${residents[name]!.member}/${action}`, body));
  };
  switch (made.do) {
    case 'spend': {
      const one = residents[made.who]!;
      const named = reference();
      const at = made.at ? shop : other;
      const target = pools[made.pool]!;
      const answer = await done(() => spend(at, target, one, made.points, { reference: named }));
      if (!checked(answer)) return;
      expect(partsOf(answer).reduce((sum, part) => sum + part.points, 0)).toBe(made.points);
      told.taken += made.points;
      told.redeemed.push({ pool: target, id: answer.id });
      return;
    }
    case 'hold': {
      const target = pools[made.pool]!;
      const body = { member: residents[made.who]!.card, reference: reference(), points: made.points };
      const answer = await done(() => other.checkout('POST', `/v1/pools/${target}/holds`, body));
      if (checked(answer)) told.held.push({ pool: target, id: answer.id, points: made.points });
      return;
    }
    case 'capture':
    case 'release': {
      const one = told.held[made.pick % Math.max(1, told.held.length)];
      if (one) await resolve(told, one, made.do, Math.min(made.points, one.points));
      return;
    }
    case 'own': {
      const body = { member: residents[made.who]!.member, reference: reference(), points: made.points };
      if (checked(await done(() => shop.checkout('POST', '/v1/redemptions', body))))
        told.taken += made.points;
      return;
    }
    case 'give':
      await give(
        shop,
        residents[made.who]!,
        made.points,
        ['month', 'year', 'forever'][made.points % 3]!,
      ).then(
        () => {
          told.given += made.points;
        },
        (refused: unknown) => {
          if (!/member_not_active|member_merging/.test(String(refused))) throw refused;
        },
      );
      return;
    case 'join':
      checked(await join(shop, pools[made.pool]!, residents[made.who]!));
      return;
    case 'leave':
      checked(await leave(shop, pools[made.pool]!, residents[made.who]!));
      return;
    case 'refund': {
      const of = told.redeemed[made.pick % Math.max(1, told.redeemed.length)];
      if (!of) return;
      const body = { reference: reference(), points: made.points };
      const answer = await done(() =>
        shop.care('POST', `/v1/pools/${of.pool}/redemptions/${of.id}/refunds`, body),
      );
      if (checked(answer)) told.back += Number(answer.body.points);
      return;
    }
    case 'merge': {
      const answer = await life('merge', made.who, { into: residents[made.into]!.member });
      // It may be the survivor of that very member by then.
      if (answer.code !== 'validation_failed') checked(answer);
      return;
    }
    case 'upkeep':
      await finishPools(engine.app, 100);
      return;
    default:
      checked(await life(made.do, made.who));
  }
}

/** Everything that is under way is at its end, and what was merged has moved. */
async function settled(program: number): Promise<void> {
  const { merges } = createMembers(engine.app);
  await waitFor(
    'nothing is under way or held',
    async () => {
      await finishPools(engine.app, 100);
      await merges.resume(100);
      await engine.drained();
      const { rows } = await engine.pool.query<{ open: number }>(
        `select (select count(*) from pool_redemption where program = $1 and state in ('collecting', 'giving_back', 'capturing'))::int
           + (select count(*) from pool_refund where state = 'refunding')::int
           + (select count(*) from hold h join member m on m.number = h.member where m.program = $1 and h.status = 'held')::int
           + (select count(*) from member where program = $1 and status = 'merging')::int
           + (select count(*) from lot l join member m on m.number = l.member join member s on s.number = m.merged_into
               where m.program = $1 and m.status = 'merged' and s.status <> 'closed' and l.points > 0)::int as open`,
        [program],
      );
      return rows[0]!.open === 0 ? true : undefined;
    },
    60_000,
  );
}

test(
  'whatever happens at once in two households, every point is somewhere once',
  async () => {
    await fc.assert(
      fc.asyncProperty(story, async (chapters) => {
        const houses = [await household(shop, [140, 130, 120]), await household(shop, [125, 0, 150])];
        const told: Told = {
          pools: houses.map((house) => house.pool),
          residents: houses.flatMap(({ residents }) => residents),
          redeemed: [],
          held: [],
          ...{ given: 665, taken: 0, back: 0 },
        };
        for (const chapter of chapters) {
          const outcomes = await Promise.allSettled(chapter.map((made) => take(told, made)));
          for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
        }
        // Nobody keeps a hold for ever.
        for (const one of told.held) await resolve(told, one, 'release', 0);
        await settled(shop.program.number);
        const { rows } = await engine.pool.query<{ points: number }>(
          `select coalesce(sum(points), 0)::int as points from lot where member = any($1::bigint[])`,
          [told.residents.map(({ member }) => Number.parseInt(member.slice(4), 36))],
        );
        expect(rows[0]!.points).toBe(told.given - told.taken + told.back);
        const figures = await figuresOf(shop, told.residents);
        expect(figures.every(({ held, debt, available }) => held + debt === 0 && available >= 0)).toBe(true);
        await engine.audit();
      }),
      { numRuns: runs, endOnFailure: true },
    );
  },
  60_000 + runs * 30_000,
);
