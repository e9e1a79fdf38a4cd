/**
 * Tiers beside the follower: changes become known and are told, and recalculations are begun at the beginning of the program's
 * day, once the diary has what was done before it, and with a new version's ladders, and worked on. Any number of processes may
 * do this.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { App } from '#src/app.ts';
import { isDayRead } from '#src/diary/day-ends.ts';
import type { Hook } from '#src/diary/follower.ts';
import { createPace } from '#src/earning/gives/pace.ts';
import { type Program, type Programs, programNow } from '#src/earning/program.ts';
import type { Logger } from '#src/platform/telemetry.ts';
import { createAnnouncer, type Lane, tellChanges } from '#src/tiers/announcing.ts';
import { applyToMembers } from '#src/tiers/applying.ts';
import { dayOf } from '#src/tiers/days.ts';
import { hasLadders, laddersAt } from '#src/tiers/ladders.ts';
import { readerFault } from '#src/tiers/preview.ts';
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
      const touches = Map.groupBy(rows, ({ member }) => member);
      const reviewing = { ...reviewingOf(program), failed, touches };
      if (reviewing.ladders.ladders.length === 0) continue;
      await applyToMembers(
        tx,
        reviewing,
        [...touches.keys()].sort((a, b) => a - b),
      );
    }
  };
}

export interface TierWork {
  /** Begins the runs that are due, and sees to it that open ones are worked on; answers in how many programs they wait for the diary. */
  tick(): Promise<number>;
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
  let isStopping = false;
  const context = {
    pool,
    programs,
    operations,
    failed: (change: string, error: unknown) =>
      log.warn({ err: error, change }, 'a change of tier cannot be announced at the moment'),
    mayGoOn: () => !isStopping,
  };
  const lanes = {
    receipts: createAnnouncer(context, 'receipts'),
    nights: createAnnouncer(context, 'nights', createPace()),
  };
  /** The day and version for which a run was begun or seen, by program. */
  const begun = new Map<number, string>();
  let waits: readonly number[] = [];

  async function announceAll(lane: Lane): Promise<number> {
    if (!programs.all().some(hasLadders)) return 0;
    const known = await lanes[lane].announce(announcedPerTurn);
    metrics.tierChanges.inc(known);
    return known + (await tellChanges(pool));
  }

  async function publish(): Promise<void> {
    if (!programs.all().some(hasLadders)) return;
    const { silentMs, openRuns } = await openTierWork(pool);
    metrics.tierSilence.set(silentMs / 1_000);
    metrics.tierRunsOpen.set(openRuns);
    metrics.dayWait.set({ work: 'tiers' }, Math.max(0, ...waits) / 1_000);
  }

  async function keepAnnouncing(lane: Lane): Promise<void> {
    while (!isStopping) {
      const done = await announceAll(lane).catch((error: unknown) => {
        log.warn({ err: error }, 'changes of tier cannot be announced at the moment');
        return 0;
      });
      if (done === 0) await delay(idleMs);
    }
  }

  /** Begins the run that is due once the diary is through the days before; answers for how long that has been waited for. */
  async function begin(program: Program): Promise<number> {
    const now = programNow(program);
    const today = dayOf(now, program.timeZone);
    const due = `${today}.${laddersAt(program, now).version}`;
    if (begun.get(program.number) === due) return 0;
    const { status, waitedMs } = await isDayRead(pool, operations.wallet, program.number, today);
    if (status === 'waiting') return Math.max(1, waitedMs);
    if (status === 'given_up')
      log.error({ program: program.number, waitedMs }, 'tiers are recalculated without all of the diary');
    const run = await beginRun(pool, program);
    begun.set(program.number, due);
    if (run)
      log.info({ program: program.number, run: run.run, day: run.day }, 'a recalculation of tiers begins');
    return 0;
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

  /** A preview says as whom it ran; a person who installs should hear of it before. */
  async function sayReader(): Promise<void> {
    const fault = programs.all().some(hasLadders) ? await readerFault(pool) : undefined;
    if (fault)
      log.warn({ fault }, 'previews of tiers run as the service, in a transaction that writes nothing');
  }

  void sayReader().catch(() => {});
  let working: Promise<void> | undefined;
  const announcing = Promise.all([keepAnnouncing('receipts'), keepAnnouncing('nights')]);
  return {
    async tick() {
      const waited: number[] = [];
      await eachProgram(async (program) => void waited.push(await begin(program)));
      waits = waited.filter((ms) => ms > 0);
      await publish();
      working ??= eachProgram(workOn).finally(() => {
        working = undefined;
      });
      return waits.length;
    },
    idle: async () => working,
    async stop() {
      isStopping = true;
      await announcing;
      await working;
    },
  };
}
