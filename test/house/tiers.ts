/** Programs with a ladder, and the work that keeps tiers: the follower of the diary with its reviews, announcing, recalculating. */
import type pg from 'pg';
import type { App } from '#src/app.ts';
import { createFollower } from '#src/diary/follower.ts';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import { reviewTouched, startTiers } from '#src/jobs/tiers.ts';
import type { Shop, ShopOptions } from './shop.ts';
import { waitFor } from './waiting.ts';

export type FileLadder = NonNullable<ProgramFileInput['ladders']>[number];

/** Blue for everybody, silver from 100 points in a calendar year, gold from 300: through the next year, one step down after. */
export const yearly: FileLadder = {
  name: 'status',
  tiers: [
    { name: 'blue' },
    { name: 'silver', reach: { all: [{ measure: 'points', currency: 'points', atLeast: 100 }] } },
    { name: 'gold', reach: { all: [{ measure: 'points', currency: 'points', atLeast: 300 }] } },
  ],
  period: { kind: 'calendar_year' },
  validity: { kind: 'end_of_next_period' },
  down: 'one_step',
};

/** One point a unit for everybody, and one more for who is silver or gold. */
export function tieredDefinition(
  ladders: readonly FileLadder[] = [yearly],
  more: ShopOptions['definition'] = {},
): NonNullable<ShopOptions['definition']> {
  return {
    rules: [
      { name: 'spend', currency: 'points', earn: { by: 'amount', points: 1, perMinorUnits: 100 } },
      {
        name: 'better',
        currency: 'bonus',
        tiers: ladders[0]!.tiers.slice(1).map(({ name }) => name),
        earn: { by: 'amount', points: 1, perMinorUnits: 100 },
      },
    ],
    currencies: [{ code: 'points' }, { code: 'bonus' }],
    ladders: [...ladders],
    ...more,
  };
}

export interface TierHouse {
  /** Waits until everything booked is in the diary, reviewed and announced. */
  settled(): Promise<void>;
  /** Begins what is due and waits until no run is open. */
  recalculated(): Promise<void>;
  /** Begins what is due, without reading anything before; answers how many programs wait for the diary. */
  tick(): Promise<number>;
  stop(): Promise<void>;
}

async function openWork(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ open: number }>(
    `select (select count(*) from tier_change where is_move and (facts is null or told_at is null))
       + (select count(*) from tier_run where status = 'running') as open`,
  );
  return rows[0]!.open;
}

/** The tiers' worker inside the test's process. */
export function startTierHouse(app: App, drained: () => Promise<void>): TierHouse {
  const { pool, programs, telemetry } = app;
  const { log, metrics } = telemetry;
  const follower = createFollower({ pool, programs, log, metrics, hook: reviewTouched(programs, log) });
  const work = startTiers(app);
  async function read(): Promise<void> {
    await drained();
    while ((await follower.turn()) > 0);
  }
  async function settled(): Promise<void> {
    await read();
    await waitFor('every change of tier is known and told', async () => (await openWork(pool)) === 0, 60_000);
    // What was announced stands in the books behind what was read.
    await read();
  }
  return {
    settled,
    async tick() {
      await programs.refresh();
      const waiting = await work.tick();
      await work.idle();
      return waiting;
    },
    async recalculated() {
      await programs.refresh();
      await waitFor(
        'no recalculation is open',
        async () => {
          const waiting = await work.tick();
          await work.idle();
          const { rowCount } = await pool.query(`select from tier_run where status = 'running'`);
          if (waiting > 0) await read();
          return waiting === 0 && rowCount === 0;
        },
        60_000,
      );
      await settled();
    },
    stop: () => work.stop(),
  };
}

export interface LadderView {
  readonly ladder: string;
  readonly tier: string;
  readonly since: string;
  readonly until?: string;
  readonly origin: string;
  readonly progress: { readonly next?: ProgressView; readonly keep?: ProgressView };
  readonly alliances: Readonly<Record<string, string>>;
  readonly grants: readonly { readonly id: string; readonly tier: string; readonly reason?: string }[];
  readonly history: readonly { readonly from: string; readonly to: string; readonly since: string }[];
}

interface ProgressView {
  readonly tier: string;
  readonly isMet: boolean;
  readonly by?: string;
  readonly goals: readonly { readonly missing: number; readonly counted: number }[];
}

/** Where a member stands on the first ladder. */
export async function standingOf(shop: Shop, member: string): Promise<LadderView> {
  const answer = await shop.care('GET', `/v1/members/${member}/tier`);
  if (answer.status !== 200) throw new Error(`the tier cannot be read: ${answer.status} ${answer.code}`);
  return (answer.body.ladders as LadderView[])[0]!;
}
