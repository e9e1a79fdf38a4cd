/** The best size of a contestant's pool of connections: each is tried under the contestant's own load, before the rounds. */
import type { Contestant, Standing, Surroundings } from '../contestant.ts';
import { runLoad } from '../load.ts';

const times = { warmupMs: 1_000, measureMs: 2_000 };

/** Loads the contestant with a pool of each size. Answers the fastest, and what each did. One size alone is not tried. */
export async function bestPoolSize(
  { connections, traffic, members }: Contestant,
  around: Surroundings,
  start: (poolSize: number) => Promise<Pick<Standing, 'port' | 'stop'>>,
): Promise<{ size: number; found: string }> {
  const { poolSizes = [5, 10, 20] } = around;
  if (poolSizes.length === 1)
    return { size: poolSizes[0], found: `pool of ${poolSizes[0]}, others not tried` };
  const speeds: number[] = [];
  for (const poolSize of poolSizes) {
    const { port, stop } = await start(poolSize);
    try {
      const load = { port, connections, members: members ?? around.members, ...times, traffic };
      const { requests, seconds } = await runLoad(load, around).measured;
      speeds.push(requests / seconds);
    } finally {
      await stop();
    }
  }
  const size = poolSizes[speeds.indexOf(Math.max(...speeds))]!;
  const tried = poolSizes.map((each, i) => `${each}: ${Math.round(speeds[i]!)}/s`).join(', ');
  return { size, found: `pool of ${size} (${tried})` };
}
