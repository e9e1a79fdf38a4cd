/** The service on a Redis Cluster of three masters with a replica each: failover, what others still believe, moved shards. */
import { afterAll, describe, expect, test } from 'vitest';
import { parseStreamId } from '#src/journal.ts';
import { openingFields } from '#src/ledger/journal-entry.ts';
import { slotOfTag } from '#src/platform/redis-topology.ts';
import { type MemberNumber, parseMemberId, shardOfMember } from '#src/values.ts';
import { keys, shardTag } from '#src/wallet/keys.ts';
import { problemOfError } from '#src/wallet/problems.ts';
import { slotOfShard } from '#src/wallet/shard-nodes.ts';
import type { ClusterNode } from '../loadtest/setup/redis-cluster.ts';
import { reference, startEngine, uuidV7, waitFor } from './harness.ts';
import { commandOf, type Ended } from './house/command.ts';
import { startLoad } from './house/load.ts';

const shardCount = 6;
const engine = await startEngine({ redisCluster: true, shardCount });
afterAll(() => engine.end());
const shop = await engine.shop();
const { pool, redis, stores } = engine;
const cluster = stores.cluster!;
const shards = Array.from({ length: shardCount }, (_, shard) => shard);

interface Who {
  readonly member: string;
  readonly number: MemberNumber;
}

/** Somebody new in the shard, with this many points that are in the books. */
async function memberIn(shard: number, points: number): Promise<Who> {
  for (let tries = 0; tries < 200; tries += 1) {
    const member = await shop.enrol();
    const answer = await shop.pos('GET', `/v1/members/${member}/balances`);
    const number = parseMemberId(String(answer.body.member))!;
    if (shardOfMember(number, shardCount) !== shard) continue;
    await shop.accrue(member, points, { durability: 'ledger' });
    return { member, number };
  }
  throw new Error(`nobody was enrolled into shard ${shard}`);
}

const masterOf = (shard: number): Promise<ClusterNode> => cluster.masterOfKey(keys.journal(shard));
const addressOf = (node: ClusterNode): string => `127.0.0.1:${node.announced.port}`;

async function shardsOf(node: ClusterNode): Promise<number[]> {
  const masters = await Promise.all(shards.map(masterOf));
  return shards.filter((shard) => masters[shard] === node);
}

async function epochOf(shard: number): Promise<{ epoch: number; isWarm: boolean; lost: string | null }> {
  const { rows } = await pool.query<{ epoch: number; is_warm: boolean; lost: string | null }>(
    `select epoch, cold_below < epoch as is_warm, lost_from || '-' || lost_to as lost from epoch
     where shard = $1 order by epoch desc limit 1`,
    [shard],
  );
  return { epoch: rows[0]!.epoch, isWarm: rows[0]!.is_warm, lost: rows[0]!.lost };
}

/** Waits until everybody serves a shard in an epoch above this one. */
async function servedAbove(shard: number, epoch: number): Promise<void> {
  await waitFor(
    `shard ${shard} is served again`,
    async () => (await epochOf(shard)).epoch > epoch && engine.app.epochs.of(shard) !== undefined,
    60_000,
  );
}

const recover = (...args: string[]): Promise<Ended> =>
  commandOf('ledger/recovery-command.ts', {
    ...process.env,
    DATABASE_URL: stores.databaseUrl,
    REDIS_URL: stores.redisUrl,
  })(...args);

test('a hash tag is in the slot that the nodes say', async () => {
  for (const shard of shards) {
    const [asked, computed] = [await redis.cluster('KEYSLOT', keys.journal(shard)), slotOfShard(shard)];
    expect(computed).toBe(asked);
    expect(slotOfTag(shardTag(shard))).toBe(asked);
  }
});

test('every shard moves points, on three masters, and the books hold all of it', async () => {
  expect(new Set(await Promise.all(shards.map(masterOf))).size).toBe(3);
  for (const shard of shards) {
    const { member } = await memberIn(shard, 100);
    const redeemed = await shop.pos('POST', '/v1/redemptions', {
      member,
      reference: reference(),
      points: 30,
    });
    expect(redeemed.status).toBe(201);
    expect(await shop.balances(member)).toMatchObject({ available: 70 });
  }
  await engine.drained();
  await engine.audit();
});

test('a master that is asked for a slot of another one refuses, and nothing is applied', async () => {
  const own = await masterOf(0);
  const other = (await cluster.masters()).map(({ node }) => node).find((node) => node !== own)!;
  const { sha } = engine.app.epochs.of(0)!.scripts.accrue;
  const newest = () => redis.xrevrange(keys.journal(0), '+', '-', 'COUNT', 1);
  const before = await newest();
  const refusal: unknown = await cluster
    .ask(other, (each) => each.evalsha(sha, 1, keys.journal(0), Date.now(), Date.now() + 30_000))
    .catch((error: unknown) => error);
  expect(String(refusal)).toContain(`MOVED ${slotOfShard(0)} ${addressOf(own)}`);
  expect(problemOfError(refusal, false)).toMatchObject({ code: 'shard_recovering' });
  // After a break in between it may be the second answer.
  expect(problemOfError(refusal, true)).toMatchObject({ code: 'outcome_unknown' });
  expect(await newest()).toEqual(before);
});

test('the limit of a key for the day is counted, although its counter lies in no shard', async () => {
  const token = await shop.key({ client: 'limited', role: 'pos', pointsPerDayMax: 50 });
  const { member } = await memberIn(0, 10);
  const spend = (points: number) =>
    engine.http('POST', '/v1/redemptions', { member, reference: reference(), points }, { key: token });
  const earn = (points: number) =>
    engine.http('POST', '/v1/accruals', shop.receipt(member, points), { key: token });
  expect((await earn(45)).status).toBe(201);
  expect(await earn(10)).toMatchObject({ status: 403, code: 'limit_exceeded' });
  expect((await spend(5)).status).toBe(201);
});

describe('a master that is killed', () => {
  test('is followed by its replica: its shards recover, nothing is lost at `ledger`, the others serve meanwhile', async () => {
    const victim = await masterOf(0);
    const [hit, spared] = [await shardsOf(victim), shards.filter((shard) => shard !== 0)];
    const others = spared.filter((shard) => !hit.includes(shard));
    const inHit = await memberIn(hit[0]!, 500);
    const elsewhere = await memberIn(others[0]!, 1);
    const before = new Map(await Promise.all(shards.map(async (s) => [s, await epochOf(s)] as const)));
    const load = await startLoad(() => [engine.http], shop, 12);
    await waitFor('the load is under way', () => load.answered() > 50);

    process.kill(victim.server.pid, 'SIGKILL');
    await victim.server.exited;
    const served = await shop.pos('POST', '/v1/accruals', shop.receipt(elsewhere.member, 5));
    expect(served.status).toBe(201);
    await waitFor('the API says that some shards are closed', async () => {
      const [all, some] = await Promise.all(
        ['', '/partly'].map((path) => fetch(`${engine.url}/readyz${path}`)),
      );
      return all!.status === 503 && some!.status === 200;
    });
    for (const shard of hit) await servedAbove(shard, before.get(shard)!.epoch);
    const answered = load.answered();
    await waitFor('the load goes on', () => load.answered() > answered + 50);
    await load.stop();

    expect(await shop.balances(inHit.member)).toMatchObject({ available: 500 });
    for (const shard of others) expect((await epochOf(shard)).epoch).toBe(before.get(shard)!.epoch);
    await engine.drained();
    await engine.audit();
    await verifyNamed(load.promised.map(({ id }) => id));
    await victim.start();
    await cluster.whole();
  }, 120_000);

  /** Every operation that was answered is in the books, or its number is in a range that recovery named. */
  async function verifyNamed(ids: readonly string[]): Promise<void> {
    const operations = ids.map((id) => id.slice(id.indexOf('_') + 1));
    const { rows } = await pool.query<{ found: number }>(
      `select count(*)::int as found from operation where replace(operation::text, '-', '') = any($1::text[])`,
      [operations],
    );
    const named = await pool.query<{ lost: number }>(
      'select coalesce(sum(lost_to - lost_from + 1), 0)::int as lost from epoch where lost_from is not null',
    );
    expect(operations.length - rows[0]!.found).toBeLessThanOrEqual(named.rows[0]!.lost);
  }
});

describe('a master that stands still until its replica has taken over', () => {
  test('is not believed when it wakes up, and what it did then is nobody’s', async () => {
    const victim = await masterOf(1);
    const who = await memberIn(1, 50);
    const { epoch } = await epochOf(1);
    process.kill(victim.server.pid, 'SIGSTOP');
    // Goes to the connection of the one that stands still, and is carried out when it wakes up.
    const late = shop.pos('POST', '/v1/accruals', shop.receipt(who.member, 7, { reference: uuidV7() }));
    try {
      await servedAbove(1, epoch);
    } finally {
      process.kill(victim.server.pid, 'SIGCONT');
    }
    expect(['outcome_unknown', 'shard_recovering']).toContain((await late).code);
    await cluster.whole();
    expect(await masterOf(1)).not.toBe(victim);
    expect(await shop.balances(who.member)).toMatchObject({ available: 50 });
    expect((await epochOf(1)).epoch).toBeGreaterThan(epoch);
  }, 120_000);
});

/** As a writer leaves a move that dies in the middle: the shard fenced, the slot declared, and some keys gone. */
async function leaveHalfway(
  shard: number,
  source: ClusterNode,
  target: ClusterNode,
  gone: readonly string[] = [keys.journal(shard)],
): Promise<void> {
  const { epoch } = await epochOf(shard);
  const slot = slotOfShard(shard);
  const [last] = await redis.xrevrange(keys.journal(shard), '+', '-', 'COUNT', 1);
  const raised = await pool.query<{ term: number }>(
    'update lease set term = greatest(term, $2::bigint) + 2 where shard = $1 returning term',
    [shard, epoch],
  );
  const opening = { previousEpoch: epoch, previousLastSeq: parseStreamId(last![0]).seq, coldBelow: 0 };
  const fence = openingFields({ ...opening, lostFrom: undefined, lostTo: undefined, isFence: true });
  await redis.xadd(keys.journal(shard), `${raised.rows[0]!.term - 1}-0`, ...fence);
  await cluster.ask(target, (each) => each.cluster('SETSLOT', slot, 'IMPORTING', source.id));
  const password = decodeURIComponent(new URL(target.server.adminUrl).password);
  const to = ['127.0.0.1', target.server.port, '', 0, 5_000, 'AUTH', password] as const;
  await cluster.ask(source, async (each) => {
    await each.cluster('SETSLOT', slot, 'MIGRATING', target.id);
    await each.call('MIGRATE', ...to, 'KEYS', ...gone);
  });
  await pool.query('insert into shard_move (shard, target, began_at) values ($1, $2, now())', [
    shard,
    addressOf(target),
  ]);
}

/** The master of a shard and another one. */
async function twoMasters(shard: number): Promise<[ClusterNode, ClusterNode]> {
  const source = await masterOf(shard);
  const target = (await cluster.masters()).map(({ node }) => node).find((node) => node !== source)!;
  return [source, target];
}

async function replacedByReplica(master: ClusterNode): Promise<void> {
  const [successor] = await cluster.replicasOf(master);
  await cluster.ask(successor!, (each) => each.call('CLUSTER', 'FAILOVER'));
  await waitFor('the master is a replica', async () =>
    (await cluster.replicasOf(successor!)).includes(master),
  );
  await cluster.whole();
}

describe('a shard that is moved', () => {
  test('keeps members and journal, warm, and answers on the other master', async () => {
    const [, target] = await twoMasters(2);
    const who = await memberIn(2, 80);
    const hot = await memberIn(2, 20);
    await engine.drained();
    const before = await epochOf(2);
    const keysBefore = (await redis.keys(`{${shardTag(2)}}:*`)).sort();
    const journalBefore = await redis.xlen(keys.journal(2));

    const moved = await recover('--move', '2', addressOf(target));
    expect(moved.complaint).toBe('');
    expect(moved.out).toMatch(new RegExp(`^shard 2 is at ${addressOf(target)} and serves in epoch \\d+\n$`));
    await servedAbove(2, before.epoch);

    expect(await masterOf(2)).toBe(target);
    const after = await epochOf(2);
    expect(after).toMatchObject({ isWarm: true, lost: null });
    expect((await redis.keys(`{${shardTag(2)}}:*`)).sort()).toEqual(keysBefore);
    // The fence and the opening record have come to what was there.
    expect(await redis.xlen(keys.journal(2))).toBe(journalBefore + 2);
    expect(await redis.exists(keys.member(2, hot.number))).toBe(1);
    expect(await shop.balances(who.member)).toMatchObject({ available: 80 });
    expect((await shop.accrue(hot.member, 5)).status).toBe(201);
    expect((await recover('--status', '--shard', '2')).out).toContain(`node=${addressOf(target)}`);
  }, 120_000);

  test('goes on by itself from where another writer left it', async () => {
    const [source, target] = await twoMasters(3);
    const who = await memberIn(3, 33);
    await engine.drained();
    const { epoch } = await epochOf(3);
    await engine.withoutWriter(() => leaveHalfway(3, source, target));
    await servedAbove(3, epoch);
    expect(await masterOf(3)).toBe(target);
    expect(await shop.balances(who.member)).toMatchObject({ available: 33 });
  }, 120_000);

  test('stays, and comes back from the books, where its target is replaced on the way', async () => {
    const [source, target] = await twoMasters(4);
    const who = await memberIn(4, 44);
    const again = { reference: uuidV7(), occurredAt: new Date().toISOString() };
    const first = await shop.accrue(who.member, 1, again);
    await engine.drained();
    const { epoch } = await epochOf(4);
    await engine.withoutWriter(async () => {
      await leaveHalfway(4, source, target);
      await replacedByReplica(target);
    });
    await servedAbove(4, epoch);
    expect(await masterOf(4)).toBe(source);
    expect(await epochOf(4)).toMatchObject({ isWarm: false, lost: null });
    expect((await pool.query('select 1 from shard_move')).rows).toEqual([]);
    expect((await shop.accrue(who.member, 1, again)).body.id).toBe(first.body.id);
    // A look at a balance is answered 503 while the API learns of the node, and asked again, as tills do.
    const balances = await waitFor('the balance is answered', () =>
      shop.balances(who.member).catch(() => undefined),
    );
    expect(balances).toMatchObject({ available: 45 });
  }, 120_000);

  test('comes back from the books also where its source has failed over and forgotten that keys had left', async () => {
    const [source, target] = await twoMasters(5);
    const who = await memberIn(5, 55);
    const again = { reference: uuidV7(), occurredAt: new Date().toISOString() };
    const first = await shop.accrue(who.member, 1, again);
    await engine.drained();
    const { epoch } = await epochOf(5);
    await engine.withoutWriter(async () => {
      await leaveHalfway(5, source, target, await redis.keys(`{${shardTag(5)}}:i:*`));
      await replacedByReplica(target);
      await replacedByReplica(source);
    });
    await servedAbove(5, epoch);
    expect(await epochOf(5)).toMatchObject({ isWarm: false, lost: null });
    expect((await shop.accrue(who.member, 1, again)).body.id).toBe(first.body.id);
    expect(await shop.balances(who.member)).toMatchObject({ available: 56 });
  }, 120_000);

  test('is taken back by naming the address where it is, and comes back from the books', async () => {
    const [source, target] = await twoMasters(1);
    const who = await memberIn(1, 11);
    await engine.drained();
    const { epoch } = await epochOf(1);
    await engine.withoutWriter(async () => {
      await leaveHalfway(1, source, target);
      await pool.query('update shard_move set given_up_at = now() where shard = 1');
    });
    await servedAbove(1, epoch);
    expect(await masterOf(1)).toBe(source);
    expect(await epochOf(1)).toMatchObject({ isWarm: false, lost: null });
    // Processes hear of the epoch one after the other.
    await waitFor('the member is served', async () => {
      const { status } = await shop.pos('GET', `/v1/members/${who.member}/balances`);
      return status === 200;
    });
    expect(await shop.balances(who.member)).toMatchObject({ available: 11 });
    expect((await recover('--move', '1', addressOf(source))).out).toBe(
      `shard 1 is at ${addressOf(source)} already\n`,
    );
  }, 120_000);

  test('is refused where the target is no master', async () => {
    const [replica] = await cluster.replicasOf(await masterOf(0));
    const refused = await recover('--move', '0', addressOf(replica!));
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.complaint).toContain('is not a master');
    expect((await pool.query('select 1 from shard_move')).rows).toEqual([]);
  });
});
