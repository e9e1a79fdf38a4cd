/**
 * What the API processes behind one port and their supervisor say to each other. A process of a later version may run
 * under an older supervisor, so whoever hears a kind that it does not know ignores it.
 */
import type { NotReady } from '../health.ts';

/** A process that takes connections, and why it should not get any. */
export interface ProcessStanding {
  readonly number: number;
  readonly reasons: readonly NotReady[];
}

export type FromProcess =
  /** Said every half second from the moment on that it listens. */
  | { readonly kind: 'standing'; readonly reasons: readonly NotReady[] }
  | { readonly kind: 'ask'; readonly ask: number; readonly what: 'standings' | 'metrics' }
  | { readonly kind: 'metrics'; readonly collection: number; readonly text: string };

/** Of the others: who asks knows its own best. */
export type Answer =
  | { readonly kind: 'standings'; readonly ask: number; readonly standings: readonly ProcessStanding[] }
  | { readonly kind: 'texts'; readonly ask: number; readonly texts: readonly string[] };

export type ToProcess = Answer | { readonly kind: 'collect'; readonly collection: number };
