/**
 * The journal record: the contract between the wallet scripts (which append it to a shard's Redis stream) and everything
 * that reads the books. A record says what was decided, in ids and numbers; why it was decided is recomputed from the
 * request and the versioned rules.
 *
 * `effect.legs` are the double-entry legs exactly as they were decided; `postings.ts` checks that they sum to zero.
 */
import { z } from 'zod';
import type { EpochMs, MemberNumber, OperationHex, OperationKind } from './values.ts';
import { operationPrefix } from './values.ts';

const whole = z.number().int();
/** Numbers of currencies, lots and parties fit PostgreSQL's integer. */
const small = z.number().int().min(0).max(2_147_483_647);
const currency = z.number().int().min(1).max(32_767);
const operationHex = z.string().regex(/^[0-9a-f]{32}$/);
const points = whole.refine((value) => Number.isSafeInteger(value));

/** [account, currency, points, lot, party, expiresAt, availableAt]: a member's lot; times are epoch ms, 0 = none. */
const walletLeg = z.tuple([z.literal('wallet'), currency, points, small, small, whole, whole]);
/** [account, currency, points, lot, hold, party, expiresAt, availableAt]: points of a lot that wait under a hold. */
const heldLeg = z.tuple([z.literal('held'), currency, points, small, operationHex, small, whole, whole]);
/** [account, currency, points, party]: what a member owes, or an account of the program. */
const plainLeg = z.tuple([
  z.enum([
    'debt',
    'issuance',
    'redemption',
    'breakage',
    'adjustment',
    'clearing',
    'unclaimed',
    'partner',
    'suspense',
    'recovered',
  ]),
  currency,
  points,
  small,
]);
export const legSchema = z.union([walletLeg, heldLeg, plainLeg]);
export type WalletLeg = z.infer<typeof walletLeg>;
export type HeldLeg = z.infer<typeof heldLeg>;
export type PlainLeg = z.infer<typeof plainLeg>;
export type Leg = z.infer<typeof legSchema>;

/** [currency, available, pending, held, debt] after the operation. */
export const balanceRowSchema = z.tuple([whole, points, points, points, points]);
export type BalanceRow = z.infer<typeof balanceRowSchema>;

/** [counter, period, by, after]: a counter of the member that the operation changed. */
export const counterRowSchema = z.tuple([small, whole, whole, whole]);
export type CounterRow = z.infer<typeof counterRowSchema>;

/**
 * [currency, points, member, lot, member of the original, lot of the original]: points that had ended in a lot and were taken
 * back from there for what the original gave to its lot.
 */
export const expiredRowSchema = z.tuple([currency, points, whole, small, whole, small]);

/** [budget, lease, points]: taken from a lease of the record's shard and epoch; of lease 0 and negative: came back to the budget. */
export const budgetRowSchema = z.tuple([small, small, points]);
export type BudgetRow = z.infer<typeof budgetRowSchema>;

export const effectSchema = z.object({
  legs: z.array(legSchema),
  balances: z.array(balanceRowSchema),
  /** Points that a reversal could not take from lots, by currency. */
  shortfall: z.array(z.tuple([whole, points])).optional(),
  /** Points that a reversal did not take from the member, because they had ended unused (`scripts/past.lua`). */
  expired: z.array(expiredRowSchema).optional(),
  /** What the operation counted (`scripts/counters.lua`). */
  counters: z.array(counterRowSchema).optional(),
  /** Where an award was trimmed: the points given of each award, in the order in which they were asked. */
  given: z.array(points).optional(),
  /** What was given from budgets or came back to them (`scripts/limits.lua`). */
  budgets: z.array(budgetRowSchema).optional(),
  /** What budgets that are full have cut: [award (from 1), points]. */
  full: z.array(z.tuple([small, points])).optional(),
  /** When a hold ends. */
  expiresAt: whole.optional(),
  /** Holds that ended or were released with this record. */
  holds: z.array(operationHex).optional(),
  status: z.enum(['active', 'suspended', 'closed', 'merging', 'merged']).optional(),
  frozen: whole.optional(),
  facts: whole.optional(),
  into: whole.optional(),
});
export type Effect = z.infer<typeof effectSchema>;
/** The writer checks every record: compiled, because the ordinary parser costs as much as the COPY of its rows. */
const checkedEffect = z.compile(effectSchema);

/** One record of a shard's journal. `request` stays text on its way to the books; only readers of a single operation parse it. */
export interface JournalRecord {
  readonly epoch: number;
  readonly seq: number;
  readonly kind: OperationKind;
  readonly program: number;
  readonly client: number;
  readonly member: MemberNumber;
  readonly operation: OperationHex;
  /** The operations that this one follows from, such as the redemption of a refund. */
  readonly origins: readonly OperationHex[];
  readonly order: string;
  readonly referenceKey: string;
  readonly fingerprint: string;
  readonly at: EpochMs;
  readonly occurredAt: EpochMs;
  /** The caller waits until the books have the record. */
  readonly isAwaited: boolean;
  readonly request: string;
  readonly effectText: string;
}

/** The record that opens an epoch; only recovery writes it. */
export interface OpeningRecord {
  readonly epoch: number;
  readonly seq: 0;
  readonly kind: 'opened';
  readonly previousEpoch: number;
  readonly previousLastSeq: number;
}

/**
 * The format of the records that this version appends, raised by one with every change that a writer of the version before
 * could not book: a kind, a column, an account, a part of the effect. Writers read all formats up to their own; a record says its format in the name of
 * its field, so that an older writer leaves it to a newer one instead of stopping the shard. (test/upgrade.pure.test.ts
 * holds what the present format is.)
 */
export const recordFormat: number = 4;

/** The name of a journal field whose content is of this version's format: `record`, later `record.3`. */
export function fieldNamed(word: 'record' | 'rebooked'): string {
  return recordFormat === 1 ? word : `${word}.${recordFormat}`;
}

/** A record that cannot even be read: its shard stops until a person has looked at it. */
export class UnreadableRecord extends Error {
  readonly streamId: string;
  constructor(streamId: string, reason: string) {
    super(`journal record ${streamId} is unreadable: ${reason}`);
    this.name = 'UnreadableRecord';
    this.streamId = streamId;
  }
}

/** A record of a newer version than this process: it waits for a writer that knows it. */
export class NewerRecord extends UnreadableRecord {
  constructor(streamId: string, format: number) {
    super(streamId, `it is of format ${format}, and this version knows formats up to ${recordFormat}`);
    this.name = 'NewerRecord';
  }
}

/** What a journal field holds, without the format in its name. Throws NewerRecord where the format is above this version's. */
export function wordOfField(streamId: string, field: string | undefined): string | undefined {
  const dot = field?.indexOf('.') ?? -1;
  if (field === undefined || dot < 0) return field;
  const format = Number(field.slice(dot + 1));
  if (format > recordFormat) throw new NewerRecord(streamId, format);
  return field.slice(0, dot);
}

const hex32 = /^[0-9a-f]{32}$/;

function kindOf(word: string | undefined, streamId: string): OperationKind {
  if (word !== undefined && Object.hasOwn(operationPrefix, word)) return word as OperationKind;
  throw new UnreadableRecord(streamId, `kind ${word ?? 'missing'}`);
}

function wholeOf(value: string | undefined, streamId: string, name: string): number {
  const number = Number(value);
  if (value === undefined || value === '' || !Number.isSafeInteger(number)) {
    throw new UnreadableRecord(streamId, `${name} ${value ?? 'missing'}`);
  }
  return number;
}

/** Splits a stream id into epoch and sequence. */
export function parseStreamId(streamId: string): { epoch: number; seq: number } {
  const dash = streamId.indexOf('-');
  return {
    epoch: wholeOf(streamId.slice(0, dash), streamId, 'epoch'),
    seq: wholeOf(streamId.slice(dash + 1), streamId, 'seq'),
  };
}

/** The opening record is written by recovery and has fields of its own. */
function parseOpening(epoch: number, streamId: string, fields: readonly string[]): OpeningRecord {
  const of = (name: string) => wholeOf(fields[fields.indexOf(name) + 1], streamId, name);
  return {
    epoch,
    seq: 0,
    kind: 'opened',
    previousEpoch: of('previousEpoch'),
    previousLastSeq: of('previousLastSeq'),
  };
}

const columnCount = 14;

/**
 * Reads one stream entry: the field `record` with kind, member, operation, reference key, fingerprint, at, program, client,
 * origins, order, occurredAt, awaited, request and effect, tabs between them (`prelude.lua`). Throws UnreadableRecord where the
 * columns do not say whose record it is, NewerRecord where a newer version wrote it.
 */
export function parseRecord(streamId: string, fields: readonly string[]): JournalRecord | OpeningRecord {
  const { epoch, seq } = parseStreamId(streamId);
  const word = wordOfField(streamId, fields[0]);
  if (word === 'kind' && fields[1] === 'opened') return parseOpening(epoch, streamId, fields);
  if (word !== 'record') throw new UnreadableRecord(streamId, `field ${fields[0] ?? 'missing'}`);
  const columns = (fields[1] ?? '').split('\t');
  if (columns.length !== columnCount) throw new UnreadableRecord(streamId, `${columns.length} columns`);
  const [kind, member, operation, referenceKey, fingerprint, at, program, client, origins, order] = columns;
  const [occurredAt, awaited, request, effectText] = columns.slice(10);
  if (!hex32.test(operation!)) throw new UnreadableRecord(streamId, 'operation');
  return {
    epoch,
    seq,
    kind: kindOf(kind, streamId),
    program: wholeOf(program, streamId, 'program'),
    client: wholeOf(client, streamId, 'client'),
    member: wholeOf(member, streamId, 'member') as MemberNumber,
    operation: operation as OperationHex,
    origins: origins === '' ? [] : (origins!.split(',') as OperationHex[]),
    order: order!,
    referenceKey: referenceKey!,
    fingerprint: fingerprint!,
    at: wholeOf(at, streamId, 'at'),
    occurredAt: wholeOf(occurredAt, streamId, 'occurredAt'),
    isAwaited: awaited === '1',
    request: request!,
    effectText: effectText!,
  };
}

/** `newer` where only a newer version can read the record: it stands, but says nothing here. */
export function readRecord(
  ...entry: Parameters<typeof parseRecord>
): ReturnType<typeof parseRecord> | 'newer' {
  try {
    return parseRecord(...entry);
  } catch (error) {
    if (error instanceof NewerRecord) return 'newer';
    throw error;
  }
}

/** Parses and checks what an operation did. Throws on anything that the scripts cannot have written. */
export function parseEffect(effectText: string): Effect {
  return checkedEffect.parse(JSON.parse(effectText));
}
