/** Working on runs until nothing of them is left to do, and planning them. */
import type pg from 'pg';
import { type Program, presentVersion } from '#src/earning/program.ts';
import { forgetFacts } from './facts-table.ts';
import { isTimeToRun, lastWholeDay, newestRun, planRun } from './runs.ts';
import { type Step, takeStep } from './steps.ts';

const forgottenPerTurn = 10_000;

/** Whether any version of a program's file ever said anything of segments. */
export function plansRuns({ versions }: Program): boolean {
  return versions.some(({ definition }) => definition.segments !== undefined);
}

/**
 * Plans the run that is due in a program by the time of day, once the diary is through its day (`isRead`, which is given the day
 * that has begun since); true where there is a new one.
 */
export async function planDue(
  pool: pg.Pool,
  program: Program,
  isRead: (beganDay: number) => Promise<boolean>,
): Promise<boolean> {
  const { segments } = presentVersion(program).definition;
  if (!segments || !isTimeToRun(program, segments)) return false;
  const day = lastWholeDay(program);
  const newest = await newestRun(pool, program.number);
  if (newest && newest.throughDay >= day && newest.version >= presentVersion(program).version) return false;
  return (await isRead(day + 1)) && planRun(pool, program);
}

/**
 * Takes the steps of a program's run until it is done, another process has it in hand or `mayGoOn` says no; forgets the facts of
 * runs before it then.
 */
export async function workOn(
  pool: pg.Pool,
  program: Program,
  mayGoOn: () => boolean,
  said: (step: Step) => void = () => {},
): Promise<void> {
  if (!plansRuns(program)) return;
  let isDone = false;
  while (mayGoOn()) {
    const step = await takeStep(pool, program);
    if (!step) break;
    said(step);
    isDone = step.status === 'done';
  }
  while (isDone && mayGoOn() && (await forgetFacts(pool, program.number, forgottenPerTurn)) > 0);
}
