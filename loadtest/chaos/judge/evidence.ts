/**
 * What the judge is shown: what callers were told, and what the books hold. The judge knows nothing else of the engine;
 * these are the shapes of its tables and answers, written down a second time on purpose.
 */

type Level = 'journal' | 'ledger';

export interface Figures {
  readonly available: number;
  readonly pending: number;
  readonly held: number;
  readonly debt: number;
}

/** A success as a caller was told it. */
export interface Told {
  readonly atMs: number;
  readonly status: number;
  readonly replayed: boolean;
  /** Hex of the operation where the answer names it. */
  readonly operation: string | undefined;
  /** `shard.epoch.seq` */
  readonly position: string;
  readonly reached: Level;
  /** Number of the member in the answer. */
  readonly member: number | undefined;
  /** Points that moved, where the answer says it. */
  readonly points: number | undefined;
  readonly balances: Figures | undefined;
}

export interface Refused {
  readonly atMs: number;
  readonly status: number;
  readonly code: string;
}

/** One attempt of a caller: a reference and everything that was answered to it. */
export interface Attempt {
  readonly kind: string;
  readonly client: number;
  readonly reference: string;
  readonly sentAtMs: number;
  readonly told: Told[];
  /** A refusal after which the caller did not try again. */
  readonly refused: Refused[];
  tries: number;
}

/** Points of a line of the books. */
export interface Entry {
  readonly account: string;
  readonly currency: number;
  readonly points: number;
  readonly member: number | null;
  readonly lot: number | null;
  readonly hold: string | null;
  readonly party: number | null;
}

/** What a record says of its own effect. */
export interface EffectText {
  readonly legs: readonly (readonly (string | number)[])[];
  readonly balances: readonly (readonly [number, number, number, number, number])[];
  readonly holds?: readonly string[];
  readonly expiresAt?: number;
}

interface RequestText {
  readonly body?: {
    readonly purchase?: { readonly lines: readonly { readonly amount: number }[] };
    readonly grant?: { readonly points: number };
    readonly points?: number;
  };
  /** [operation, note, [[currency, points], …]] of each original that was undone. */
  readonly undone?: readonly (readonly [string, string, readonly (readonly [number, number])[]])[];
}

export interface BookRecord {
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly operation: string;
  readonly kind: string;
  readonly client: number;
  readonly member: number;
  readonly origins: readonly string[];
  readonly referenceKey: string | null;
  readonly atMs: number;
  readonly conflictWith: string | null;
  /** Recovery gave it another number than its caller was told. */
  readonly decidedStale: boolean;
  readonly effect: EffectText;
  readonly request: RequestText;
  readonly entries: readonly Entry[];
}

export interface EpochRow {
  readonly shard: number;
  readonly epoch: number;
  readonly openedAtMs: number;
  readonly previousEpoch: number;
  readonly previousLastSeq: number;
  readonly lostFrom: number | null;
  readonly lostTo: number | null;
}

export interface Books {
  readonly program: number;
  /** Ordered by shard, epoch and sequence. */
  readonly records: readonly BookRecord[];
  readonly epochs: readonly EpochRow[];
  readonly positions: readonly { readonly shard: number; readonly epoch: number; readonly seq: number }[];
  readonly lots: readonly {
    readonly member: number;
    readonly currency: number;
    readonly lot: number;
    readonly points: number;
  }[];
  readonly debts: readonly { readonly member: number; readonly currency: number; readonly points: number }[];
  readonly holds: readonly { readonly hold: string; readonly status: string }[];
  readonly accounts: readonly {
    readonly account: string;
    readonly currency: number;
    readonly party: number;
    readonly points: bigint;
  }[];
  readonly transfers: readonly { readonly transfer: string; readonly state: string }[];
  readonly quarantined: readonly { readonly shard: number; readonly epoch: number; readonly seq: number }[];
}

/** The balances that the service showed when all was over. */
export interface Shown {
  readonly member: number;
  /** When it was asked for and when it was answered: a hold may end in between. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly figures: Figures;
}

/** A fault after which a disk, or a replica that was behind, may lack what `journal` promised. */
export interface Destruction {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Evidence {
  readonly attempts: readonly Attempt[];
  readonly books: Books;
  readonly shown: readonly Shown[];
  readonly destructions: readonly Destruction[];
}

export type Charge = 'lost' | 'duplicated' | 'negative' | 'drift' | 'unbalanced' | 'unnamed';

export interface Finding {
  readonly charge: Charge;
  readonly detail: string;
}
