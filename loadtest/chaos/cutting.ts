/** Networks between two services that are cut by chance, and what goes on meanwhile. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Link } from './proxy.ts';
import type { Random } from './random.ts';

/** What a network does to those who speak through it. Answers how long it goes on. */
const harms: readonly ((link: Link, random: Random) => number)[] = [
  (link, random) => {
    link.dropReplies(random.whole(1, 3));
    return 300;
  },
  (link, random) => {
    link.halveReplies(random.whole(1, 2));
    return 300;
  },
  (link, random) => {
    link.delay(random.whole(50, 700));
    return random.whole(300, 1_500);
  },
  (link, random) => {
    link.freeze();
    return random.whole(300, 1_500);
  },
];

/** Harms one link after the other until the time is up; answers how often something was lost or held back. */
export async function cutLinks(links: readonly Link[], random: Random, untilMs: number): Promise<number> {
  while (performance.now() < untilMs) {
    const link = random.pick(links);
    await delay(random.pick(harms)(link, random));
    link.heal();
    await delay(random.whole(50, 400));
  }
  return links.reduce((sum, link) => sum + link.cuts() + link.held(), 0);
}

const everyMs = 20;

/** Begins one thing after the other until the time is up, so many at once at most; waits for the last, and answers how many. */
export async function beginUntil(
  untilMs: number,
  atOnceMax: number,
  begin: () => Promise<unknown>,
): Promise<number> {
  const underWay = new Set<Promise<unknown>>();
  let count = 0;
  while (performance.now() < untilMs) {
    const begun = begin().finally(() => underWay.delete(begun));
    underWay.add(begun);
    count += 1;
    if (underWay.size >= atOnceMax) await Promise.race(underWay);
    await delay(everyMs);
  }
  await Promise.all(underWay);
  return count;
}
