/** The network between any two processes: replies dropped, halved, late, or nothing at all any more. */
import { waitUntil } from '#src/platform/local/processes.ts';
import type { Link } from '../proxy.ts';
import type { Random } from '../random.ts';
import { type Bite, type Fault, NoBite, type Stage, seen } from './fault.ts';

/** One link, or all links of a process, or all links to one kind of server: a cable, a host, a switch. */
function linksOf({ house, random }: Stage): readonly Link[] {
  const { links } = house;
  if (random.chance(0.5)) return [random.pick(links)];
  if (random.chance(0.5)) return random.pick(house.processes).links;
  const server = random.pick(['Redis', 'PostgreSQL', 'callers']);
  return links.filter(({ name }) => name.includes(server));
}

type Count = 'cuts' | 'held';

/** Applies a mood to the links and waits until it has met traffic. */
async function misbehave(
  stage: Stage,
  count: Count,
  apply: (link: Link) => void,
  holdMs: number,
): Promise<Bite> {
  const links = linksOf(stage);
  const counted = () => links.reduce((sum, link) => sum + link[count](), 0);
  const before = counted();
  for (const link of links) apply(link);
  const heal = async () => {
    for (const link of links) link.heal();
  };
  // A link of upkeep may be silent for a second or two.
  if (!(await waitUntil(() => counted() > before, 8_000, 5))) {
    await heal();
    throw new NoBite(`no traffic on ${links.map(({ name }) => name).join(', ')}`);
  }
  const evidence = `${links.map(({ name }) => name).join(', ')}: ${counted() - before} ${count === 'cuts' ? 'replies cut' : 'pieces held back'} at first`;
  return { evidence, holdMs, heal };
}

function times(random: Random): number {
  return random.pick([1, 3, 10, 40]);
}

export const networkFaults: readonly Fault[] = [
  {
    name: 'network-drop',
    does: 'connections are cut instead of delivering replies',
    inject: (stage) => {
      const count = times(stage.random);
      return misbehave(stage, 'cuts', (link) => link.dropReplies(count), stage.random.whole(300, 3_000));
    },
  },
  {
    name: 'network-half-reply',
    does: 'half of a reply is delivered, then the connection is cut',
    inject: (stage) => {
      const count = times(stage.random);
      return misbehave(stage, 'cuts', (link) => link.halveReplies(count), stage.random.whole(300, 3_000));
    },
  },
  {
    name: 'network-delay',
    does: 'everything arrives late, in both directions',
    inject: (stage) => {
      const ms = stage.random.pick([20, 150, 600, 2_500]);
      return misbehave(stage, 'held', (link) => link.delay(ms), stage.random.whole(1_500, 5_000));
    },
  },
  {
    name: 'network-late-loads',
    does: 'one API reaches Redis late while everybody is evicted: what it read may be old when it arrives',
    async inject({ house, random }) {
      const links = random.pick(house.of('api')).redisLinks;
      const names = links.map(({ name }) => name).join(', ');
      const held = () => links.reduce((sum, link) => sum + link.held(), 0);
      const before = held();
      const ms = random.whole(300, 900);
      for (const link of links) link.delay(ms);
      const heal = async () => {
        for (const link of links) link.heal();
      };
      const met = await waitUntil(() => held() > before, 8_000, 5);
      if (!met) await heal();
      seen(met, `traffic on ${names}`);
      return { evidence: `${names}: ${ms} ms late`, holdMs: random.whole(4_000, 7_000), heal };
    },
  },
  {
    name: 'network-freeze',
    does: 'nothing arrives any more and no connection is closed',
    inject: (stage) => misbehave(stage, 'held', (link) => link.freeze(), stage.random.whole(1_000, 8_000)),
  },
];
