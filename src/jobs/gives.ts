/**
 * Member days: plans what is due and gives it. A tick plans; the giving itself runs beside the ticks, until nothing is due any
 * more, so that a run of an hour keeps no other promotion waiting. Any number of processes may do this: each chunk is one
 * worker's at a time, and every gift is given once whoever gives it.
 */
import { randomUUID } from 'node:crypto';
import type { App } from '#src/app.ts';
import {
  type Chunk,
  claimChunk,
  endChunk,
  endRuns,
  keepChunk,
  type ProgramTime,
  returnChunk,
} from '#src/earning/gives/chunks.ts';
import { type GivingPromotion, givingPromotions } from '#src/earning/gives/days.ts';
import { dependsOnBirthday, dependsOnTier } from '#src/earning/gives/gift.ts';
import { giveChunk } from '#src/earning/gives/giving.ts';
import { createPace } from '#src/earning/gives/pace.ts';
import { gives, plannedRuns, planRuns, promotionOf, selectMembers } from '#src/earning/gives/plan.ts';
import { birthMonthsOf, openRuns } from '#src/earning/gives/runs.ts';
import { type Program, programNow } from '#src/earning/program.ts';
import { readBirthDays } from '#src/members/birth-days.ts';
import { tiersWhen } from '#src/tiers/history.ts';

export interface Giver {
  /** Plans what is due and sees to it that it is given; answers how many runs were planned. */
  tick(): Promise<number>;
  /** Waits until nothing is due that this process could give. */
  idle(): Promise<void>;
  /** Ends the pages that are being given. */
  stop(): Promise<void>;
}

/**
 * While chunks wait for the books, the others keep Redis busy; and a turn of the ledger writer costs the less a record the more wait for
 * it: 17,600 awards a second with eight, 20,700 with sixteen. At most 16,384 gifts are then on their way to the books.
 */
const chunksTogether = 16;
const birthDayRoundsMax = 20;
const statuses = ['planned', 'running', 'paused'] as const;

function namesBirthdays(program: Program): boolean {
  const isBirthday = ({ during }: GivingPromotion) =>
    during.member !== undefined && during.member !== 'anniversary';
  return program.versions.some((version) =>
    givingPromotions(version).some(
      (promotion) => isBirthday(promotion) || dependsOnBirthday(promotion, program),
    ),
  );
}

async function planProgram(app: App, program: Program): Promise<number> {
  const { pool, identity } = app;
  const { log } = app.telemetry;
  const planned = await planRuns(pool, program);
  const runs = await plannedRuns(pool, program);
  if (runs.length === 0) return planned;
  // Who changed the profile a moment ago is selected by the new birthday; where too many are unread, runs wait for the next tick.
  if (namesBirthdays(program)) {
    const read = await readBirthDays(pool, identity, program.number, birthDayRoundsMax);
    const { unreadable } = read;
    if (unreadable > 0)
      log.error(
        { program: program.number, unreadable },
        'profiles cannot be read; they have no birthday now',
      );
    if (!read.isComplete) return planned;
  }
  for (const run of runs) {
    const members = await selectMembers(pool, program, run);
    if (members === undefined) continue;
    const { promotion, occurrence } = run;
    log.info({ program: program.number, promotion: promotion.name, occurrence, members }, 'a run begins');
  }
  return planned;
}

async function publish(app: App): Promise<void> {
  const { metrics } = app.telemetry;
  const counts = new Map<string, number>(statuses.map((status) => [status, 0]));
  let lagMs = 0;
  for (const { program: number, status, runs, due_at: dueAt } of await openRuns(app.pool)) {
    counts.set(status, (counts.get(status) ?? 0) + runs);
    const program = app.programs.get(number);
    if (program && status !== 'paused' && dueAt !== null)
      lagMs = Math.max(lagMs, programNow(program) - dueAt);
  }
  for (const [status, runs] of counts) metrics.giveRuns.set({ status }, runs);
  metrics.giveLag.set(lagMs / 1_000);
}

export function createGiver(app: App): Giver {
  const { pool, operations, telemetry } = app;
  const { log, metrics } = telemetry;
  const owner = randomUUID();
  const pace = createPace();
  let isStopping = false;
  let giving: Promise<void> | undefined;

  function times(): ProgramTime[] {
    return app.programs.all().map((program) => ({ program: program.number, now: programNow(program) }));
  }

  async function workOn(chunk: Chunk): Promise<void> {
    const program = app.programs.get(chunk.program);
    const promotion = program && promotionOf(program, chunk.version, chunk.promotion);
    if (!promotion) throw new Error(`version ${chunk.version} of the program is not known here yet`);
    const done = await giveChunk(
      {
        operations,
        program,
        promotion,
        birthMonths: dependsOnBirthday(promotion, program)
          ? await birthMonthsOf(pool, chunk.members)
          : new Map(),
        tiers: dependsOnTier(promotion, program)
          ? await tiersWhen(pool, program, chunk.members, chunk.dueAt)
          : new Map(),
        mayGoOn: async () => !isStopping && (await keepChunk(pool, owner, chunk)),
        pace,
      },
      chunk,
    );
    if (!done) return returnChunk(pool, owner, chunk, undefined);
    if (!(await endChunk(pool, owner, chunk, done))) return;
    await endRuns(pool);
    metrics.gifts.inc({ outcome: 'given' }, done.given);
    for (const [outcome, members] of Object.entries(done.refused)) metrics.gifts.inc({ outcome }, members);
  }

  const claim = () => (isStopping ? undefined : claimChunk(pool, owner, times()));

  /** Works on one chunk after the other until none is due. */
  async function worker(first?: Chunk): Promise<void> {
    for (let chunk = first ?? (await claim()); chunk; chunk = await claim()) {
      try {
        await workOn(chunk);
      } catch (error) {
        const { run, chunk: number, attempt } = chunk;
        log.warn(
          { err: error, run, chunk: number, attempt },
          'a chunk could not be given; it is tried again',
        );
        const reason =
          error instanceof Error && !('severity' in error) ? error.message : 'the books cannot be asked';
        await returnChunk(pool, owner, chunk, reason.slice(0, 200));
      }
    }
  }

  async function giveAll(): Promise<void> {
    const first = await claim();
    if (!first) return;
    const others = Array.from({ length: chunksTogether - 1 }, () => worker());
    const ended = await Promise.allSettled([worker(first), ...others]);
    const failed = ended.find((each) => each.status === 'rejected');
    // The lease of what it had in hand ends, and a later tick begins again.
    if (failed) throw failed.reason;
  }

  async function tick(): Promise<number> {
    let planned = 0;
    for (const program of app.programs.all()) {
      if (!gives(program)) continue;
      try {
        planned += await planProgram(app, program);
      } catch (error) {
        // One program that cannot be planned must not keep the others waiting.
        log.warn({ err: error, program: program.number }, 'the runs of a program cannot be planned');
      }
    }
    giving ??= giveAll()
      .then(() => endRuns(pool))
      .then(
        () => {},
        (error: unknown) => log.warn({ err: error }, 'chunks cannot be claimed at the moment'),
      )
      .finally(() => {
        giving = undefined;
      });
    await publish(app);
    return planned;
  }

  return {
    tick,
    idle: async () => giving,
    async stop() {
      isStopping = true;
      await giving;
    },
  };
}
