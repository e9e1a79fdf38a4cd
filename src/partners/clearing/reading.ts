/** What the books have and clearing has not read, and of it what concerns a partner. */
import type pg from 'pg';
import type { ProgramFor } from '#src/diary/programs.ts';
import { createUnread, type NumberedRow, type Page } from '#src/diary/unread.ts';
import { lotPartyFor } from '#src/partners/contracts/arithmetic.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import { epochMsOf, hexOf } from '#src/platform/postgres.ts';
import { settledPartyOf } from '#src/wallet/lot-party.ts';
import type { Booked } from './entries.ts';
import { awardName, type Original, sharePatterns, undoneBy } from './shares.ts';

/** `content` is null where no partner is concerned: of most operations nothing but their number is read. */
interface ClearedRow extends NumberedRow {
  readonly content:
    | (Omit<Booked, 'operation' | 'shard' | 'epoch' | 'seq' | 'bookedAt' | 'original'> & {
        readonly origin: string | null;
      })
    | null;
}

// Scripts and the writer write legs without blanks. Both settings are made for the turn: `clearing.lots` is what legs of lots have whose
// partners are billed when points are spent, `clearing.words` what requests have that partners bear.
const ofClearing = `
  case when o.effect::text like '%["partner",%'
    or (current_setting('clearing.lots') <> '{}' and o.effect::text like any (current_setting('clearing.lots')::text[]))
    or (current_setting('clearing.words') <> '{}' and (o.kind in ('reversal', 'return')
      or (o.kind = 'accrual' and o.request::text like any (current_setting('clearing.words')::text[]))))
    then json_build_object('kind', o.kind, 'program', o.program,
    'member', o.member, 'at', ${epochMsOf('o.at')}, 'occurredAt', ${epochMsOf('o.occurred_at')}, 'origin', ${hexOf('o.origin')},
    'request', o.request, 'effect', o.effect) end as content`;

export const unread = createUnread<ClearedRow>('clearing', ofClearing);

type OriginalRow = Omit<Booked, 'original'>;

/** Patterns of SQL's `like` that the legs have of lots whose partners are billed when points are spent. */
function lotPatterns(partners: readonly Partner[]): string[] {
  return partners
    .filter(({ number, contracts }) => contracts.some((contract) => lotPartyFor(number, contract) > 0))
    .map(({ number }) => `%,${settledPartyOf(number)},%`);
}

/** Looks in the rest of the database transaction for what partners bear of promotions, and what members spend of their points. */
export async function lookFor(tx: pg.ClientBase, partners: readonly Partner[]): Promise<void> {
  await tx.query(
    "select set_config('clearing.words', ($1::text[])::text, true), set_config('clearing.lots', ($2::text[])::text, true)",
    [sharePatterns(partners), lotPatterns(partners)],
  );
}

async function originalsOf(tx: pg.ClientBase, origins: readonly string[]): Promise<Map<string, OriginalRow>> {
  if (origins.length === 0) return new Map();
  const { rows } = await tx.query<OriginalRow>({
    name: 'clearing-originals',
    text: `select ${hexOf('o.operation')} as operation, o.shard, o.epoch, o.seq, o.kind, o.program, o.member, ${epochMsOf('o.at')} as at,
        ${epochMsOf('o.occurred_at')} as "occurredAt", ${epochMsOf('o.posted_at')} as "bookedAt", o.request, o.effect
      from operation o where o.operation = any($1::uuid[])`,
    values: [origins],
  });
  return new Map(rows.map((row) => [row.operation, row]));
}

/** Points that came back of awards of accruals, as clearing knows it: by accrual, and award. */
async function takenBefore(
  tx: pg.ClientBase,
  programFor: ProgramFor,
  accruals: readonly string[],
): Promise<Map<string, Map<string, number>>> {
  const taken = new Map<string, Map<string, number>>();
  if (accruals.length === 0) return taken;
  const { rows } = await tx.query<{
    accrual: string;
    program: number;
    rule: string;
    currency: number;
    points: number;
  }>(
    `select accrual, program, rule, currency, max(points) as points from (
       select original_reference as accrual, program, partner, rule, currency, sum(points)::bigint as points from clearing_entry
       where original_reference = any($1) and kind = 'cost_share_reversal' group by 1, 2, 3, 4, 5) p group by 1, 2, 3, 4`,
    [accruals],
  );
  for (const { accrual, program, rule, currency, points } of rows) {
    const { currencyByNumber } = await programFor(program, undefined);
    const of = taken.get(accrual) ?? new Map<string, number>();
    of.set(awardName({ rule, currency: currencyByNumber.get(currency)?.code ?? '' }), points);
    taken.set(accrual, of);
  }
  return taken;
}

/** What an operation takes back from, as it was booked. */
export interface Reading {
  readonly booked: readonly Booked[];
  readonly originals: ReadonlyMap<string, Original>;
}

/** The operations of pages that concern partners, each with what it follows from. */
export async function readingOf(
  tx: pg.ClientBase,
  programFor: ProgramFor,
  pages: readonly Page<ClearedRow>[],
): Promise<Reading> {
  const rows = pages.flatMap((page) => page.rows).filter(({ content }) => content !== null);
  const undone = rows.flatMap(({ content }) => undoneBy(content!).map(([accrual]) => accrual));
  const origins = rows.flatMap(({ content }) => content!.origin ?? []);
  const found = await originalsOf(tx, [...new Set([...origins, ...undone])]);
  const taken = await takenBefore(tx, programFor, [...new Set(undone)]);
  const booked = rows.map(({ operation, shard, epoch, seq, posted_at: bookedAt, content }): Booked => {
    const { origin, ...rest } = content!;
    const original = origin === null ? undefined : found.get(origin);
    return { ...rest, operation: operation.replaceAll('-', ''), shard, epoch, seq, bookedAt, original };
  });
  const originals = new Map<string, Original>();
  for (const accrual of new Set(undone)) {
    const row = found.get(accrual);
    if (row)
      originals.set(accrual, { operation: accrual, booked: row, before: taken.get(accrual) ?? new Map() });
  }
  return { booked, originals };
}
