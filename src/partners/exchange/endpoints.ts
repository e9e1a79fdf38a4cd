/** Where partners are called. The secret stands sealed in PostgreSQL, so that a copy of the database signs nothing. */
import type pg from 'pg';
import type { Identity } from '#src/members/identity.ts';
import type { Scheme } from '#src/partners/signature.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { MemberNumber } from '#src/values.ts';

export interface Endpoint {
  readonly partner: number;
  /** As metrics and people name the partner. */
  readonly name: string;
  readonly url: URL;
  readonly keyId: string;
  readonly secret: string;
  readonly callsAtOnce: number;
  readonly signature: Scheme;
  /** A partner that takes files is never called. */
  readonly delivery: Delivery;
}

export type Delivery = 'calls' | 'files';

export interface Endpoints {
  of(partner: number): Promise<Endpoint | undefined>;
}

/** What is sealed for nobody is sealed for the program. */
const nobody = 0 as MemberNumber;
const rememberedMs = 1_000;

interface EndpointRow {
  readonly partner: number;
  readonly program: number;
  readonly name: string;
  readonly url: string;
  readonly key_id: string;
  readonly secret_sealed: Buffer;
  readonly calls_at_once: number;
  readonly delivery: Delivery;
  readonly signature: Scheme;
}

/** Remembers for a second what is in the table; nobody waits for PostgreSQL twice in one. */
export function createEndpoints(pool: pg.Pool, identity: Pick<Identity, 'decrypt'>): Endpoints {
  let known: { readonly at: number; readonly all: Promise<ReadonlyMap<number, Endpoint>> } | undefined;

  async function read(): Promise<ReadonlyMap<number, Endpoint>> {
    const { rows } = await pool.query<EndpointRow>(
      `select e.partner, e.program, p.name, e.url, e.key_id, e.secret_sealed, e.calls_at_once, e.signature, e.delivery
       from partner_endpoint e join partner p using (partner)`,
    );
    return new Map(
      rows.map((row) => [
        row.partner,
        {
          partner: row.partner,
          name: row.name,
          url: new URL(row.url),
          keyId: row.key_id,
          secret: identity.decrypt(row.program, nobody, row.secret_sealed),
          callsAtOnce: row.calls_at_once,
          signature: row.signature,
          delivery: row.delivery,
        },
      ]),
    );
  }

  function all(): Promise<ReadonlyMap<number, Endpoint>> {
    const now = performance.now();
    if (!known || now - known.at > rememberedMs) {
      const reading = read();
      known = { at: now, all: reading };
      reading.catch(() => {
        known = undefined;
      });
    }
    return known.all;
  }

  return {
    async of(partner) {
      const found = (await all()).get(partner);
      if (found) return found;
      // It may have been set since: an exchange that finds none waits for long.
      known = undefined;
      return (await all()).get(partner);
    },
  };
}

export interface EndpointDraft {
  readonly partner: number;
  readonly program: number;
  readonly url: string;
  readonly keyId: string;
  readonly secret: string;
  readonly callsAtOnce?: number | undefined;
  readonly signature?: Scheme | undefined;
  readonly delivery?: Delivery | undefined;
}

/** What is asked for cannot be done; nothing was changed. */
export class EndpointRefused extends Error {}

/** A partner that takes files is called from now on only where somebody says so, and not while one of its files is not answered. */
async function checkDelivery(tx: pg.PoolClient, { partner, delivery }: EndpointDraft): Promise<void> {
  if (delivery === 'files') return;
  if (delivery === undefined)
    throw new EndpointRefused('the partner takes exchanges in files: --delivery calls calls it from now on');
  const { rows } = await tx.query<{ count: number }>(
    `select count(*)::int as count from exchange
     where partner = $1 and (state in ('waiting', 'calling') or (state = 'undoing' and tries > 0))`,
    [partner],
  );
  const count = rows[0]!.count;
  if (count > 0)
    throw new EndpointRefused(
      `${count} exchanges are in request files that are not answered: take the reply first`,
    );
}

/** Sets where a partner is called from now on. Without a delivery it stays by calls, and a partner that takes files is refused. */
export function setEndpoint(
  pool: pg.Pool,
  identity: Pick<Identity, 'encrypt'>,
  draft: EndpointDraft,
): Promise<void> {
  const { partner, program, url, keyId, secret, callsAtOnce = 16, signature = 'v1' } = draft;
  return inTransaction(pool, async (tx) => {
    const known = await tx.query<{ delivery: Delivery }>(
      'select delivery from partner_endpoint where partner = $1 for update',
      [partner],
    );
    const before = known.rows[0]?.delivery;
    if (before === 'files') await checkDelivery(tx, draft);
    const delivery = draft.delivery ?? 'calls';
    await tx.query(
      `insert into partner_endpoint (partner, program, url, key_id, secret_sealed, calls_at_once, signature, delivery)
       values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (partner) do update set url = excluded.url, key_id = excluded.key_id, secret_sealed = excluded.secret_sealed,
         calls_at_once = excluded.calls_at_once, signature = excluded.signature, delivery = excluded.delivery,
         changed_at = now()`,
      [
        ...[partner, program, url, keyId, identity.encrypt(program, nobody, secret)],
        ...[callsAtOnce, signature, delivery],
      ],
    );
    // What rested until the next file goes on by calls.
    if (before === 'files' && delivery === 'calls')
      await tx.query(
        `update exchange set due_at = now() where partner = $1 and due_at is null and state in ('ready', 'undoing')`,
        [partner],
      );
  });
}
