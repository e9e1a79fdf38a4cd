/** When all faults are healed: everything that was decided reaches the books, and what spans two members comes to its end. */
import { waitUntil } from '#src/platform/local/processes.ts';
import { keys } from '#src/wallet/keys.ts';
import type { House } from './house.ts';

interface PositionRow {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: string;
}

/** Transfers in flight and merges half done, which upkeep finishes. */
const openWorkQuery = `select (select count(*) from transfer where state in ('debited', 'refused'))::int
  + (select count(*) from member where status = 'merging')::int as open`;

async function behind(house: House): Promise<string | undefined> {
  const [positions, open] = await house.withPostgres(async (client) => {
    const { rows } = await client.query<PositionRow>('select shard, epoch, seq from position order by shard');
    return [rows, (await client.query<{ open: number }>(openWorkQuery)).rows[0]!.open] as const;
  });
  const late: string[] = [];
  const nodes = await house.redis.byShard();
  for (const node of new Set(nodes)) {
    await house.withRedis(node, async (redis) => {
      for (const { shard, epoch, seq } of positions) {
        if (nodes[shard] !== node) continue;
        const last = (await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1))[0]?.[0];
        if (last !== `${epoch}-${seq}`)
          late.push(`shard ${shard}: journal ${last ?? 'none'}, books ${epoch}-${seq}`);
      }
    });
  }
  if (late.length > 0) return late.join('; ');
  return open === 0 ? undefined : `${open} transfers or merges are under way`;
}

/** Waits until the books hold everything. Answers what is still behind when the time is up. */
export async function drained(house: House, timeoutMs: number): Promise<string | undefined> {
  let left: string | undefined = 'nothing was asked';
  await waitUntil(
    async () => {
      left = await behind(house).catch((error: unknown) => String(error));
      return left === undefined;
    },
    timeoutMs,
    100,
  );
  return left;
}
