/**
 * PURE. What partners bear of promotions: of an award whose rule a partner funds, or names among the cost shares of its contract.
 *
 * The funder bears what its contract says of the promotion, or what no other partner bears; another partner bears what its own
 * contract says. What comes back of an award goes back to who bore it, at the price of the award. How much came back is what the
 * ledger says of the funder's account; where one return takes from several awards of one funder, its note says from which.
 */
import { type KeptAward, keptAwards } from '#src/earning/judge.ts';
import type { Program } from '#src/earning/program.ts';
import { contractAt } from '#src/partners/contracts/arithmetic.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import type { OperationHex } from '#src/values.ts';
import { type Booked, type Entry, monthOf, wholeShare } from './entries.ts';

/** Lines of partners' accounts come first. */
const firstLine = 64;

/** An original of which something came back, and what clearing knows of that already: points by award, added to as it goes. */
export interface Original {
  readonly operation: string;
  readonly booked: Booked;
  readonly before: Map<string, number>;
}

interface Bearer {
  readonly partner: Partner;
  readonly contract: number;
  readonly share: number;
  readonly isFunder: boolean;
}

/** Names an award among those of its accrual. */
export function awardName({ rule, currency }: Pick<KeptAward, 'rule' | 'currency'>): string {
  return `${rule} ${currency}`;
}

function bearersOf(partners: readonly Partner[], { rule, funder }: KeptAward, at: number): Bearer[] {
  const listed = partners.flatMap((partner) => {
    const contract = contractAt(partner, at);
    if (!contract) return [];
    const share = contract.costShares.find(({ promotion }) => promotion === rule)?.basisPoints;
    return [{ partner, contract: contract.version, share, isFunder: partner.name === funder }];
  });
  const others = listed.reduce((sum, { share, isFunder }) => sum + (isFunder ? 0 : (share ?? 0)), 0);
  return listed
    .map((each) => ({
      ...each,
      share: each.share ?? (each.isFunder ? Math.max(0, wholeShare - others) : 0),
    }))
    .filter(({ share }) => share > 0);
}

function awardsOf({ request, effect }: Booked): readonly KeptAward[] {
  // What a partner gives itself stands in its own account.
  if (effect.legs.some(([account]) => account === 'partner')) return [];
  return keptAwards({ request, effect } as unknown as Parameters<typeof keptAwards>[0]);
}

interface Share {
  readonly award: KeptAward;
  /** As the partner's account would have it: negative was given. */
  readonly points: number;
  readonly at: number;
  readonly original: string | null;
}

function entriesFor(
  booked: Booked,
  shares: readonly Share[],
  partners: readonly Partner[],
  program: Program,
): Entry[] {
  const { operation, shard, epoch, seq, member, at, occurredAt, bookedAt, request } = booked;
  const made = shares.flatMap(({ award, points, at: givenAt, original }) =>
    bearersOf(partners, award, givenAt).map(
      ({ partner, contract, share, isFunder }): Omit<Entry, 'line'> => ({
        ...{ operation, shard, epoch, seq, program: program.number, member, at, occurredAt, bookedAt },
        ...{ partner: partner.number, contract, share, points, price: 'issue', rule: award.rule },
        kind: original === null ? 'cost_share' : 'cost_share_reversal',
        account: isFunder ? 'issuance' : null,
        party: isFunder ? (program.definition.numbers.funders[award.funder] ?? 0) : 0,
        reference: request.body?.reference ?? operation,
        originalReference: original,
        currency: program.currencyByCode.get(award.currency)!.number,
        ofPeriod: monthOf(at, program.timeZone),
      }),
    ),
  );
  return made.map((entry, i) => ({ ...entry, line: firstLine + i }));
}

/** What partners bear of what an accrual gave. */
export function sharesOf(booked: Booked, partners: readonly Partner[], program: Program): Entry[] {
  if (booked.kind !== 'accrual') return [];
  const shares = awardsOf(booked)
    .filter(({ points, currency }) => points > 0 && program.currencyByCode.has(currency))
    .map((award) => ({ award, points: -award.points, at: booked.at, original: null }));
  return entriesFor(booked, shares, partners, program);
}

type UndoneRow = readonly [original: OperationHex, note: string, parts: readonly unknown[]];

/** The originals that an operation names; from one without parts nothing was taken. */
export function undoneBy({ request }: Pick<Booked, 'request'>): readonly UndoneRow[] {
  return (request as { undone?: readonly UndoneRow[] }).undone ?? [];
}

/** Points taken of each award until then, as the note of the operation says; undefined: it says none. */
function takenOf(booked: Booked, original: string): readonly number[] | undefined {
  const note = undoneBy(booked).find(([operation]) => operation === original)![1];
  return (JSON.parse(note) as { taken?: readonly number[] }).taken;
}

/** An award of an original, of which `wantedMax` points came back by the note, `leftMax` by what had come back before. */
interface AwardBack {
  readonly original: Original;
  readonly award: KeptAward;
  readonly wantedMax: number;
  readonly leftMax: number;
  given: number;
}

function awardsBack(booked: Booked, original: Original): AwardBack[] {
  const taken = takenOf(booked, original.operation);
  return awardsOf(original.booked).map((award, i) => {
    const before = original.before.get(awardName(award)) ?? 0;
    const leftMax = award.points - before;
    const wantedMax = Math.min(leftMax, Math.max(0, (taken?.[i] ?? award.points) - before));
    return { original, award, wantedMax, leftMax, given: 0 };
  });
}

/** What came back of each award of the originals: as much as the funders' accounts say. */
export function sharesBack(
  booked: Booked,
  originals: readonly Original[],
  partners: readonly Partner[],
  program: Program,
): Entry[] {
  const back = new Map<string, number>();
  for (const leg of booked.effect.legs)
    if (leg[0] === 'issuance')
      back.set(`${leg[3]} ${leg[1]}`, (back.get(`${leg[3]} ${leg[1]}`) ?? 0) + leg[2]);
  // Of an original that nothing was taken from the note is that of before, or none.
  const touched = new Set(
    undoneBy(booked).flatMap(([original, , parts]) => (parts.length > 0 ? original : [])),
  );
  const places = originals
    .filter(({ operation }) => touched.has(operation as OperationHex))
    .flatMap((original) => awardsBack(booked, original));
  // First what the notes say of all originals, then what the account says beyond them.
  for (const bound of ['wantedMax', 'leftMax'] as const) {
    for (const place of places) {
      const { award } = place;
      const currency = program.currencyByCode.get(award.currency)?.number;
      const key = `${program.definition.numbers.funders[award.funder] ?? 0} ${currency}`;
      const points = Math.max(0, Math.min(place[bound] - place.given, back.get(key) ?? 0));
      place.given += points;
      back.set(key, (back.get(key) ?? 0) - points);
    }
  }
  const shares: Share[] = [];
  for (const { original, award, given } of places) {
    if (given === 0) continue;
    const name = awardName(award);
    original.before.set(name, (original.before.get(name) ?? 0) + given);
    shares.push({ award, points: given, at: original.booked.at, original: original.operation });
  }
  return entriesFor(booked, shares, partners, program);
}

/** Patterns of SQL's `like` that the requests of accruals have which may concern a partner's share. */
export function sharePatterns(partners: readonly Partner[]): string[] {
  const patterns = partners.flatMap(({ name, contracts }) => [
    `%"funder":"${name}"%`,
    ...contracts.flatMap(({ costShares }) => costShares.map(({ promotion }) => `%"rule":"${promotion}"%`)),
  ]);
  return [...new Set(patterns)];
}
