/**
 * A guard, not a measurement: the service beside what it is compared with, in short rounds, one after the other and again, on
 * whatever machine this is and whatever else it does. Only ratios are judged, by the median of the rounds, against half of what
 * a quiet machine shows; and a slow minute may be followed by more rounds. What fails here has become several times slower.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Contestant, Stage, Standing, Surroundings } from '../loadtest/contestant.ts';
import { type Entry, ratiosOf, spread } from '../loadtest/marks.ts';
import { type Round, underLoad } from '../loadtest/round.ts';
import { thisEngine } from '../loadtest/setup/engine.ts';
import { usualDesign } from '../loadtest/setup/prisma.ts';
import { scriptOnly } from '../loadtest/setup/script-only.ts';
import { cacheFolder, checkout } from './house/folders.ts';
import { guard } from './house/guarding.ts';

const bounds = [
  { of: 'service', beside: 'script-only', atLeast: 0.25 },
  { of: 'service', beside: 'prisma', atLeast: 4 },
] as const;
const settings = { warmupMs: 800, measureMs: 1_200 };
const roundsMin = 3;
const roundsMax = 8;
const minutes = 60_000;

interface Runner {
  readonly contestant: Contestant;
  readonly standing: Standing;
  readonly rounds: Round[];
}

const house = new AsyncDisposableStack();
const runners: Runner[] = [];
let around: Surroundings;

beforeAll(async () => {
  const data = join(checkout, '.data');
  await mkdir(data, { recursive: true });
  // Below the checkout: the usual design's client is generated there, beside the packages that it imports.
  const folder = await mkdtemp(join(data, 'guard-'));
  const guardian = guard(folder);
  house.defer(() => void guardian.stdin?.end());
  house.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
  around = {
    folder,
    checkout,
    cacheDir: cacheFolder,
    members: 1_000,
    poolSizes: [20],
    abort: new AbortController().signal,
    print: () => undefined,
  };
  const stages: Stage[] = [scriptOnly(around), usualDesign(around), thisEngine(around)];
  // All stand from the first round to the last: idle ones cost next to nothing, and starts would take most of the time.
  for (const stage of stages) {
    if (stage.name === 'prisma') await stage.prepare();
    const standing = await stage.start();
    house.defer(() => standing.stop());
    runners.push({ contestant: stage.contestants[0]!, standing, rounds: [] });
  }
}, 5 * minutes);

afterAll(() => house.disposeAsync(), 2 * minutes);

function entries(): Entry[] {
  return runners.map(({ contestant, rounds }) => ({ contestant, chosen: '', rounds }));
}

function medians(): { readonly measure: string; readonly median: number; readonly atLeast: number }[] {
  return bounds.map(({ of, beside, atLeast }) => {
    const { median } = spread(ratiosOf(entries(), of, beside));
    return { measure: `${of} / ${beside}`, median, atLeast };
  });
}

test(
  'the service keeps a generous part of its speed beside a bare script call and beside the usual design',
  async () => {
    for (let number = 1; number <= roundsMax; number += 1) {
      for (const { contestant, standing, rounds } of runners)
        rounds.push(await underLoad(contestant, standing, settings, around));
      if (number >= roundsMin && medians().every(({ median, atLeast }) => median >= atLeast)) break;
    }
    for (const { measure, median, atLeast } of medians())
      expect(median, `${measure}, accruals a second`).toBeGreaterThanOrEqual(atLeast);
    for (const { contestant, rounds } of runners) {
      expect(
        rounds.every(({ refused }) => refused === 0),
        `${contestant.name}: every reply is 2xx`,
      ).toBe(true);
      expect(
        rounds.every(({ missing }) => missing === 0),
        `${contestant.name}: all that was accepted is stored`,
      ).toBe(true);
    }
  },
  8 * minutes,
);
