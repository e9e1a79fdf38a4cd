/**
 * PURE. A member or an operation as a flat list of figures, the same from Redis and from the books, so that comparing is
 * comparing two lists. A figure has points, terms (what must be equal besides), or both.
 */
import { z } from 'zod';
import type { MemberNumber, OperationHex } from '#src/values.ts';
import type { CounterInBooks } from '#src/wallet/counter-state.ts';
import type { OperationState } from '#src/wallet/operation-state.ts';
import type { Where } from './audit-report.ts';

export interface Figure {
  readonly where: Where;
  /** What the figure is: `lot`, `debt`, `part`, `hold`, `status` … */
  readonly name: string;
  readonly points: number;
  readonly terms: string;
}
export type Standing = ReadonlyMap<string, Figure>;

export interface Difference {
  readonly figure: Figure;
  readonly redis: Figure | undefined;
  readonly books: Figure | undefined;
}

export function standingOf(figures: readonly Figure[]): Standing {
  const standing = new Map<string, Figure>();
  for (const figure of figures) {
    const key = `${figure.name} ${Object.values(figure.where).join('.')}`;
    // A hold over one currency twice may have two parts of one lot.
    const before = standing.get(key)?.points ?? 0;
    standing.set(key, { ...figure, points: figure.points + before });
  }
  return standing;
}

/** What stands on one side and not, or otherwise, on the other. */
export function differencesOf(redis: Standing, books: Standing): Difference[] {
  const different: Difference[] = [];
  for (const [key, figure] of redis) {
    const other = books.get(key);
    if (other?.points !== figure.points || other.terms !== figure.terms)
      different.push({ figure, redis: figure, books: other });
  }
  for (const [key, figure] of books)
    if (!redis.has(key)) different.push({ figure, redis: undefined, books: figure });
  return different;
}

/** By how many points the two sides differ. */
export function pointsOf({ redis, books }: Difference): number {
  return Math.abs((redis?.points ?? 0) - (books?.points ?? 0));
}

function sideText(name: string, figure: Figure | undefined): string {
  if (!figure) return `no such ${name}`;
  return (
    [figure.points === 0 ? '' : `${figure.points} points`, figure.terms]
      .filter((part) => part !== '')
      .join(', ') || '0 points'
  );
}

/** `lot: 45 points, expires 0 in Redis; 50 points, expires 0 in the books`. */
export function differenceText(difference: Difference): string {
  const { name } = difference.figure;
  return `${name}: ${sideText(name, difference.redis)} in Redis; ${sideText(name, difference.books)} in the books`;
}

const number = z.number();
const lotSchema = z.tuple([number, number, number, number, number]);
const partSchema = z.tuple([number, number, number, number, number, number]);
export const memberStateSchema = z.tuple([
  number,
  number,
  number,
  z.string(),
  number,
  number,
  number,
  z.array(z.tuple([number, number, number, z.array(lotSchema)])),
  z.array(z.tuple([z.string(), number, z.array(partSchema)])),
  z.array(number).optional(),
]);
export const operationStateSchema = z.tuple([number, number, number, z.string(), z.array(partSchema)]);

/** A member as the books' rows have it. */
export interface MemberRow {
  readonly number: MemberNumber;
  readonly status: string;
  readonly frozen: boolean;
  readonly facts_version: number;
  readonly merged_into: number | null;
  readonly at: number | null;
  /** The time of the operation with the newest id, which is nearly always the last one. */
  readonly newest_at: number | null;
  /** Where the member's last operation stands. */
  readonly last_epoch: number | null;
  readonly last_seq: number | null;
  readonly lots:
    | readonly (readonly [
        currency: number,
        lot: number,
        points: number,
        expiresAt: number,
        availableAt: number,
        party: number,
      ])[]
    | null;
  readonly next_lots: readonly (readonly [currency: number, next: number])[] | null;
  readonly debts: readonly (readonly [currency: number, points: number])[] | null;
  readonly holds:
    | readonly (readonly [hold: string, expiresAt: number, parts: readonly (readonly number[])[]])[]
    | null;
  readonly counters: readonly CounterInBooks[] | null;
}

function lotTerms(expiresAt: number, availableAt: number, party: number): string {
  return `expires ${expiresAt}, available ${availableAt}, funder ${party}`;
}

function holdFigures(
  member: MemberNumber,
  hold: string,
  expiresAt: number,
  parts: readonly (readonly number[])[],
): Figure[] {
  const own: Figure = { where: { member, hold }, name: 'hold', points: 0, terms: `ends ${expiresAt}` };
  const waiting = parts.map((part): Figure => {
    const [currency = 0, lot = 0, points = 0, lotExpiresAt = 0, availableAt = 0, party = 0] = part;
    return {
      where: { member, hold, currency, lot },
      name: 'part',
      points,
      terms: lotTerms(lotExpiresAt, availableAt, party),
    };
  });
  return [own, ...waiting];
}

function plain(member: MemberNumber, name: string, terms: string | number): Figure {
  return { where: { member }, name, points: 0, terms: String(terms) };
}

/** A member as a wallet script has stored it. */
export function standingInRedis(member: MemberNumber, state: z.output<typeof memberStateSchema>): Standing {
  const [, , at, status, facts, frozen, merged, wallets, holds] = state;
  const figures = [
    plain(member, 'status', status),
    plain(member, 'facts', facts),
    plain(member, 'frozen', frozen),
    plain(member, 'merged', merged),
    plain(member, 'at', at),
  ];
  for (const [currency, debt, nextLot, lots] of wallets) {
    if (debt !== 0) figures.push({ where: { member, currency }, name: 'debt', points: debt, terms: '' });
    if (nextLot !== 1)
      figures.push({ where: { member, currency }, name: 'next lot', points: 0, terms: `number ${nextLot}` });
    for (const [lot, points, expiresAt, availableAt, party] of lots) {
      figures.push({
        where: { member, currency, lot },
        name: 'lot',
        points,
        terms: lotTerms(expiresAt, availableAt, party),
      });
    }
  }
  for (const [hold, expiresAt, parts] of holds) figures.push(...holdFigures(member, hold, expiresAt, parts));
  return standingOf(figures);
}

/** A member as the books have it; lots without points do not exist in Redis. */
export function standingInBooks(row: MemberRow): Standing {
  const member = row.number;
  const figures = [
    plain(member, 'status', row.status),
    plain(member, 'facts', row.facts_version),
    plain(member, 'frozen', row.frozen ? 1 : 0),
    plain(member, 'merged', row.merged_into ?? 0),
    plain(member, 'at', row.at ?? 0),
  ];
  for (const [currency, points] of row.debts ?? [])
    figures.push({ where: { member, currency }, name: 'debt', points, terms: '' });
  for (const [currency, next] of row.next_lots ?? []) {
    figures.push({ where: { member, currency }, name: 'next lot', points: 0, terms: `number ${next}` });
  }
  for (const [currency, lot, points, expiresAt, availableAt, party] of row.lots ?? []) {
    figures.push({
      where: { member, currency, lot },
      name: 'lot',
      points,
      terms: lotTerms(expiresAt, availableAt, party),
    });
  }
  for (const [hold, expiresAt, parts] of row.holds ?? [])
    figures.push(...holdFigures(member, hold, expiresAt, parts));
  return standingOf(figures);
}

/** What is left to undo of an operation. */
export function standingOfOperation(operation: OperationHex, state: OperationState): Standing {
  const own: Figure = {
    where: { operation },
    name: 'undone',
    points: 0,
    terms: `${state.version} times, note ${JSON.stringify(state.note)}`,
  };
  const parts = state.parts.map(([currency, lot, points, expiresAt, availableAt, party], i): Figure => {
    return {
      where: { operation, line: i, currency, lot },
      name: 'part',
      points,
      terms: lotTerms(expiresAt, availableAt, party),
    };
  });
  return standingOf([own, ...parts]);
}
