/** The chaos harness finds what it is for: builds without one of their guards, each caught in a short run with a fixed seed. */
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { brokenBuilds, buildBroken } from '../loadtest/chaos/broken.ts';
import { chaosRun } from './house/chaos.ts';
import { checkout } from './house/folders.ts';

test.each(['append', 'position', 'fence', 'refundCap', 'waiter'])(
  'a build without its guard is caught: %s',
  async (name) => {
    const broken = brokenBuilds.find((each) => each.name === name)!;
    const root = await buildBroken(broken, checkout, join(inject('folder'), `broken-${name}`));
    const { verdict, said } = await chaosRun(`chaos-${name}`, {
      seconds: broken.seconds,
      faults: broken.faults,
      callers: 24,
      root,
    });
    expect(verdict.findings.length, said).toBeGreaterThan(0);
  },
  300_000,
);
