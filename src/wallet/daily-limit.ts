/**
 * A key's limit of points a day. Points are reserved before the movement and given back when it turns out not to have
 * happened; where that is unknown they stay reserved, so a limit is never passed, at most reached early.
 */
import { DateTime } from 'luxon';
import type { Program } from '#src/earning/program.ts';
import { programNow } from '#src/earning/program.ts';
import { errorTable, Problem } from '#src/errors.ts';
import type { AnyRedis } from '#src/platform/redis-nodes.ts';
import type { Points } from '#src/values.ts';
import { keys } from './keys.ts';

export interface DailyLimit {
  /** Runs `work` with `points` reserved of the key's day; `happened` says whether the points were really moved. */
  within<T>(
    key: { readonly keyId: string; readonly program: Program; readonly pointsPerDayMax: number | undefined },
    movement: {
      readonly points: Points;
      /** Whether this is a repeat of what was counted before; asked only where the limit would refuse it. */
      isRetry(): Promise<boolean>;
    },
    work: () => Promise<T>,
    happened: (result: T) => boolean,
  ): Promise<T>;
}

const keptSeconds = 2 * 86_400;

/** Counts points and answers how many the day has had. Whatever fails here comes before the movement. */
async function reserve(redis: AnyRedis, counter: string, points: Points): Promise<number> {
  try {
    const used = await redis.incrby(counter, points);
    if (used === points) await redis.expire(counter, keptSeconds);
    return used;
  } catch (error) {
    const detail = 'the limit of this key for the day cannot be counted at the moment; nothing was applied';
    throw new Problem('not_ready', detail, {}, { cause: error });
  }
}

/** Counters stand in Redis, one a key and day of the program's zone. */
export function createDailyLimit(redis: AnyRedis): DailyLimit {
  return {
    async within({ keyId, program, pointsPerDayMax }, { points, isRetry }, work, happened) {
      if (pointsPerDayMax === undefined || points === 0) return work();
      const day = DateTime.fromMillis(programNow(program), { zone: program.timeZone }).toISODate() ?? '';
      const counter = keys.dailyPoints(keyId, day);
      const used = await reserve(redis, counter, points);
      // What cannot be given back stays reserved: the movement's own answer is what the caller has to hear.
      const giveBack = () => redis.decrby(counter, points).catch(() => {});
      if (used > pointsPerDayMax) {
        await giveBack();
        if (await isRetry()) return work();
        throw new Problem('limit_exceeded', 'the movement is over the limit of this key for the day', {
          limit: pointsPerDayMax,
          used: used - points,
          required: points,
        });
      }
      try {
        const result = await work();
        if (!happened(result)) await giveBack();
        return result;
      } catch (error) {
        const unknown = !(error instanceof Problem) || errorTable[error.code].applied === 'unknown';
        if (!unknown) await giveBack();
        throw error;
      }
    },
  };
}
