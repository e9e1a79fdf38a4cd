/**
 * PURE. The clients' own list against the books: what somebody was told stands there exactly once and as it was told, what
 * was refused does not stand there, and nothing stands there that nobody asked for.
 */
import { hash } from 'node:crypto';
import type { Attempt, BookRecord, Destruction, Evidence, Finding, Told } from './evidence.ts';
import { type LostRange, lostRanges } from './lineage.ts';
import { placeOf } from './replay.ts';
import { pointsOn } from './rules.ts';

const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7/;

/** The key under which the books keep a reference: a digest, with the time in front of one that carries its own. */
export function referenceKeyIn(program: number, { client, kind, reference }: Attempt): string {
  const digest = hash('sha256', `${program}\0${client}\0${kind}\0${reference}`, 'hex');
  if (!uuidV7.test(reference)) return digest.slice(0, 32);
  return reference.slice(0, 8) + reference.slice(9, 13) + digest.slice(0, 20);
}

interface Promises {
  readonly findings: Finding[];
  readonly acknowledged: number;
  readonly unknown: number;
  readonly forfeited: number;
}

/** Points of a record as an answer of its kind gives them. */
function pointsOf(record: BookRecord): number | undefined {
  switch (record.kind) {
    case 'accrual':
      return -pointsOn(record, 'issuance');
    case 'redemption':
    case 'capture':
      return pointsOn(record, 'redemption');
    case 'hold':
    case 'release':
      return Math.abs(pointsOn(record, 'held'));
    case 'refund':
      return -pointsOn(record, 'redemption');
    case 'transfer':
      return pointsOn(record, 'clearing');
    default:
      return undefined;
  }
}

/** In what an answer differs from the record; undefined where it does not. */
function difference(told: Told, record: BookRecord): string | undefined {
  if (told.operation !== undefined && told.operation !== record.operation) {
    return `was told operation ${told.operation}, the books have ${record.operation}`;
  }
  if (told.position !== placeOf(record) && !record.decidedStale) {
    return `was told ${told.position}, the books have it at ${placeOf(record)}`;
  }
  const points = pointsOf(record);
  if (told.points !== undefined && points !== undefined && told.points !== points) {
    return `was told ${told.points} points, the books have ${points}`;
  }
  if (told.member !== undefined && told.member !== record.member) {
    return `was told member ${told.member}, the books have ${record.member}`;
  }
  const row = record.effect.balances.find(([currency]) => currency === 1);
  if (!told.balances || !row || record.decidedStale) return undefined;
  const { available, pending, held, debt } = told.balances;
  const differs = row[1] !== available || row[2] !== pending || row[3] !== held || row[4] !== debt;
  return differs
    ? `was told ${available}/${pending}/${held}/${debt}, the books say ${row.slice(1).join('/')}`
    : undefined;
}

/** Whether a lost answer stood at `journal` only, in a range that recovery named after a disk or replica was destroyed. */
function isForfeited(
  told: Told,
  ranges: readonly LostRange[],
  destructions: readonly Destruction[],
): boolean {
  const [shard, epoch, seq] = told.position.split('.').map(Number);
  if (told.reached !== 'journal' || seq === undefined) return false;
  return ranges.some(
    (range) =>
      range.shard === shard &&
      range.epoch === epoch &&
      range.from <= seq &&
      seq <= range.to &&
      destructions.some(({ fromMs, toMs }) => fromMs <= range.namedAtMs && range.namedAtMs <= toMs),
  );
}

/** Records of one reference that count: a repeat that was booked and taken back does not. */
function standing(records: readonly BookRecord[], undone: ReadonlySet<string>): BookRecord[] {
  return records.filter(({ conflictWith, operation }) => conflictWith === null || !undone.has(operation));
}

function byReferenceKey(records: readonly BookRecord[]): Map<string, BookRecord[]> {
  const found = new Map<string, BookRecord[]>();
  for (const record of records) {
    if (record.referenceKey === null || record.client === 0) continue;
    const others = found.get(record.referenceKey);
    if (others) others.push(record);
    else found.set(record.referenceKey, [record]);
  }
  return found;
}

interface Hearing {
  readonly faults: Finding[];
  readonly forfeited: boolean;
}

/** What is wrong between one attempt and the records of its reference. */
function hear(
  attempt: Attempt,
  all: readonly BookRecord[],
  undone: ReadonlySet<string>,
  mayForfeit: (told: Told) => boolean,
): Hearing {
  const name = `${attempt.kind} ${attempt.reference}`;
  const found = standing(all, undone);
  const faults: Finding[] = [];
  const lose = (detail: string) => void faults.push({ charge: 'lost', detail: `${name} ${detail}` });
  if (found.length > 1) {
    faults.push({ charge: 'duplicated', detail: `${name} stands at ${found.map(placeOf).join(' and ')}` });
  }
  const [told] = attempt.told;
  const [refused] = attempt.refused;
  if (refused && told) lose(`was told ${told.position} and refused (${refused.code})`);
  else if (refused && found[0]) lose(`was refused (${refused.code}), but stands at ${placeOf(found[0])}`);
  let forfeited = false;
  for (const answer of attempt.told) {
    // A repeat that was booked and taken back was answered with its own number; one after a loss was done anew.
    const own = all.find(({ operation }) => operation === answer.operation);
    const record = own ?? (answer.operation === undefined ? found[0] : undefined);
    if (record) {
      const fault = difference(answer, record);
      if (fault) lose(fault);
    } else if (mayForfeit(answer)) forfeited = true;
    else {
      const others = found.map((each) => `${each.operation} at ${placeOf(each)}`).join(' and ');
      lose(
        `was told ${answer.operation} at ${answer.position} (${answer.reached}); the books have ${others || 'nothing'}`,
      );
    }
  }
  return { faults, forfeited };
}

/** Holds the books to what callers were told. */
export function checkPromises({ attempts, books, destructions }: Evidence): Promises {
  const findings: Finding[] = [];
  const ranges = lostRanges(books.epochs);
  const records = byReferenceKey(books.records);
  const undone = new Set(
    books.records.flatMap(({ request }) => (request.undone ?? []).map(([original]) => original)),
  );
  const asked = new Set<string>();
  let [acknowledged, unknown, forfeited] = [0, 0, 0];
  for (const attempt of attempts) {
    const key = referenceKeyIn(books.program, attempt);
    asked.add(key);
    const heard = hear(attempt, records.get(key) ?? [], undone, (told) =>
      isForfeited(told, ranges, destructions),
    );
    findings.push(...heard.faults);
    if (heard.forfeited) forfeited += 1;
    if (attempt.told.length > 0) acknowledged += 1;
    else if (attempt.refused.length === 0) unknown += 1;
  }
  for (const [key, [record]] of records) {
    if (asked.has(key)) continue;
    findings.push({
      charge: 'duplicated',
      detail: `${record!.kind} ${placeOf(record!)} was asked for by nobody`,
    });
  }
  return { findings, acknowledged, unknown, forfeited };
}
