/**
 * The counter-examples of the search, taken with the real scripts and the real writer with that guard left out of their
 * source: after every step the stores hold what the model says, and in the end the same is wrong. And the other way
 * round: with all guards, walks through the model are what the real code does, so it is this protocol that was searched.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openStores, type Stores } from './house/stores.ts';
import { boundsOf, countsFor, type Edit, guardCases, isFalselyWritten, reloaded } from './protocol/guards.ts';
import { after } from './protocol/model.ts';
import type { Protocol, Step } from './protocol/protocol.ts';
import { openReplay, type Replay } from './protocol/replay.ts';
import { allMoves, falselyWritten, faultOf, heal, search } from './protocol/search.ts';
import { firstState, isWritten, type State } from './protocol/state.ts';
import { seenIn } from './protocol/stores.ts';
import { loadVariant } from './protocol/variant.ts';

async function onRealStores(
  edits: readonly Edit[],
  work: (replay: Replay, stores: Stores) => Promise<void>,
): Promise<void> {
  const stores = await openStores({ onlyOneRedis: 'the model has one, which goes back in time' });
  const folder = join(stores.folder, 'variant');
  await mkdir(folder);
  const replay = await openReplay(stores, await loadVariant(folder, edits));
  try {
    await work(replay, stores);
  } finally {
    await replay.end();
    await stores.close();
  }
}

/** Takes steps in the model and in reality, and compares after each. */
async function takeAll(
  replay: Replay,
  from: State,
  steps: readonly Step[],
  protocol: Protocol,
): Promise<State> {
  let state = from;
  for (const [i, step] of steps.entries()) {
    const next = after(state, step, protocol);
    if (!next) throw new Error(`step ${i + 1}, ${step.verb}, cannot be taken`);
    state = next;
    await replay.take(step, state).catch((error: unknown) => {
      throw new Error(`step ${i + 1}, ${step.verb} of ${step.who}`, { cause: error });
    });
    expect(await replay.seen(), `after step ${i + 1}, ${step.verb} of ${step.who}`).toEqual(seenIn(state));
  }
  return state;
}

/** What the search says is wrong is what a caller meets. */
async function meet(replay: Replay, state: State, protocol: Protocol): Promise<void> {
  const early = falselyWritten(state, protocol);
  if (early !== undefined) {
    expect(await replay.waited(state.issued[early]!)).toBe('written');
    expect((await replay.seen()).rows).not.toContainEqual(expect.stringMatching(` ${early}$`));
  } else if (protocol.without === 'drained check') {
    expect(await replay.loaded(0)).toBe('fenced');
  }
}

describe('without a guard the real code goes wrong the way the search says', () => {
  test.each(guardCases)(
    '$guard',
    async ({ guard, bounds, kind, says, edits }) => {
      const protocol = { without: guard, bounds: boundsOf({ ...bounds, takeovers: 100 }) };
      const { found } = search(
        { ...protocol, bounds: boundsOf(bounds) },
        600_000,
        countsFor(says === undefined ? { kind } : { kind, says }),
      );
      expect(found).toBeDefined();
      await onRealStores(edits, async (replay) => {
        const wrong = await takeAll(replay, firstState(), found!.trace, protocol);
        await meet(replay, wrong, protocol);
        const { steps, end } = heal(wrong, protocol);
        await takeAll(replay, wrong, steps, protocol);
        if (kind === 'operations') await meet(replay, end, protocol);
        expect(faultOf(wrong, protocol)).toEqual(found!.fault);
      });
    },
    60_000,
  );
});

/** Numbers from 0 to 1, always the same ones for a seed. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('with all guards', () => {
  test.each([3, 7, 8, 35])(
    'the real code does what the model says: walk %i',
    async (seed) => {
      const times = { loads: 20, evictions: 6, takeovers: 4, restarts: 2, wipes: 1, copies: 3, returns: 1 };
      const protocol = { without: undefined, bounds: boundsOf({ ...times, operations: 8, trims: 1 }) };
      const next = chance(seed);
      await onRealStores([], async (replay) => {
        let state = firstState();
        for (let step = 0; step < 60; step += 1) {
          const possible = allMoves.filter((move) => move.length === 1 && after(state, move[0]!, protocol));
          const move = possible[Math.floor(next() * possible.length)];
          if (!move) break;
          state = await takeAll(replay, state, move, protocol);
        }
        const { steps, end } = heal(state, protocol);
        const unbounded = { ...protocol, bounds: { ...protocol.bounds, takeovers: 1_000 } };
        await takeAll(replay, state, steps, unbounded);
        expect(end.issued.length).toBeGreaterThan(0);
        expect(faultOf(state, protocol)).toBeUndefined();
      });
    },
    60_000,
  );
});

describe('older data put into a Redis while it runs', () => {
  test('let `ledger` be said of what recovery has to book again first, and what recovery books is not lost', async () => {
    const { found } = search(reloaded, 400_000, isFalselyWritten);
    expect(found).toBeDefined();
    await onRealStores([], async (replay) => {
      const early = await takeAll(replay, firstState(), found!.trace, reloaded);
      await meet(replay, early, reloaded);
      const { steps, end } = heal(early, reloaded);
      await takeAll(replay, early, steps, reloaded);
      expect(end.issued.every((_, operation) => isWritten(end.books, operation))).toBe(true);
    });
  }, 60_000);
});
