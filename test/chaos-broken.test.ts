/**
 * The chaos harness finds what it is for: builds without one of their guards, each caught in a short run with a fixed seed. Two
 * of them take 40 and 60 s to show and only run with `BROKEN_BUILDS=all`.
 */
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { brokenBuilds, buildBroken } from '../loadtest/chaos/broken.ts';
import { chaosRun } from './house/chaos.ts';
import { checkout } from './house/folders.ts';

const quick = ['append', 'fence', 'refundCap'];
const chosen = process.env.BROKEN_BUILDS === 'all' ? [...quick, 'position', 'waiter'] : quick;

test.each(chosen)(
  'a build without its guard is caught: %s',
  async (name) => {
    const broken = brokenBuilds.find((each) => each.name === name)!;
    const root = await buildBroken(broken, checkout, join(inject('folder'), `broken-${name}`));
    const { verdict, said } = await chaosRun(`chaos-${name}`, {
      seconds: broken.seconds,
      faults: broken.faults,
      // Half as many callers are enough to show it, but of a writer that goes on beside the next one.
      callers: name === 'fence' ? 24 : 12,
      root,
    });
    expect(verdict.findings.length, said).toBeGreaterThan(0);
  },
  300_000,
);
