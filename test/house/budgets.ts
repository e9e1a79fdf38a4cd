/** What the books say of a program's budgets, and members who lie in all shards. */
import type { App } from '#src/app.ts';
import { parseMemberId } from '#src/values.ts';
import type { Shop } from './shop.ts';

export interface BudgetStanding {
  /** What operations gave, less what came back. */
  readonly given: number;
  readonly consumed: number;
  readonly givenBack: number;
  /** What open leases still hold. */
  readonly leased: number;
}

/** A budget in the books. */
export async function standingOf(
  { pool }: Pick<App, 'pool'>,
  shop: Shop,
  budget: number,
): Promise<BudgetStanding> {
  const { rows } = await pool.query<{ consumed: number; given_back: number; leased: number }>(
    `select (select coalesce(sum(consumed), 0)::bigint from budget_shard where program = $1 and budget = $2) as consumed,
       (select coalesce(sum(given_back), 0)::bigint from budget_shard where program = $1 and budget = $2) as given_back,
       (select coalesce(sum(granted - consumed), 0)::bigint from budget_lease where program = $1 and budget = $2 and closed_at is null) as leased`,
    [shop.program.number, budget],
  );
  const { consumed, given_back: givenBack, leased } = rows[0]!;
  return { given: consumed - givenBack, consumed, givenBack, leased };
}

/** What the operations of a program issued under a rule, less what was taken back. */
export async function issuedBy({ pool }: Pick<App, 'pool'>, shop: Shop): Promise<number> {
  const { rows } = await pool.query<{ points: number }>(
    `select coalesce(-sum(points), 0)::bigint as points from entry where program = $1 and account = 'issuance'`,
    [shop.program.number],
  );
  return rows[0]!.points;
}

/** Members by shard, one of each. */
export async function membersEverywhere(app: App, shop: Shop, shardCount: number): Promise<string[]> {
  const members = new Map<number, string>();
  for (let tries = 0; members.size < shardCount && tries < 50 * shardCount; tries += 1) {
    const name = await shop.enrol('budget');
    const { body } = await shop.care('GET', `/v1/members/${name}`);
    members.set(app.operations.wallet.shardOf(parseMemberId(String(body.id))!), name);
  }
  if (members.size < shardCount) throw new Error('some shard got no member');
  return Array.from({ length: shardCount }, (_, shard) => members.get(shard)!);
}
