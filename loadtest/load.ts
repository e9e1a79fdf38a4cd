/** Runs the load generator against a port. */

import { type Surroundings, startNode } from './contestant.ts';
import type { LoadSettings, Measured } from './generator.ts';

export interface Load {
  readonly pid: number;
  /** Resolves when the warm-up has ended. */
  readonly measuring: Promise<void>;
  /** Resolves when the measured window has ended. */
  readonly over: Promise<void>;
  readonly measured: Promise<Measured>;
}

const graceMs = 60_000;

/** Starts a run. The promises reject when the generator ends early. */
export function runLoad(settings: LoadSettings, around: Surroundings): Load {
  const generator = startNode('generator', ['loadtest/generator.ts'], around);
  // Not on the command line: a bulk request is longer than that may be.
  generator.send(settings);
  const measuring = generator.message(settings.warmupMs + graceMs).then(() => undefined);
  const over = measuring.then(() => generator.message(settings.measureMs + graceMs)).then(() => undefined);
  const measured = over.then(() => generator.message(graceMs)) as Promise<Measured>;
  measured.then(
    () => generator.exited,
    () => generator.stop(),
  );
  return { pid: generator.pid, measuring, over, measured };
}
