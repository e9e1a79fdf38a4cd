/** PostgreSQL: killed, away for a while, and ended in the middle of a COMMIT. */
import { waitUntil } from '#src/platform/local/processes.ts';
import { processState } from '../member-process.ts';
import { type Fault, seen } from './fault.ts';

const awayMs = 20_000;

async function isGone(pid: number): Promise<boolean> {
  const state = await processState(pid);
  return state === undefined || state === 'Z';
}

const kill: Fault = {
  name: 'kill-postgres',
  does: 'kill -9 of PostgreSQL',
  async inject({ house, random }) {
    const { pid, exited } = house.postgres;
    process.kill(pid, 'SIGKILL');
    await exited;
    seen(await isGone(pid), 'PostgreSQL is gone');
    return {
      evidence: `PostgreSQL (${pid}) is gone`,
      holdMs: random.whole(100, 3_000),
      heal: () => house.startPostgres(),
    };
  },
};

const away: Fault = {
  name: 'postgres-away',
  does: 'PostgreSQL is stopped and comes back after 20 s',
  async inject({ house }) {
    const { pid } = house.postgres;
    await house.postgres.stop();
    seen(await isGone(pid), 'PostgreSQL is gone');
    return { evidence: `PostgreSQL (${pid}) is stopped`, holdMs: awayMs, heal: () => house.startPostgres() };
  },
};

const inCommit: Fault = {
  name: 'postgres-in-commit',
  does: 'PostgreSQL is killed when a writer has sent COMMIT, whose answer never comes',
  async inject({ house, random }) {
    const victim = random.pick(house.of('writer'));
    const { pid, exited } = house.postgres;
    const afterMs = random.whole(0, 3);
    let isSent = false;
    victim.postgresLink.onRequest('commit\0', 'is lost', () => {
      // At once it never happened; a moment later it may have, and the writer cannot know.
      setTimeout(() => process.kill(pid, 'SIGKILL'), afterMs);
      isSent = true;
    });
    const caught = await waitUntil(() => isSent, 10_000, 5);
    if (!caught) victim.postgresLink.heal();
    seen(caught, `${victim.name} sends a COMMIT`);
    await exited;
    seen(await isGone(pid), 'PostgreSQL is gone');
    return {
      evidence: `PostgreSQL (${pid}) died ${afterMs} ms after ${victim.name} sent COMMIT`,
      holdMs: random.whole(100, 1_500),
      heal: () => house.startPostgres(),
    };
  },
};

export const postgresFaults: readonly Fault[] = [kill, away, inCommit];
