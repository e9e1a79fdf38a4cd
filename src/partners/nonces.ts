/**
 * Nonces, each used once. They stand in PostgreSQL and not in Redis: a Redis that came back a second older, or empty, would
 * accept a copy of a call that it had refused before, and the shards' fence does not cover keys beside the shards. A nonce
 * is committed before its call does anything, so no kill forgets it; calls of one turn of the event loop share one statement.
 *
 * A PostgreSQL that was restored to an older state has lost the nonces of the minutes since. What saves the points then is
 * what saves them anyhow: a copy of a movement has its reference and is answered as the first was.
 */
import type pg from 'pg';
import type { Logger } from '#src/platform/telemetry.ts';
import { gathering } from '#src/wallet/gathering.ts';

interface Use {
  readonly key: string;
  readonly nonce: string;
  /** Epoch ms until which the call's timestamp would be accepted. */
  readonly untilMs: number;
}

export interface Nonces {
  /** Uses a nonce up; false where it was used before. */
  use(use: Use): Promise<boolean>;
}

const sweepEveryMs = 60_000;
/** Clocks of processes and database differ; what is kept longer than needed only costs space. */
const graceSeconds = 300;
const sweptMax = 20_000;
/** Ten thousand calls a second leave no more behind in a minute than this takes away. */
const sweepsMax = 30;
const useTimeoutMs = 5_000;

const nameOf = ({ key, nonce }: Pick<Use, 'key' | 'nonce'>) => `${key} ${nonce}`;

export function createNonces(pool: pg.Pool, log: Logger): Nonces {
  let sweptAtMs = 0;

  /** Removes what calls leave behind and nobody asks for any more: old nonces, tries of yesterday, codes that ended. */
  async function sweep(): Promise<void> {
    const now = Date.now();
    if (now - sweptAtMs < sweepEveryMs) return;
    sweptAtMs = now;
    await pool.query(
      `with tries as (delete from partner_attempt where since < now() - interval '1 day')
       delete from partner_link_code where ends_at < now() - interval '1 day'`,
    );
    for (let turns = 0; turns < sweepsMax; turns += 1) {
      const { rowCount } = await pool.query(
        `delete from partner_nonce where ctid = any(array(
           select ctid from partner_nonce where until < now() - $1 * interval '1 second' limit $2))`,
        [graceSeconds, sweptMax],
      );
      if ((rowCount ?? 0) < sweptMax) break;
    }
  }

  const use = gathering<Use, boolean>(async (uses) => {
    // In one order, so that two processes with the same nonces do not wait for one another.
    const rows = uses.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    const query: pg.QueryConfig & { query_timeout: number } = {
      name: 'partner-nonces',
      text: `insert into partner_nonce (key, nonce, until)
             select k, n, to_timestamp(u / 1000.0) from unnest($1::text[], $2::text[], $3::float8[]) as v(k, n, u)
             on conflict do nothing returning key, nonce`,
      values: [
        rows.map(({ key }) => key),
        rows.map(({ nonce }) => nonce),
        rows.map(({ untilMs }) => untilMs),
      ],
      query_timeout: useTimeoutMs,
    };
    const inserted = await pool.query<{ key: string; nonce: string }>(query);
    const unused = new Set(inserted.rows.map(nameOf));
    sweep().catch((error: unknown) => log.warn({ err: error }, 'old nonces could not be removed'));
    // Of two calls with one nonce in the same turn one is the first.
    return uses.map((each) => unused.delete(nameOf(each)));
  });

  return { use };
}
