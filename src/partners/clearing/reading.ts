/** What the books have and clearing has not read, and of it what concerns a partner. */
import type pg from 'pg';
import { createUnread, type NumberedRow, type Page } from '#src/diary/unread.ts';
import { epochMsOf, hexOf } from '#src/platform/postgres.ts';
import type { EpochMs, MemberNumber } from '#src/values.ts';
import type { Booked } from './entries.ts';

/** `content` is null where no partner is concerned: of most operations nothing but their number is read. */
interface ClearedRow extends NumberedRow {
  readonly content:
    | (Omit<Booked, 'operation' | 'shard' | 'epoch' | 'seq' | 'bookedAt' | 'original'> & {
        readonly origin: string | null;
      })
    | null;
}

// Scripts and the writer write legs without blanks.
const ofClearing = `
  case when o.effect::text like '%["partner",%' then json_build_object('kind', o.kind, 'program', o.program,
    'member', o.member, 'at', ${epochMsOf('o.at')}, 'occurredAt', ${epochMsOf('o.occurred_at')}, 'origin', ${hexOf('o.origin')},
    'request', o.request, 'effect', o.effect) end as content`;

export const unread = createUnread<ClearedRow>('clearing', ofClearing);

interface OriginalRow {
  readonly operation: string;
  readonly kind: string;
  readonly at: EpochMs;
  readonly member: MemberNumber;
  readonly request: Booked['request'];
}

async function originalsOf(tx: pg.ClientBase, origins: readonly string[]): Promise<Map<string, OriginalRow>> {
  if (origins.length === 0) return new Map();
  const { rows } = await tx.query<OriginalRow>({
    name: 'clearing-originals',
    text: `select ${hexOf('o.operation')} as operation, o.kind, ${epochMsOf('o.at')} as at, o.member, o.request
      from operation o where o.operation = any($1::uuid[])`,
    values: [origins],
  });
  return new Map(rows.map((row) => [row.operation, row]));
}

/** The operations of pages that concern partners, each with what it follows from. */
export async function bookedIn(tx: pg.ClientBase, pages: readonly Page<ClearedRow>[]): Promise<Booked[]> {
  const rows = pages.flatMap((page) => page.rows).filter(({ content }) => content !== null);
  const origins = rows.flatMap(({ content }) => content!.origin ?? []);
  const originals = await originalsOf(tx, [...new Set(origins)]);
  return rows.map(({ operation, shard, epoch, seq, posted_at: bookedAt, content }) => {
    const { origin, ...rest } = content!;
    const original = origin === null ? undefined : originals.get(origin);
    return { ...rest, operation: operation.replaceAll('-', ''), shard, epoch, seq, bookedAt, original };
  });
}
