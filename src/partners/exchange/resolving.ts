/** What a person decides about an exchange that is in review, and what follows from it. */
import type pg from 'pg';
import type { Identity } from '#src/members/identity.ts';
import { linkFacts } from '#src/partners/linking/links.ts';
import { inTransaction } from '#src/platform/postgres.ts';
import type { OperationHex } from '#src/values.ts';
import { resolveBreak } from './breaks.ts';
import { partnerRefusal } from './partner-steps.ts';
import { usualPatience } from './policy.ts';
import { advance, type Change, readExchange } from './rows.ts';
import type { Exchange } from './types.ts';

/**
 * `retry` goes on where it stopped, `undo` asks the partner to take back what it has done, or never to do it. `completed` and
 * `refused` say what the partner has done: whoever says it has asked the partner.
 */
export const verdicts = ['retry', 'undo', 'completed', 'refused'] as const;
export type Verdict = (typeof verdicts)[number];

export class NotResolvable extends Error {}

function changeOf(exchange: Exchange, verdict: Verdict): Omit<Change, 'from'> {
  const { reviewOf, direction, wasSent } = exchange;
  const isOut = direction === 'out';
  const again = { dueMs: 0, tries: 0 };
  // A person may be told wrongly: the partner is asked once more.
  const checkMs = wasSent ? usualPatience.checksMs[0] : undefined;
  switch (verdict) {
    case 'retry':
      return { to: reviewOf!, ...again };
    case 'undo':
      if (!wasSent) throw new NotResolvable('nothing was sent: `refused` gives the points back');
      return { to: 'undoing', ...again };
    case 'completed':
      if (!wasSent) throw new NotResolvable('nothing was sent, so the partner cannot have done it');
      if (reviewOf === 'undoing')
        throw new NotResolvable(
          'it was being taken back: `refused` where the partner has done that, else `retry`',
        );
      return { to: isOut ? 'capturing' : 'crediting', ...again, isInDoubt: false };
    case 'refused':
      return isOut
        ? { to: 'releasing', ...again, isInDoubt: false, refusal: partnerRefusal('reviewed'), checkMs }
        : {
            to: reviewOf === 'undoing' ? 'reversed' : 'refused',
            dueMs: null,
            isInDoubt: false,
            refusal: partnerRefusal('reviewed'),
            checkMs,
          };
  }
}

/** What was never sent begins now: not without the link that it was asked for with. */
async function checkLink(tx: pg.PoolClient, identity: Identity, exchange: Exchange): Promise<void> {
  const [link] = await linkFacts(tx, identity, [exchange]);
  if (!link)
    throw new NotResolvable(
      'the member has unlinked the account: `refused` leaves the points where they are',
    );
}

/** Writes the decision; the worker does what follows. Throws NotResolvable where there is nothing to decide, or not so. */
export async function resolveExchange(
  pool: pg.Pool,
  identity: Identity,
  id: OperationHex,
  { verdict, actor, reason }: { readonly verdict: Verdict; readonly actor: string; readonly reason: string },
): Promise<Exchange> {
  const exchange = await readExchange(pool, identity, id);
  if (!exchange) throw new NotResolvable('there is no such exchange');
  const isBreak = exchange.state !== 'in_review' && (await resolveBreak(pool, id, `${verdict}: ${reason}`));
  if (isBreak) return exchange;
  if (exchange.state !== 'in_review') throw new NotResolvable(`it is ${exchange.state}, not in review`);
  const change = { ...changeOf(exchange, verdict), from: ['in_review'] as const };
  const step = { action: 'resolve' as const, outcome: verdict, detail: { actor, reason } };
  const isMade = await inTransaction(pool, async (tx) => {
    if (verdict === 'retry' && !exchange.wasSent) await checkLink(tx, identity, exchange);
    return advance(tx, id, change, step);
  });
  if (!isMade) throw new NotResolvable('somebody else has decided meanwhile');
  await resolveBreak(pool, id, `${verdict}: ${reason}`);
  return { ...exchange, state: change.to };
}
