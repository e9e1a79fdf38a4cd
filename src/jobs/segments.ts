/**
 * Segments: plans the run of each program's last day once its time has come and the diary has it, and works on it beside the ticks. Any number of
 * processes may do this: a run's row is one process's at a time.
 */
import type { App } from '#src/app.ts';
import { isDayRead } from '#src/diary/day-ends.ts';
import { type Program, presentVersion, programNow } from '#src/earning/program.ts';
import { dayMinutes, momentOf } from '#src/earning/rules/calendar.ts';
import { lastWholeDay, newestRun } from '#src/segments/runs.ts';
import { planDue, plansRuns, workOn } from '#src/segments/working.ts';

export interface Segmenter {
  /** Plans what is due and sees to it that it is worked on; answers how many runs were planned. */
  tick(): Promise<number>;
  /** Waits until nothing is left that this process could do. */
  idle(): Promise<void>;
  /** Ends the range of members that is being worked on. */
  stop(): Promise<void>;
}

export function createSegmenter(app: App): Segmenter {
  const { pool, operations, telemetry } = app;
  const { log, metrics } = telemetry;
  let isStopping = false;
  let working: Promise<void> | undefined;

  const withSegments = () => app.programs.all().filter(plansRuns);

  async function workOnAll(): Promise<void> {
    let hasEnded = false;
    for (const program of withSegments()) {
      try {
        await workOn(
          pool,
          program,
          () => !isStopping,
          ({ run, status, memberThrough }) => {
            if (status !== 'done') return;
            hasEnded = true;
            log.info({ program: program.number, run, memberThrough }, 'members are measured');
          },
        );
      } catch (error) {
        // What the step had done is undone; a later tick takes it again. The other programs go on.
        log.warn(
          { err: error, program: program.number },
          'a step of measuring members failed; it is tried again',
        );
      }
    }
    if (hasEnded) await app.announce('program').catch(() => {});
  }

  /** For how long a program's last whole day has not been measured, beyond the time of day at which that begins. */
  async function publish(): Promise<void> {
    let lateMinutes = 0;
    for (const program of withSegments()) {
      const { segments } = presentVersion(program).definition;
      const newest = segments && (await newestRun(pool, program.number));
      if (!newest) continue;
      const days = lastWholeDay(program) - newest.throughDay + (newest.status === 'done' ? 0 : 1);
      if (days <= 0) continue;
      const [hours = 0, minutes = 0] = segments.runAt.split(':').map(Number);
      const now = momentOf(programNow(program), program.timeZone).minuteOfDay;
      lateMinutes = Math.max(lateMinutes, now - hours * 60 - minutes + (days - 1) * dayMinutes);
    }
    metrics.segmentLag.set(lateMinutes * 60);
    metrics.dayWait.set({ work: 'segments' }, waitedMs / 1_000);
  }

  let waitedMs = 0;

  async function isRead(program: Program, beganDay: number): Promise<boolean> {
    const wait = await isDayRead(pool, operations.wallet, program.number, beganDay);
    if (wait.status === 'given_up')
      log.error(
        { program: program.number, waitedMs: wait.waitedMs },
        'members are measured without all of the diary',
      );
    if (wait.status !== 'waiting') return true;
    waitedMs = Math.max(waitedMs, wait.waitedMs);
    return false;
  }

  return {
    async tick() {
      let planned = 0;
      waitedMs = 0;
      for (const program of withSegments()) {
        try {
          planned += Number(await planDue(pool, program, (beganDay) => isRead(program, beganDay)));
        } catch (error) {
          log.warn({ err: error, program: program.number }, 'a run of segments cannot be planned');
        }
      }
      working ??= workOnAll().finally(() => {
        working = undefined;
      });
      await publish();
      return planned;
    },
    idle: async () => working,
    async stop() {
      isStopping = true;
      await working;
    },
  };
}
