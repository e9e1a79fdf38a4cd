/**
 * Tiers beside the follower: changes become known and are told, and recalculations are begun at the beginning of the program's
 * day, with a new version's ladders, and worked on. Any number of processes may do this.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { App } from '#src/app.ts';
import type { Hook } from '#src/diary/follower.ts';
import { createPace } from '#src/earning/gives/pace.ts';
import { type Program, type Programs, programNow } from '#src/earning/program.ts';
import type { Logger } from '#src/platform/telemetry.ts';
import { createAnnouncer, tellChanges } from '#src/tiers/announcing.ts';
import { applyToMembers } from '#src/tiers/applying.ts';
import { dayOf } from '#src/tiers/days.ts';
import { hasLadders, laddersAt } from '#src/tiers/ladders.ts';
import { beginRun, openTierWork, reviewingOf, workOnRun } from '#src/tiers/recalculating.ts';
import type { Reviewing } from '#src/tiers/reviewing.ts';

/** A member that the rules of its ladder cannot say anything of holds up nobody; the next recalculation tries it again. */
function failedInto(log: Pick<Logger, 'error'>): NonNullable<Reviewing['failed']> {
  return (member, ladder, error) => log.error({ err: error, member, ladder }, 'a tier cannot be reviewed');
}

/** Looks at members whose days have changed, behind them in the same commit. Programs without ladders cost nothing here. */
export function reviewTouched(programs: Programs, log: Pick<Logger, 'error'>): Hook {
  const failed = failedInto(log);
  return async (tx, touched) => {
    const byProgram = Map.groupBy(touched, ({ program }) => program.number);
    for (const [number, rows] of byProgram) {
      const program = programs.get(number);
      if (!program || !hasLadders(program)) continue;
      const reviewing = { ...reviewingOf(program), failed };
      if (reviewing.ladders.ladders.length === 0) continue;
      const members = [...new Set(rows.map(({ member }) => member))].sort((a, b) => a - b);
      await applyToMembers(tx, reviewing, members);
    }
  };
}

export interface TierWork {
  /** Begins the runs that are due, and sees to it that open ones are worked on. */
  tick(): Promise<void>;
  /** Waits until no run is left that this process could work on. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

const idleMs = 100;
const announcedPerTurn = 4_096;

/** Announces and tells until it is stopped; recalculates when it is told to. */
export function startTiers(app: App): TierWork {
  const { pool, programs, operations, telemetry } = app;
  const { log, metrics } = telemetry;
  const context = {
    pool,
    programs,
    operations,
    failed: (change: string, error: unknown) =>
      log.warn({ err: error, change }, 'a change of tier cannot be announced at the moment'),
  };
  const announcer = createAnnouncer(context, createPace());
  /** The day and version for which a run was begun or seen, by program. */
  const begun = new Map<number, string>();
  let isStopping = false;

  async function announceAll(): Promise<number> {
    if (!programs.all().some(hasLadders)) return 0;
    const known = await announcer.announce(announcedPerTurn);
    metrics.tierChanges.inc(known);
    return known + (await tellChanges(pool));
  }

  async function publish(): Promise<void> {
    if (!programs.all().some(hasLadders)) return;
    const { silentMs, openRuns } = await openTierWork(pool);
    metrics.tierSilence.set(silentMs / 1_000);
    metrics.tierRunsOpen.set(openRuns);
  }

  async function keepAnnouncing(): Promise<void> {
    while (!isStopping) {
      const done = await announceAll().catch((error: unknown) => {
        log.warn({ err: error }, 'changes of tier cannot be announced at the moment');
        return 0;
      });
      if (done === 0) await delay(idleMs);
    }
  }

  async function begin(program: Program): Promise<void> {
    const now = programNow(program);
    const due = `${dayOf(now, program.timeZone)}.${laddersAt(program, now).version}`;
    if (begun.get(program.number) === due) return;
    const run = await beginRun(pool, program);
    begun.set(program.number, due);
    if (run)
      log.info({ program: program.number, run: run.run, day: run.day }, 'a recalculation of tiers begins');
  }

  /** One program that cannot be looked at must not keep the others waiting. */
  async function eachProgram(work: (program: Program) => Promise<void>): Promise<void> {
    for (const program of programs.all().filter(hasLadders)) {
      await work(program).catch((error: unknown) => {
        log.warn({ err: error, program: program.number }, 'the tiers of a program cannot be recalculated');
      });
    }
  }

  async function workOn(program: Program): Promise<void> {
    const work = () => workOnRun(pool, program, failedInto(log));
    for (let run = await work(); run; run = await work()) if (isStopping || run.status !== 'running') return;
  }

  let working: Promise<void> | undefined;
  const announcing = keepAnnouncing();
  return {
    async tick() {
      await eachProgram(begin);
      await publish();
      working ??= eachProgram(workOn).finally(() => {
        working = undefined;
      });
    },
    idle: async () => working,
    async stop() {
      isStopping = true;
      await announcing;
      await working;
    },
  };
}
