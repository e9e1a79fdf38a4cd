/**
 * The same reference again after Redis has forgotten it. The window of twenty minutes is made to have passed by deleting the
 * reference's entry, of an operation that is in the books by then, as it always is after twenty minutes; references are
 * such as carry no time of their own, because those that do may be trusted to be young.
 */
import { waitUntil } from '#src/platform/local/processes.ts';
import type { MemberNumber } from '#src/values.ts';
import { shardOfMember } from '#src/values.ts';
import { keys } from '#src/wallet/keys.ts';
import { referenceKeyOf } from '#src/wallet/reference.ts';
import type { Draft } from '../client.ts';
import { type House, shardCount } from '../house.ts';
import type { Attempt } from '../judge/evidence.ts';
import { shuffled } from '../random.ts';
import { type Fault, momentary, seen } from './fault.ts';

interface Repeatable {
  readonly attempt: Attempt;
  readonly draft: Draft;
}

type Condition = 'hot' | 'evicted' | 'recovering';

async function isInBooks(house: House, operation: string): Promise<boolean> {
  return house.withPostgres(async (client) => {
    const { rowCount } = await client.query('select 1 from operation where operation = $1', [operation]);
    return rowCount === 1;
  });
}

function keysOf(house: House, { attempt }: Repeatable): { shard: number; entry: string; member: string } {
  const number = attempt.told[0]!.member as MemberNumber;
  const shard = shardOfMember(number, shardCount);
  const { program, client } = house.tenant;
  const key = referenceKeyOf(program, client, attempt.kind, attempt.reference);
  return { shard, entry: keys.idempotency(shard, key), member: keys.member(shard, number) };
}

/** Whether the member is in Redis; deletes the entry of the reference. */
async function forget(house: House, of: Repeatable): Promise<boolean> {
  const { shard, entry, member } = keysOf(house, of);
  return house.withRedis((await house.redis.byShard())[shard]!, async (redis) => {
    await redis.del(entry);
    return (await redis.exists(member)) === 1;
  });
}

function repeated(condition: Condition): Fault {
  return {
    name: `repeat-${condition}`,
    does: `the same reference after its window, to a member that is ${condition}`,
    async inject({ house, load, random }) {
      const known = shuffled([...load.repeatable.values()], random).slice(0, 30);
      let repeats = 0;
      for (const of of known) {
        const operation = of.attempt.told[0]?.operation;
        if (operation === undefined || repeats >= 5) continue;
        if (!(await waitUntil(() => isInBooks(house, operation), 5_000))) continue;
        const isHot = await forget(house, of);
        if (condition === 'evicted' ? isHot : condition === 'hot' && !isHot) continue;
        if (condition === 'recovering' && repeats === 0)
          for (const node of await house.redis.masters())
            await house.withRedis(node, (redis) => redis.script('FLUSH'));
        const told = of.attempt.told.length;
        await load.client.again(of.attempt, of.draft, random.fork());
        if (of.attempt.told.length > told) repeats += 1;
      }
      seen(repeats > 0, `a reference that could be repeated to a member that is ${condition}`);
      return momentary(`${repeats} references were repeated`);
    },
  };
}

export const repeatFaults: readonly Fault[] = [repeated('hot'), repeated('evicted'), repeated('recovering')];
