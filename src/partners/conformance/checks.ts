/** What a conformance run consists of: each check is a sentence of the protocol that an endpoint keeps or breaks. */
import type { Bench } from './bench.ts';

export interface Check {
  readonly name: string;
  /** What the endpoint promises. */
  readonly says: string;
  /** Throws a `Fault` where the promise is broken. */
  run(bench: Bench): Promise<void>;
}
