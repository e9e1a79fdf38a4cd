/**
 * Leases of budgets, from PostgreSQL into Redis (`grants.ts`, `scripts/limits.lua`). A movement that was short of a lease comes
 * here and is sent again afterwards. Those that come while a grant of the same budget and shard is under way wait for the next
 * one, which is asked for what they want together: otherwise each would take the points that the one before was granted.
 *
 * Where nothing is left to grant, shards may still hold parts that nobody there wants, or that were granted by somebody who died
 * before they were in Redis. They are called in, once a second at most, before a budget is said to be full.
 */
import type pg from 'pg';
import { Problem } from '#src/errors.ts';
import type { RedisNodes } from '#src/platform/redis-nodes.ts';
import type { Epochs } from './epochs.ts';
import {
  type BudgetTerms,
  closeRecalled,
  type Grant,
  type GrantRequest,
  grantLease,
  type Holding,
} from './grants.ts';
import { keys } from './keys.ts';
import type { ShortOf } from './outcome.ts';
import type { Written } from './written.ts';

/** What a movement is short of. */
export type Shortage = Omit<GrantRequest, 'shard' | 'epoch'>;

export interface Leases {
  /** `full` where the budget has nothing more to grant that would be of use. */
  obtain(shard: number, shortage: Shortage): Promise<'granted' | 'full'>;
  /** Obtains all that a movement is short of; adds budgets to those that are full, and answers them as part of its input. */
  fullOf(shard: number, program: number, short: readonly ShortOf[], full: Set<number>): Promise<string>;
}

export interface LeasesOptions {
  readonly pool: pg.Pool;
  readonly nodes: RedisNodes;
  readonly epochs: Epochs;
  readonly written: Written;
  readonly shardCount: number;
  /** A program's budget as it is now; undefined where there is none of that number. */
  termsOf(program: number, budget: number): BudgetTerms | undefined;
}

interface Round {
  request: GrantRequest;
  readonly done: Promise<Ended>;
}

interface Ended {
  readonly answer: 'granted' | 'full';
  /** What was granted beyond what was asked for. */
  readonly spare: number;
}

/** A full budget is not asked again for so long; what came back to it meanwhile is granted then. */
const fullForMs = 1_000;
const dayMs = 86_400_000;
/** How long what was called in is waited for, until the books have what was given from it. */
const booksMs = 1_000;
const namesMax = 10_000;

/** Remembers until when something holds; forgets everything where it would grow without end. */
function remember<Value>(map: Map<string, Value>, name: string, value: Value): void {
  if (map.size >= namesMax) map.clear();
  map.set(name, value);
}

export function createLeases({ pool, nodes, epochs, written, shardCount, termsOf }: LeasesOptions): Leases {
  const running = new Map<string, Promise<Ended>>();
  const gathering = new Map<string, Round>();
  const full = new Map<string, { readonly until: number; readonly rest: number }>();
  const recalledAt = new Map<string, number>();

  const nameOf = ({ program, budget }: Pick<Shortage, 'program' | 'budget'>) => `${program}.${budget}`;

  /** The time by which a budget is full for a while: of its program where it is spread over the day. */
  function clockOf({ program, budget }: Pick<Shortage, 'program' | 'budget'>): number {
    const pace = termsOf(program, budget)?.pace;
    return pace ? pace.day * dayMs + pace.elapsedMs : performance.now();
  }

  async function granted(request: GrantRequest): Promise<Grant> {
    const terms = termsOf(request.program, request.budget) ?? { pointsMax: 0 };
    return grantLease(pool, request, terms, shardCount).catch((error: unknown) => {
      throw new Problem('not_ready', 'the budget cannot be asked at the moment', {}, { cause: error });
    });
  }

  /** Runs one of the two scripts; undefined where the shard is in another epoch by now. */
  async function run(
    script: 'lease' | 'recall',
    shard: number,
    epoch: number,
    values: readonly (string | number)[],
  ): Promise<unknown> {
    const known = epochs.of(shard);
    if (known?.epoch !== epoch) return undefined;
    const redis = nodes.of(shard);
    try {
      return await redis.evalsha(known.scripts[script].sha, 1, keys.journal(shard), ...values);
    } catch (error) {
      void epochs.refresh().catch(() => {});
      // Nothing was given: whether the lease arrived, the next who is short will see.
      throw new Problem('shard_recovering', undefined, {}, { cause: error });
    }
  }

  async function recall(
    [shard, epoch, last]: Holding,
    of: Pick<Shortage, 'program' | 'budget'>,
  ): Promise<void> {
    const answer = (await run('recall', shard, epoch, [nameOf(of), epoch, last])) as
      | [string, number, number]
      | undefined;
    if (answer?.[0] !== 'recalled') return;
    const [, highest, seq] = answer;
    if ((await written.wait({ shard, epoch, seq }, booksMs)) === 'written')
      await closeRecalled(pool, of, { shard, epoch, highest });
  }

  /** Whether it was worth asking again. */
  async function recalled(request: GrantRequest, holding: readonly Holding[]): Promise<boolean> {
    const name = nameOf(request);
    const now = performance.now();
    if (holding.length === 0 || now - (recalledAt.get(name) ?? -fullForMs) < fullForMs) return false;
    remember(recalledAt, name, now);
    // A shard that cannot be asked keeps what it has.
    await Promise.allSettled(holding.map((each) => recall(each, request)));
    return true;
  }

  async function asked(request: GrantRequest): Promise<Ended> {
    let grant = await granted(request);
    if (grant.status === 'full' && !grant.isPaced && (await recalled(request, grant.holding)))
      grant = await granted(request);
    if (grant.status === 'full') {
      remember(full, nameOf(request), { until: clockOf(request) + fullForMs, rest: grant.rest });
      return { answer: 'full', spare: 0 };
    }
    if (grant.status === 'granted') {
      const { lease, points } = grant;
      const { shard, epoch } = request;
      const word = await run('lease', shard, epoch, [nameOf(request), epoch, lease, points]);
      if (word === 'installed' || word === 'known')
        return { answer: 'granted', spare: Math.max(0, points - request.points) };
    }
    void epochs.refresh().catch(() => {});
    throw new Problem('shard_recovering');
  }

  /** The next round begins when the one before has ended, with whoever has come until then. */
  function begin(key: string, request: GrantRequest): Round {
    const before = running.get(key);
    const ended = async (): Promise<Ended> => {
      const last = await before?.catch(() => undefined);
      gathering.delete(key);
      const { points } = round.request;
      if (last?.answer === 'granted' && last.spare >= points) return { ...last, spare: last.spare - points };
      return asked(round.request);
    };
    const round: Round = { request, done: Promise.resolve().then(ended) };
    running.set(key, round.done);
    gathering.set(key, round);
    const forget = () => {
      if (running.get(key) === round.done) running.delete(key);
    };
    round.done.then(forget, forget);
    return round;
  }

  async function obtain(shard: number, shortage: Shortage): Promise<'granted' | 'full'> {
    const known = full.get(nameOf(shortage));
    if (known && shortage.least > known.rest && clockOf(shortage) < known.until) return 'full';
    const epoch = epochs.of(shard)?.epoch;
    if (epoch === undefined) throw new Problem('shard_recovering');
    const key = `${shard}.${epoch}.${nameOf(shortage)}`;
    const request = { ...shortage, shard, epoch };
    const round = gathering.get(key);
    if (round) {
      const before = round.request;
      round.request = {
        ...before,
        points: before.points + request.points,
        least: Math.min(before.least, request.least),
        highest: Math.max(before.highest, request.highest),
      };
    }
    return (await (round ?? begin(key, request)).done).answer;
  }

  return {
    obtain,
    async fullOf(shard, program, short, full) {
      for (const [budget, points, least, highest] of short) {
        if ((await obtain(shard, { program, budget, points, least, highest })) === 'full') full.add(budget);
      }
      return full.size > 0 ? `,"full":[${[...full].join(',')}]` : '';
    },
  };
}
