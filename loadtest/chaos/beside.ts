/**
 * An upgrade under load, process by process, as the README says: migrate, then writers, upkeep and APIs; first one of each
 * kind, so that both versions run beside each other while things break, then the rest. Replacing a process, or killing the writers
 * of either version so that leases move between them, may open no epoch: whoever did would fence the other version.
 */
import { waitUntil } from '#src/platform/local/processes.ts';
import { type House, untilServing } from './house.ts';
import type { MemberProcess } from './member-process.ts';
import type { FaultRun } from './report.ts';
import { migrateBy } from './revision.ts';

interface Upgrade {
  readonly house: House;
  readonly nextRoot: string;
  readonly runs: FaultRun[];
  readonly troubles: string[];
  /** Breaks things while both versions run. */
  breaks(): Promise<void>;
  print(text: string): void;
}

const servingMs = 60_000;

interface Standing {
  readonly epochs: string;
  readonly versions: number;
  /** Writers that hold shards. */
  readonly writers: number;
}

/** The epoch of every shard, how many versions of the scripts there are, and who writes. */
function standing(house: House): Promise<Standing> {
  return house.withPostgres(async (client) => {
    const { rows } = await client.query<Standing>(
      `select (select string_agg(shard || ':' || latest, ' ' order by shard)
          from (select shard, max(epoch) as latest from epoch group by shard) as epochs) as epochs,
        (select count(*)::int from script_version) as versions,
        (select count(distinct owner)::int from lease where heartbeat_at > clock_timestamp() - interval '1 second') as writers`,
    );
    return rows[0]!;
  });
}

/** Does something to a process and waits until every shard serves again, with both versions. */
async function step(
  { house, runs, print }: Upgrade,
  name: string,
  member: MemberProcess,
  work: () => Promise<string>,
): Promise<void> {
  const fromMs = Date.now();
  const how = await work();
  const recoverySeconds = await untilServing(house, Date.now(), servingMs);
  runs.push({ name, fromMs, toMs: Date.now(), recoverySeconds });
  print(`${name}: ${member.name} ${how}; served again after ${recoverySeconds.toFixed(2)} s`);
}

function replace(upgrade: Upgrade, member: MemberProcess): Promise<void> {
  return step(upgrade, `replace-${member.role}`, member, async () => {
    const end = await member.stop();
    // One that was started a moment ago does not drain yet: there is nothing to drain.
    if (end !== 'exit code 0' && end !== 'signal SIGTERM')
      upgrade.troubles.push(`${member.name} did not end by itself: ${end}`);
    member.moveTo(upgrade.nextRoot);
    await member.start();
    return 'is of the new version';
  });
}

/** The writers of the other version take over all that a dead one held, and share with it when it is back. */
async function passLeases(upgrade: Upgrade, writer: MemberProcess): Promise<void> {
  await step(upgrade, 'beside-kill-writer', writer, async () => {
    await writer.kill();
    return 'is dead';
  });
  await step(upgrade, 'beside-start-writer', writer, async () => {
    await writer.start();
    const all = upgrade.house.of('writer').length;
    const share = await waitUntil(async () => (await standing(upgrade.house)).writers === all, servingMs, 50);
    if (!share) upgrade.troubles.push(`${writer.name} got no shards back`);
    return 'is back and holds shards';
  });
}

/** Does something that may open no epoch. */
async function quietly(upgrade: Upgrade, what: string, work: () => Promise<void>): Promise<void> {
  const { epochs: before } = await standing(upgrade.house);
  await work();
  const { epochs: after } = await standing(upgrade.house);
  if (after !== before)
    upgrade.troubles.push(`${what} opened epochs: they were ${before}, they are ${after} (shard:epoch)`);
}

/** Replaces the processes of a house that runs on its old version, under load. */
export async function upgradeUnderLoad(upgrade: Upgrade): Promise<void> {
  const { house, nextRoot, print } = upgrade;
  const [firstApi, ...otherApis] = house.of('api') as [MemberProcess, ...MemberProcess[]];
  const [firstWriter, ...otherWriters] = house.of('writer') as [MemberProcess, ...MemberProcess[]];
  await quietly(upgrade, 'replacing one of each', async () => {
    await migrateBy(nextRoot, house.postgres.url, house.options.folder);
    await replace(upgrade, firstWriter);
    await replace(upgrade, firstApi);
    for (const writer of [firstWriter, ...otherWriters]) await passLeases(upgrade, writer);
  });
  const { versions } = await standing(house);
  print(`both versions beside each other; versions of the scripts: ${versions}`);
  await upgrade.breaks();
  if (upgrade.troubles.length > 0) return;
  await quietly(upgrade, 'replacing the rest', async () => {
    const rest = [...otherWriters, ...house.of('upkeep'), ...house.of('evictor'), ...otherApis];
    for (const member of rest) await replace(upgrade, member);
  });
}
