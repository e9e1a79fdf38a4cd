/**
 * PURE. What a movement of a kind must have moved, from what was asked for: a receipt earns a point for each whole hundred
 * minor units, a redemption takes what it names, and an original is never undone beyond what it was.
 */
import type { BookRecord, Books, Charge, Finding } from './evidence.ts';
import { placeOf } from './replay.ts';

/** The program of the load: one point for each whole hundred minor units. */
const minorUnitsPerPoint = 100;

export function pointsOn(record: BookRecord, account: string): number {
  let sum = 0;
  for (const entry of record.entries) if (entry.account === account) sum += entry.points;
  return sum;
}

function earned(record: BookRecord): number | undefined {
  const { purchase, grant } = record.request.body ?? {};
  if (grant) return grant.points;
  if (!purchase) return undefined;
  const total = purchase.lines.reduce((sum, line) => sum + line.amount, 0);
  return Math.floor(total / minorUnitsPerPoint);
}

/** What is wrong with a record by itself. */
function faultOf(record: BookRecord): string | undefined {
  const asked = record.request.body?.points;
  switch (record.kind) {
    case 'accrual': {
      const wanted = earned(record);
      const given = -pointsOn(record, 'issuance');
      return wanted === undefined || wanted === given
        ? undefined
        : `earned ${given}, the receipt says ${wanted}`;
    }
    case 'redemption':
      return asked === pointsOn(record, 'redemption')
        ? undefined
        : `took ${pointsOn(record, 'redemption')} of ${asked}`;
    case 'hold':
      return asked === pointsOn(record, 'held') ? undefined : `holds ${pointsOn(record, 'held')} of ${asked}`;
    case 'capture': {
      const captured = pointsOn(record, 'redemption');
      if (asked !== undefined && asked !== captured) return `captured ${captured} of ${asked}`;
      return captured > 0 && captured <= -pointsOn(record, 'held') ? undefined : `captured ${captured}`;
    }
    case 'refund':
      return asked === undefined || asked === -pointsOn(record, 'redemption')
        ? undefined
        : `gave back not ${asked}`;
    default:
      return undefined;
  }
}

/** Points that an operation had to give back in the end, and those that were given back. */
interface Original {
  readonly kind: string;
  readonly points: number;
  undone: number;
}

function originalsOf(records: readonly BookRecord[]): Map<string, Original> {
  const originals = new Map<string, Original>();
  for (const record of records) {
    const { kind, operation } = record;
    if (kind === 'accrual')
      originals.set(operation, { kind, points: -pointsOn(record, 'issuance'), undone: 0 });
    if (kind === 'redemption' || kind === 'capture') {
      originals.set(operation, { kind, points: pointsOn(record, 'redemption'), undone: 0 });
    }
  }
  return originals;
}

function checkUndoing(records: readonly BookRecord[], charge: Accuse): void {
  const originals = originalsOf(records);
  for (const record of records) {
    let refunded = 0;
    for (const [operation, , parts] of record.request.undone ?? []) {
      const points = parts.reduce((sum, [, part]) => sum + part, 0);
      const original = originals.get(operation);
      if (!original) {
        charge('drift', record, `undoes ${operation}, which is not in the books`);
        continue;
      }
      original.undone += points;
      if (original.kind !== 'accrual') refunded += points;
      if (original.undone > original.points) {
        charge(
          'negative',
          record,
          `${operation} of ${original.points} points is undone by ${original.undone}`,
        );
      }
    }
    if (!['refund', 'reversal', 'return'].includes(record.kind)) continue;
    const moved = -pointsOn(record, 'redemption');
    if (moved !== refunded) charge('drift', record, `gives back ${moved} points, its originals ${refunded}`);
  }
}

/** Every transfer that left a member arrived once, or came back once, with all its points. */
function checkTransfers(books: Books, charge: Accuse): void {
  const inFlight = new Map<string, { record: BookRecord; points: number; ends: number }>();
  for (const record of books.records) {
    if (record.kind === 'transfer') {
      inFlight.set(record.operation, { record, points: pointsOn(record, 'clearing'), ends: 0 });
    }
  }
  for (const record of books.records) {
    if (record.kind !== 'transfer_credit' && record.kind !== 'transfer_return') continue;
    const transfer = inFlight.get(record.origins[0] ?? '');
    if (!transfer) charge('unbalanced', record, 'belongs to no transfer');
    else {
      transfer.ends += 1;
      if (transfer.ends > 1) charge('duplicated', record, 'its transfer had arrived before');
      const points = -pointsOn(record, 'clearing');
      if (points !== transfer.points)
        charge('unbalanced', record, `brings ${points} of ${transfer.points} points`);
    }
  }
  for (const { record, ends, points } of inFlight.values()) {
    if (ends === 0 && points !== 0) charge('unbalanced', record, 'neither arrived nor came back');
  }
}

type Accuse = (charge: Charge, record: BookRecord, detail: string) => void;

/** Checks every record against what its kind may do. */
export function checkRules(books: Books): Finding[] {
  const findings: Finding[] = [];
  const charge: Accuse = (kind, record, detail) => {
    findings.push({
      charge: kind,
      detail: `${record.kind} ${placeOf(record)} (${record.operation}): ${detail}`,
    });
  };
  for (const record of books.records) {
    const fault = faultOf(record);
    if (fault) charge('drift', record, fault);
  }
  checkUndoing(books.records, charge);
  checkTransfers(books, charge);
  return findings;
}
