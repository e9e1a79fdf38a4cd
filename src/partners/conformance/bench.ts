/**
 * What the checks stand on: an account at the endpoint whose points are known at every moment.
 *
 * The protocol has no call for a balance, on purpose. So the bench measures as anybody could: a redemption of one point more than
 * there should be has to be refused, one of all of them has to succeed, and what was taken is given back. Nothing is believed
 * because an answer says so; points that moved without an answer show here.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { inquiryOf, isRefusal, outcomeOf } from '#src/partners/protocol/outcomes.ts';
import type { MovementKind } from '#src/partners/protocol/schemas.ts';
import { type Client, Fault, type MovementCall } from './client.ts';
import { type BenchSettings, createMovements, pollMs, retold } from './movements.ts';

export type Bench = ReturnType<typeof createBench>;

/** The account needs fewer than this, so that a few redemptions measure it. */
export const pointsMax = 16_384;
/** Given at the beginning, so that checks can take points. */
const cushion = 2_000;

export function createBench(client: Client, settings: BenchSettings) {
  const movements = createMovements(client, settings);
  const { accrual, move, taken, giveBack } = movements;
  /** What the account has when everything was as it should be. */
  let level = 0;
  /** What it had before the run. */
  let found = 0;

  async function measured(): Promise<number> {
    const tooMany = await taken(pointsMax);
    if (tooMany !== undefined) {
      await giveBack([tooMany]);
      throw new Fault(`The account has more than ${pointsMax} points: name one with fewer.`);
    }
    const originals: string[] = [];
    let points = 0;
    for (let part = pointsMax / 2; part >= 1; part /= 2) {
      const original = await taken(part);
      if (original === undefined) continue;
      originals.push(original);
      points += part;
    }
    await giveBack(originals);
    return points;
  }

  async function compared(points: number): Promise<'more' | 'less' | 'as_many'> {
    const more = await taken(points + 1);
    if (more !== undefined) {
      await giveBack([more]);
      return 'more';
    }
    if (points === 0) return 'as_many';
    const all = await taken(points);
    if (all === undefined) return 'less';
    await giveBack([all]);
    return 'as_many';
  }

  return {
    client,
    settings,
    ...movements,
    level: () => level,

    /** Finds out what the account has, and sees to it that there is something to take. */
    async begin(): Promise<void> {
      await move('accrue', accrual(cushion));
      level = await measured();
      found = level - cushion;
    },

    /** Leaves the account with what it had. */
    async end(): Promise<void> {
      if (level !== found) await move(level > found ? 'redeem' : 'accrue', accrual(Math.abs(level - found)));
    },

    /** After a check that failed the account may have anything. */
    async measureAgain(): Promise<void> {
      level = await measured();
    },

    /** The account has by now `points` more than before, or less where they are below zero. `why` begins the sentence otherwise. */
    async expectMoved(points: number, why: string): Promise<void> {
      const has = await compared(level + points);
      if (has !== 'as_many') {
        const difference = (await measured()) - level;
        throw new Fault(
          `${why} ${Math.abs(points)} points should have been ${points < 0 ? 'taken' : 'given'}, and ${Math.abs(difference)} were ${difference < 0 ? 'taken' : 'given'}.`,
        );
      }
      level += points;
    },

    /** As `expectMoved(0)`, and over some time. */
    async expectStill(why: string): Promise<void> {
      const deadline = performance.now() + settings.watchMs;
      do {
        if ((await compared(level)) !== 'as_many') {
          const difference = (await measured()) - level;
          throw new Fault(
            `${why} ${Math.abs(difference)} points were ${difference < 0 ? 'taken' : 'given'} all the same.`,
          );
        }
        await delay(pollMs);
      } while (performance.now() < deadline);
    },

    /** It has to be refused for good, with this word where one is named. */
    async expectRefused(
      call: MovementCall | 'validate',
      body: object,
      code: string | undefined,
      what: string,
    ): Promise<void> {
      const sent = await client.call(call, body);
      const { outcome } = outcomeOf(sent.httpStatus, sent.body);
      if (!isRefusal(outcome) || (code !== undefined && sent.code !== code))
        throw new Fault(
          `${what} was answered with ${retold(sent)} in place of a refusal${code === undefined ? '' : ` with ${code}`}.`,
        );
    },

    /** No movement of this reference is in the endpoint's books. */
    async expectUnknown(kind: MovementKind, named: string, what: string): Promise<void> {
      const sent = await client.inquire(kind, named);
      if (inquiryOf(sent.httpStatus, sent.body).found !== 'nothing')
        throw new Fault(
          `${what}, and yet an inquiry for it is answered with ${retold(sent)} in place of 404 not_found.`,
        );
    },
  };
}
