/** A program whose promotions give, and what its runs and the books say of them. */
import type pg from 'pg';
import type { Giver } from '#src/jobs/gives.ts';
import type { Shop } from './shop.ts';
import { waitFor } from './waiting.ts';

export interface RunView {
  readonly id: string;
  readonly promotion: string;
  readonly occurrence: string;
  readonly status: string;
  readonly members: number;
  readonly given: number;
  readonly open: number;
  readonly points: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly chunks: { readonly total: number; readonly done: number; readonly attempts: number };
}

/** The program's runs, oldest first. */
export async function runsOf(shop: Shop): Promise<RunView[]> {
  const answer = await shop.admin('GET', '/v1/program/gives?limit=100');
  if (answer.status !== 200) throw new Error(`the runs cannot be read: ${answer.status} ${answer.code}`);
  return (answer.body.data as RunView[]).toReversed();
}

/** Members as an import leaves them, without identifiers: `birthDay` is month * 100 + day. */
export async function addMembers(
  pool: pg.Pool,
  shop: Shop,
  count: number,
  { joinedAt, birthDay = 0 }: { readonly joinedAt: number; readonly birthDay?: number },
): Promise<number[]> {
  const { rows } = await pool.query<{ number: number }>(
    `insert into member (program, joined_at, birth_day) select $1, $2, $3 from generate_series(1, $4::int) returning number`,
    [shop.program.number, new Date(joinedAt).toISOString(), birthDay, count],
  );
  return rows.map(({ number }) => number);
}

export interface GiftsInBooks {
  readonly occurrence: string;
  readonly promotion: string;
  readonly members: number;
  readonly operations: number;
  readonly points: number;
}

/** What the ledger says was given, counted from operations and their entries. */
export async function giftsInBooks(pool: pg.Pool, program: number): Promise<GiftsInBooks[]> {
  const { rows } = await pool.query<GiftsInBooks>(
    `select o.request #>> '{body,give,occurrence}' as occurrence, o.request #>> '{body,give,promotion}' as promotion,
       count(distinct o.member)::int as members, count(distinct o.operation)::int as operations, sum(e.points)::int as points
     from operation o join entry e on e.operation = o.operation and e.account = 'wallet'
     where o.program = $1 and o.kind = 'accrual' and o.client = 0 and o.request #> '{body,give}' is not null
     group by 1, 2 order by 1, 2`,
    [program],
  );
  return rows;
}

/** Ticks until no run of the program is under way. */
export async function giveAll(giver: Giver, shop: Shop, timeoutMs = 60_000): Promise<void> {
  await waitFor(
    'all runs are done',
    async () => {
      await giver.tick();
      await giver.idle();
      return (await runsOf(shop)).every(({ status }) => status === 'done' || status === 'paused');
    },
    timeoutMs,
  );
}
