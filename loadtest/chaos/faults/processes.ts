/** The service's own processes: killed, frozen, restarted, and with a clock that is off. */
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { waitUntil } from '#src/platform/local/processes.ts';
import { type House, severalApi, untilServing } from '../house.ts';
import { childrenOf, isStopped, type MemberProcess, processState, type Role } from '../member-process.ts';
import { type Bite, type Fault, momentary, seen } from './fault.ts';

async function isDead(member: MemberProcess): Promise<boolean> {
  const state = await processState(member.pid());
  return member.isGone() && (state === undefined || state === 'Z');
}

function killed(role: Role): Fault {
  return {
    name: `kill-${role}`,
    does: `kill -9 of one ${role} process`,
    async inject({ house, random }) {
      const victim = random.pick(house.of(role));
      const pid = victim.pid();
      await victim.kill();
      seen(await isDead(victim), `${victim.name} is dead`);
      return {
        evidence: `${victim.name} (${pid}) is gone`,
        holdMs: random.whole(500, 4_000),
        heal: () => victim.start(),
      };
    },
  };
}

const killApiChild: Fault = {
  name: 'kill-api-child',
  does: 'kill -9 of one of the two processes behind the port of an API',
  async inject({ house, random }) {
    const api = house.of('api').find(({ name }) => name === severalApi)!;
    const pids = await childrenOf(api.pid());
    seen(pids.length === 2, `${api.name} has two processes`);
    const pid = random.pick(pids);
    process.kill(pid, 'SIGKILL');
    const died = await waitUntil(async () => !(await childrenOf(api.pid())).includes(pid), 5_000, 5);
    seen(died && !api.isGone(), `process ${pid} of ${api.name} is dead, its supervisor lives`);
    const isWhole = async () => (await childrenOf(api.pid())).length === 2;
    return {
      evidence: `process ${pid} of ${api.name} is gone`,
      holdMs: random.whole(500, 4_000),
      async heal() {
        if (!(await waitUntil(isWhole, 15_000, 50)))
          throw new Error(`${api.name} has no second process again`);
      },
    };
  },
};

const killEverything: Fault = {
  name: 'kill-everything',
  does: 'kill -9 of every process at once: APIs, writers, workers, Redis and PostgreSQL',
  async inject({ house, random }) {
    const { redis, postgres, processes } = house;
    const servers = [...redis.nodes.map(({ server }) => server), postgres];
    for (const { pid } of servers) process.kill(pid, 'SIGKILL');
    await Promise.all([...processes.map((each) => each.kill()), ...servers.map(({ exited }) => exited)]);
    const dead = await Promise.all(processes.map(isDead));
    seen(dead.every(Boolean), 'every process is dead');
    return {
      evidence: `${processes.length + servers.length} processes are gone`,
      holdMs: random.whole(100, 1_000),
      async heal() {
        await Promise.all([...redis.nodes.map((node) => node.start()), house.startPostgres()]);
        for (const each of processes) await each.start();
      },
    };
  },
};

/** How many writers live and hold shards. */
function livingWriters(house: House): Promise<number> {
  return house.withPostgres(async (client) => {
    const { rows } = await client.query<{ count: number }>(
      `select count(distinct owner)::int as count from lease where heartbeat_at > clock_timestamp() - interval '1 second'`,
    );
    return rows[0]!.count;
  });
}

async function bothHoldShards(house: House): Promise<void> {
  const both = await waitUntil(async () => (await livingWriters(house)) === 2, 10_000, 50);
  seen(both, 'both writers hold shards');
}

async function stopUntilReplaced(house: House, victim: MemberProcess, how: string): Promise<Bite> {
  seen(await isStopped(victim.pid()), `${victim.name} is stopped`);
  const heal = async () => victim.signal('SIGCONT');
  const replaced = await waitUntil(async () => (await livingWriters(house)) === 1, 15_000, 50);
  if (!replaced) {
    await heal();
    seen(false, `another writer took over the shards of ${victim.name}`);
  }
  return { evidence: `${victim.name} ${how}, state T; its shards have another writer`, holdMs: 1_500, heal };
}

const stopWriterIdle: Fault = {
  name: 'stop-writer-idle',
  does: 'SIGSTOP of a writer that has nothing to do, past its lease, then SIGCONT',
  async inject({ house, load, random }) {
    const victim = random.pick(house.of('writer'));
    await bothHoldShards(house);
    await load.pause();
    try {
      await untilServing(house, Date.now(), 20_000);
      victim.signal('SIGSTOP');
      return await stopUntilReplaced(house, victim, 'was idle');
    } finally {
      load.resume();
    }
  },
};

const stopWriterInCopy: Fault = {
  name: 'stop-writer-in-copy',
  does: 'SIGSTOP of a writer inside COPY, past its lease, then SIGCONT',
  async inject({ house, random }) {
    const victim = random.pick(house.of('writer'));
    await bothHoldShards(house);
    let isCaught = false;
    victim.postgresLink.onRequest('copy operation', 'comes', () => {
      victim.signal('SIGSTOP');
      isCaught = true;
    });
    const caught = await waitUntil(() => isCaught, 10_000, 5);
    victim.postgresLink.heal();
    seen(caught, `${victim.name} begins a COPY`);
    const inCopy = await house.withPostgres(async (client) => {
      const { rows } = await client.query<{ pid: number }>(
        `select pid from pg_stat_activity where state = 'active' and query like 'copy operation%' and wait_event = 'ClientRead'`,
      );
      return rows[0]?.pid;
    });
    if (inCopy === undefined) {
      victim.signal('SIGCONT');
      seen(false, 'PostgreSQL waits for the rows of the COPY');
    }
    return stopUntilReplaced(house, victim, `stands inside COPY (backend ${inCopy})`);
  },
};

const rollingRestart: Fault = {
  name: 'rolling-restart',
  does: 'SIGTERM and a new start of each process of the service, one after the other',
  async inject({ house }) {
    const ends: string[] = [];
    for (const member of house.processes) {
      const sinceMs = Date.now();
      ends.push(`${member.name} ${await member.stop()}`);
      await member.start();
      await untilServing(house, sinceMs, 60_000);
    }
    const clean = ends.every((end) => end.endsWith('exit code 0'));
    seen(clean, `every process ended with exit code 0: ${ends.join(', ')}`);
    return momentary(ends.join(', '));
  },
};

async function setClock(member: MemberProcess, shiftMs: number): Promise<boolean> {
  await writeFile(member.clockFile, String(shiftMs));
  member.signal('SIGUSR2');
  return waitUntil(async () => {
    const applied = await readFile(`${member.clockFile}.applied`, 'utf8').catch(() => '');
    return Number(applied) === shiftMs;
  }, 5_000);
}

/** Beyond what scripts tolerate, an API must call itself not ready. */
const noticedMsMin = 5_500;

async function saysSkew(member: MemberProcess): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${member.httpLink!.port}/readyz`, {
    signal: AbortSignal.timeout(2_000),
  }).catch(() => undefined);
  return answer?.status === 503 && (await answer.text()).includes('clock_skew');
}

function clockOff(name: string, does: string, shiftsMs: readonly number[]): Fault {
  return {
    name,
    does,
    async inject({ house, random }) {
      // A shift is told to one process; behind the other port there are two.
      const victim = random.pick(house.of('api').filter(({ name: each }) => each !== severalApi));
      const shiftMs = random.pick(shiftsMs);
      const heal = async () => {
        if (!(await setClock(victim, 0))) throw new Error(`the clock of ${victim.name} cannot be put right`);
      };
      seen(await setClock(victim, shiftMs), `the clock of ${victim.name} has moved`);
      const mustShow = Math.abs(shiftMs) > noticedMsMin;
      if (mustShow && !(await waitUntil(() => saysSkew(victim), 8_000, 50))) {
        await heal();
        throw new Error(`${victim.name} is ${shiftMs} ms off and does not say so`);
      }
      await delay(500);
      return {
        evidence: `${victim.name} is ${shiftMs / 1_000} s off${mustShow ? ' and says that it is not ready' : ''}`,
        holdMs: random.whole(1_000, 4_000),
        heal,
      };
    },
  };
}

const dayMs = 86_400_000;

export const processFaults: readonly Fault[] = [
  killed('api'),
  killApiChild,
  killed('writer'),
  killed('upkeep'),
  killEverything,
  stopWriterIdle,
  stopWriterInCopy,
  rollingRestart,
  clockOff(
    'clock-seconds',
    'the clock of one API is off by seconds',
    [-30_000, -8_000, -3_000, 3_000, 8_000, 30_000],
  ),
  clockOff('clock-day', 'the clock of one API is off by a day', [-dayMs, dayMs]),
  clockOff('clock-year', 'the clock of one API is off by a year', [-365 * dayMs, 365 * dayMs]),
];
