/** A shard that moves to another master of the cluster under load, as an operator moves it, and what may happen on its way. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Outcome, waitUntil } from '#src/platform/local/processes.ts';
import { type House, shardCount } from '../house.ts';
import type { RedisNode } from '../house-redis.ts';
import type { Random } from '../random.ts';
import { kill } from './destroying.ts';
import { type Fault, momentary, type Stage, seen } from './fault.ts';

const moveMs = 60_000;

interface Move {
  readonly shard: number;
  readonly source: RedisNode;
  readonly target: RedisNode;
}

async function chosen({ house, random }: Stage): Promise<Move> {
  const shard = random.whole(0, shardCount - 1);
  const source = (await house.redis.byShard())[shard]!;
  const others = (await house.redis.masters()).filter(({ name }) => name !== source.name);
  return { shard, source, target: random.pick(others) };
}

function begun(house: House, { shard, target }: Move): Promise<Outcome> {
  const { announced } = house.redis.cluster!.nodeOf(target);
  const args = ['--move', String(shard), `127.0.0.1:${announced.port}`];
  return house.command('src/ledger/recovery-command.ts', args, moveMs);
}

const moved: Fault = {
  name: 'cluster-shard-moved',
  does: 'recover -- --move of a shard to another master, under load',
  losesNothing: true,
  needs: 'a cluster',
  async inject(stage) {
    const move = await chosen(stage);
    const { code, stdout, stderr } = await begun(stage.house, move);
    if (code !== 0) throw new Error(`recover -- --move ended with ${code}: ${stdout}${stderr}`);
    const { shard, source, target } = move;
    const owner = (await stage.house.redis.byShard())[shard]!;
    seen(owner.name === target.name, `${target.name} decides for shard ${shard}`);
    return momentary(`shard ${shard} went from ${source.name} to ${target.name}`);
  },
};

/** Whether the move is asked for and has not come to its end. */
function isUnderWay(house: House, shard: number): Promise<boolean> {
  return house.withPostgres(async (client) => {
    const { rowCount } = await client.query('select 1 from shard_move where shard = $1', [shard]);
    return rowCount === 1;
  });
}

/** Something that may die while a shard is on its way. Answers what did, and how it comes back. */
async function interrupt(house: House, random: Random, { source, target }: Move) {
  const victim = random.pick(['a writer', 'the source', 'the target']);
  if (victim === 'a writer') {
    const writer = random.pick(house.of('writer'));
    await writer.kill();
    return { who: writer.name, again: () => writer.start() };
  }
  const node = victim === 'the source' ? source : target;
  await kill(node);
  return { who: `${victim}, ${node.name},`, again: () => node.start() };
}

const moveInterrupted: Fault = {
  name: 'cluster-move-interrupted',
  does: 'kill -9 of a writer, the source or the target while a shard is on its way; it arrives, or stays',
  destroys: true,
  needs: 'a cluster',
  async inject(stage) {
    const { house, random } = stage;
    const move = await chosen(stage);
    const { shard, source, target } = move;
    const moving = begun(house, move);
    const isOnItsWay = await waitUntil(() => isUnderWay(house, shard), 20_000, 5);
    await delay(random.whole(0, 300));
    const interrupted = isOnItsWay && (await isUnderWay(house, shard));
    if (!interrupted) await moving;
    seen(interrupted, `shard ${shard} is on its way`);
    const { who, again } = await interrupt(house, random, move);
    const heal = async () => {
      await again();
      await moving;
      const ended = await waitUntil(async () => !(await isUnderWay(house, shard)), moveMs, 50);
      if (!ended) throw new Error(`the move of shard ${shard} to ${target.name} never ended`);
    };
    const evidence = `${who} died while shard ${shard} went from ${source.name} to ${target.name}`;
    return { evidence, holdMs: random.pick([0, 500, 6_000]), heal };
  },
};

export const moveFaults: readonly Fault[] = [moved, moveInterrupted];
