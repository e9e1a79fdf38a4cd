/**
 * PURE. Entries of a journal that recovery writes itself, beside the records of the scripts.
 *
 * An opening record is the log of a recovery: it says from where its epoch goes on and which members in Redis may be
 * trusted, so that the table of epochs can be rebuilt from the journal when PostgreSQL came back older. A `fence` only
 * makes the scripts of older epochs fail while recovery compares; nothing is ever decided in its epoch.
 *
 * A rebooked record is one that could not be booked where it stood: the field holds the whole record as it goes to the
 * books, and where it was decided on stale balances, the number under which it was answered.
 */
import { z } from 'zod';
import type { JournalRecord, OpeningRecord } from '#src/journal.ts';
import { fieldNamed, parseRecord, parseStreamId, UnreadableRecord, wordOfField } from '#src/journal.ts';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import { type OperationKind, operationPrefix } from '#src/values.ts';
import type { Shortfall } from './rebooking.ts';

/** An operation that was decided on stale balances. */
export interface Stale {
  readonly answered: { readonly epoch: number; readonly seq: number };
  readonly shortfall: readonly Shortfall[];
}

export interface ReadEntry {
  readonly record: JournalRecord | OpeningRecord;
  readonly stale: Stale | undefined;
}

const whole = z.number().int();
const hex = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .transform((text) => text as OperationHex);
const rebookedSchema = z.object({
  kind: z.enum(Object.keys(operationPrefix) as [OperationKind, ...OperationKind[]]),
  program: whole,
  client: whole,
  member: whole.transform((number) => number as MemberNumber),
  operation: hex,
  origins: z.array(hex),
  order: z.string(),
  referenceKey: z.string(),
  fingerprint: z.string(),
  at: whole,
  occurredAt: whole,
  isAwaited: z.boolean(),
  request: z.string(),
  effectText: z.string(),
  stale: z
    .object({
      answered: z.object({ epoch: whole, seq: whole }),
      shortfall: z.array(z.tuple([whole, whole])),
    })
    .optional(),
});

/** Reads any entry of a journal. Throws UnreadableRecord where it does not say whose record it is. */
export function readEntry(streamId: string, fields: readonly string[]): ReadEntry {
  if (wordOfField(streamId, fields[0]) !== 'rebooked')
    return { record: parseRecord(streamId, fields), stale: undefined };
  try {
    const { stale, ...record } = rebookedSchema.parse(JSON.parse(fields[1] ?? ''));
    return { record: { ...record, ...parseStreamId(streamId) }, stale };
  } catch (error) {
    throw new UnreadableRecord(streamId, error instanceof Error ? error.message : String(error));
  }
}

/** The fields of a rebooked record. */
export function rebookedFields(record: Omit<JournalRecord, 'epoch' | 'seq'>, stale?: Stale): string[] {
  return [fieldNamed('rebooked'), JSON.stringify({ ...record, epoch: undefined, seq: undefined, stale })];
}

/** What an opening record says. */
export interface Opening {
  readonly epoch: number;
  readonly previousEpoch: number;
  readonly previousLastSeq: number;
  /** Members loaded in an epoch below this one are cold. */
  readonly coldBelow: number;
  readonly lostFrom: number | undefined;
  readonly lostTo: number | undefined;
  /** Only fences; its epoch never serves. */
  readonly isFence: boolean;
}

/** The fields of an opening record. */
export function openingFields(opening: Omit<Opening, 'epoch'>): (string | number)[] {
  return [
    ...['kind', 'opened', 'previousEpoch', opening.previousEpoch, 'previousLastSeq', opening.previousLastSeq],
    ...(opening.isFence ? ['fence', 1] : ['coldBelow', opening.coldBelow]),
    ...(opening.lostFrom === undefined ? [] : ['lostFrom', opening.lostFrom]),
    ...(opening.lostTo === undefined ? [] : ['lostTo', opening.lostTo]),
  ];
}

/** The opening record in an entry; undefined where it is none. One of an older version names no `coldBelow`. */
export function openingOf(streamId: string, fields: readonly string[]): Opening | undefined {
  if (wordOfField(streamId, fields[0]) !== 'kind' || fields[1] !== 'opened') return undefined;
  const { epoch } = parseStreamId(streamId);
  const of = (name: string): number | undefined => {
    const index = fields.indexOf(name);
    return index < 0 ? undefined : Number(fields[index + 1]);
  };
  return {
    epoch,
    previousEpoch: of('previousEpoch') ?? 0,
    previousLastSeq: of('previousLastSeq') ?? 0,
    coldBelow: of('coldBelow') ?? epoch,
    lostFrom: of('lostFrom'),
    lostTo: of('lostTo'),
    isFence: of('fence') === 1,
  };
}
