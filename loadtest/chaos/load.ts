/**
 * The load: callers that send one movement after the other, some of them two at once about the same thing, so that caps and
 * single resolutions are raced for. It can be paused, and in the end every caller finishes what it is at.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, createClient, type Draft, type Outcome } from './client.ts';
import {
  bulkItem,
  capture,
  goodsBack,
  hold,
  memberFor,
  merge,
  receipt,
  redemption,
  refund,
  release,
  reversal,
  transfer,
  type World,
} from './drafts.ts';
import { hotMembers, type Tenant } from './house.ts';
import type { Attempt, Shown } from './judge/evidence.ts';
import { createRandom, type Random } from './random.ts';

interface LoadOptions {
  readonly urls: readonly string[];
  readonly tenant: Tenant;
  readonly seed: number;
  readonly callers: number;
}

export interface Load {
  readonly attempts: Attempt[];
  readonly client: Client;
  /** Answers with status 500, the first of them. */
  readonly broken: readonly string[];
  /** When each success was first heard, in order. */
  readonly acknowledgedAtMs: readonly number[];
  /** Natural references that were acknowledged and their drafts, the latest of each member: for a second use later. */
  readonly repeatable: ReadonlyMap<string, { readonly attempt: Attempt; readonly draft: Draft }>;
  /** Callers finish what they are at and wait. */
  pause(): Promise<void>;
  resume(): void;
  /** Callers finish what they are at, for so long as they are patient, and end. Answers how many were still at it. */
  stop(patienceMs: number): Promise<number>;
  /** What the service shows of every member that took part. */
  show(): Promise<Shown[]>;
}

const coldMembers = 120;
const rememberedMax = 60;
const brokenMax = 5;

function uuidV7(): string {
  const hex = Date.now().toString(16).padStart(12, '0') + randomBytes(10).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Keeps the newest. */
function remember<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > rememberedMax) list.shift();
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}

/** Enrols everybody and starts the callers. */
export async function startLoad(options: LoadOptions): Promise<Load> {
  const { urls, tenant, seed, callers } = options;
  const attempts: Attempt[] = [];
  const acknowledgedAtMs: number[] = [];
  const broken: string[] = [];
  const repeatable = new Map<string, { attempt: Attempt; draft: Draft }>();
  let [isOver, isStopping] = [false, false];
  let gate: PromiseWithResolvers<void> | undefined;
  let [references, merges, busy] = [0, 0, 0];
  const world: World = {
    hot: hotMembers,
    cold: names('cold', coldMembers),
    accruals: [],
    redemptions: [],
    holds: [],
    reference(random) {
      references += 1;
      return random.chance(0.5) ? uuidV7() : `s1/t${random.whole(1, 9)}/${seed}/${references}`;
    },
  };
  const client = createClient({
    urls,
    token: tenant.token,
    client: tenant.client,
    attempts,
    isOver: () => isOver,
    broken: (answer) => void (broken.length < brokenMax && broken.push(answer)),
    acknowledged: (atMs) => void acknowledgedAtMs.push(atMs),
  });

  async function accrue(random: Random, member = memberFor(world, random)): Promise<void> {
    const { order, ...draft } = receipt(world, random, member);
    const { attempt, reply } = await client.send(draft, random);
    if (!reply || reply.status >= 300) return;
    remember(world.accruals, { id: String(reply.body.id), order });
    if (draft.reference.startsWith('s1/')) repeatable.set(member, { attempt, draft });
  }

  function rememberSpent({ reply }: Outcome): void {
    if (!reply || reply.status >= 300) return;
    const {
      id,
      points,
      object,
      redemption: captured,
    } = reply.body as {
      id: string;
      points: number;
      object: string;
      redemption?: { id: string };
    };
    if (object === 'redemption') remember(world.redemptions, { id, points });
    else if (captured) remember(world.redemptions, { id: captured.id, points });
    else if (reply.body.status === 'held') remember(world.holds, { id, points });
  }

  async function mergeSomebody(random: Random): Promise<void> {
    merges += 1;
    const member = `merged-${merges}`;
    const { order: _order, ...draft } = receipt(world, random, member);
    await client.send({ ...draft, body: { ...draft.body, enrol: true } }, random);
    await client.send(merge(world, random, member), random);
  }

  /** Two at once under two references: together they may not undo or settle more than there is. */
  async function race(random: Random, drafts: readonly Draft[]): Promise<void> {
    const outcomes = await Promise.all(drafts.map((draft) => client.send(draft, random.fork())));
    for (const outcome of outcomes) if (outcome.attempt.kind === 'capture') rememberSpent(outcome);
  }

  function settleHold(random: Random): Promise<void> {
    const of = world.holds.splice(random.whole(0, world.holds.length - 1), 1)[0]!;
    if (random.chance(0.3)) return race(random, [capture(world, random, of), release(world, random, of)]);
    if (random.chance(0.4)) return client.send(release(world, random, of), random).then(() => undefined);
    return client.send(capture(world, random, of), random).then(rememberSpent);
  }

  async function undo(random: Random): Promise<void> {
    if (random.chance(0.55) && world.redemptions.length > 0) {
      const of = random.pick(world.redemptions);
      const drafts = Array.from({ length: random.chance(0.4) ? 2 : 1 }, () => refund(world, random, of));
      return race(random, drafts);
    }
    if (world.accruals.length === 0) return;
    const of = random.pick(world.accruals);
    const wanted = random.chance(0.6) ? reversal : goodsBack;
    return race(
      random,
      Array.from({ length: random.chance(0.3) ? 2 : 1 }, () => wanted(world, random, of)),
    );
  }

  async function step(random: Random): Promise<void> {
    const dice = random.next();
    if (dice < 0.36) return accrue(random);
    if (dice < 0.42)
      return client.sendBulk(
        Array.from({ length: random.whole(2, 8) }, () => bulkItem(world, random)),
        random,
      );
    if (dice < 0.6) return rememberSpent(await client.send(redemption(world, random), random));
    if (dice < 0.7) return rememberSpent(await client.send(hold(world, random), random));
    if (dice < 0.8) return world.holds.length > 0 ? settleHold(random) : accrue(random);
    if (dice < 0.93) return undo(random);
    if (dice < 0.985) {
      const draft = transfer(world, random);
      return draft ? client.send(draft, random).then(() => undefined) : undefined;
    }
    return mergeSomebody(random);
  }

  async function run(random: Random): Promise<void> {
    while (!isStopping) {
      if (gate) await gate.promise;
      if (isStopping) return;
      busy += 1;
      try {
        await step(random);
      } finally {
        busy -= 1;
      }
      // A till between two receipts; without it the callers would take the cores from what they call.
      await delay(random.whole(0, 25));
    }
  }

  async function enrolAll(): Promise<void> {
    const items = [...world.hot, ...world.cold].map((member) => ({ member }));
    const answer = await fetch(`${urls[0]}/v1/members/bulk`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tenant.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ items }),
      signal: AbortSignal.timeout(20_000),
    });
    if (answer.status !== 200) throw new Error(`nobody was enrolled: ${await answer.text()}`);
    await answer.arrayBuffer();
  }

  await enrolAll();
  const random = createRandom(seed);
  let failure: unknown;
  const running = Promise.all(Array.from({ length: callers }, () => run(random.fork()))).catch(
    (error: unknown) => {
      failure = error;
      isStopping = true;
    },
  );

  async function figuresOf(member: string): Promise<Shown> {
    const fromMs = Date.now();
    const { status, body } = await client.read(`/v1/members/${encodeURIComponent(member)}/balances`);
    if (status !== 200) throw new Error(`the balance of ${member} is not shown: ${JSON.stringify(body)}`);
    const { available, pending, held, debt } = (body.balances as { points?: Shown['figures'] }).points ?? {
      available: 0,
      pending: 0,
      held: 0,
      debt: 0,
    };
    return {
      member: Number.parseInt(String(body.member).slice(4), 36),
      fromMs,
      toMs: Date.now(),
      figures: { available, pending, held, debt },
    };
  }

  return {
    attempts,
    client,
    broken,
    acknowledgedAtMs,
    repeatable,
    async pause() {
      gate ??= Promise.withResolvers();
      for (let turn = 0; busy > 0 && turn < 1_000; turn += 1) await delay(10);
    },
    resume() {
      gate?.resolve();
      gate = undefined;
    },
    async stop(patienceMs) {
      isStopping = true;
      gate?.resolve();
      await Promise.race([running, delay(patienceMs, undefined, { ref: false })]);
      const left = busy;
      isOver = true;
      await running;
      if (failure !== undefined) throw failure;
      return left;
    },
    async show() {
      const shown: Shown[] = [];
      for (const member of [...world.hot, ...world.cold]) shown.push(await figuresOf(member));
      return shown;
    },
  };
}
