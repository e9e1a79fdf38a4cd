/**
 * Callers as they really are: each has a member, sends one movement after the other and repeats it under the same
 * reference until it has a definite answer. What a definite answer promised is kept, and `verify` holds the books to it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { expect } from 'vitest';
import type { Answer, Http } from './client.ts';
import { reference, type Shop, uuidV7 } from './shop.ts';

export interface Promised {
  readonly reference: string;
  readonly id: string;
  readonly member: string;
  readonly kind: string;
  /** Change of what is available. */
  readonly points: number;
}

export interface Load {
  readonly promised: readonly Promised[];
  /** Calls that had to be repeated. */
  readonly repeats: () => number;
  /** How many movements have been answered since the load began. */
  readonly answered: () => number;
  /** Lets every caller finish what it is at. */
  stop(): Promise<void>;
  /** Every promise stands in the books exactly once, nothing else does, and the balances are right. */
  verify(pool: pg.Pool): Promise<void>;
}

const patienceMs = 60_000;
/** A till between two receipts: callers without it would take the cores from what they call, and tests beside from each other. */
const betweenMs = 15;
const uncertain = new Set([502, 503, 504]);

/** Repeats a call until its answer is definite. */
async function insist(call: () => Promise<Answer>, onRepeat: () => void): Promise<Answer> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      const answer = await call();
      if (!uncertain.has(answer.status) && answer.code !== 'reference_in_progress') return answer;
      if (performance.now() > deadline)
        throw new Error(`no definite answer, last ${answer.status} ${answer.code}`);
    } catch (error) {
      const isNetwork =
        error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError');
      if (!isNetwork || performance.now() > deadline) throw error;
    }
    onRepeat();
    await delay(20);
  }
}

interface Draft {
  readonly path: string;
  readonly kind: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly points: number;
}

/** Three receipts, then a redemption; every second reference is self-dated. */
function draftOf(shop: Shop, member: string, turn: number): Draft {
  const named = turn % 2 === 0 ? reference('load') : uuidV7();
  if (turn % 4 < 3)
    return {
      path: '/v1/accruals',
      kind: 'accrual',
      body: shop.receipt(member, 10, { reference: named }),
      points: 10,
    };
  return {
    path: '/v1/redemptions',
    kind: 'redemption',
    body: { member, reference: named, points: 7 },
    points: -7,
  };
}

/** Starts `callers` callers that use the given APIs in turn. */
export async function startLoad(apis: () => readonly Http[], shop: Shop, callers: number): Promise<Load> {
  const promised: Promised[] = [];
  const members = await Promise.all(Array.from({ length: callers }, () => shop.enrol('caller')));
  let stopped = false;
  let repeats = 0;
  let calls = 0;

  async function run(member: string): Promise<void> {
    for (let turn = 0; !stopped; turn += 1) {
      const { path, kind, body, points } = draftOf(shop, member, turn);
      const answer = await insist(
        () => {
          const open = apis();
          calls += 1;
          return open[calls % open.length]!('POST', path, body, { key: shop.tokens.pos, timeoutMs: 8_000 });
        },
        () => {
          repeats += 1;
        },
      );
      if (answer.status >= 300) throw new Error(`${kind} was refused: ${JSON.stringify(answer.body)}`);
      promised.push({ reference: String(body.reference), id: answer.id, member, kind, points });
      await delay(betweenMs);
    }
  }

  const running = members.map(run);
  const settled = Promise.allSettled(running);
  return {
    promised,
    repeats: () => repeats,
    answered: () => promised.length,
    async stop() {
      stopped = true;
      for (const result of await settled) if (result.status === 'rejected') throw result.reason;
    },
    async verify(pool) {
      const booked = await pool.query<{ id: string; reference: string }>(
        `select replace(operation::text, '-', '') as id, request -> 'body' ->> 'reference' as reference
         from operation where program = $1 and client <> 0`,
        [shop.program.number],
      );
      const inBooks = booked.rows.map((row) => `${row.reference} ${row.id}`).toSorted();
      const acknowledged = promised.map((each) => `${each.reference} ${each.id.split('_')[1]}`).toSorted();
      expect(inBooks).toEqual(acknowledged);
      for (const member of members) {
        const expected = promised
          .filter((each) => each.member === member)
          .reduce((sum, each) => sum + each.points, 0);
        expect(await shop.balances(member)).toEqual({ available: expected, pending: 0, held: 0, debt: 0 });
      }
    },
  };
}
