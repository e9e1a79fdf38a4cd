/**
 * A caller as the guides tell callers to be: a reference per attempt, repeated with the same body until the answer is
 * definite, over whichever API answers. Everything that is answered goes into the list that the judge is given.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Attempt, Figures, Refused, Told } from './judge/evidence.ts';
import type { Random } from './random.ts';

export interface Draft {
  readonly kind: string;
  readonly path: string;
  readonly reference: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Reply {
  readonly status: number;
  readonly replayed: boolean;
  readonly body: Readonly<Record<string, unknown>>;
}

interface ClientOptions {
  /** Where the APIs are now. */
  readonly urls: readonly string[];
  readonly token: string;
  readonly client: number;
  readonly attempts: Attempt[];
  /** True once nobody shall try any longer. */
  isOver(): boolean;
  /** Called for an answer that says that something broke, which no caller has to expect. */
  broken(answer: string): void;
  /** Called for every success, once an attempt. */
  acknowledged(atMs: number): void;
}

/** What became of an attempt, for whoever goes on from it. */
export interface Outcome {
  readonly attempt: Attempt;
  /** The answer that made it definite; undefined where there was none. */
  readonly reply: Reply | undefined;
}

export interface Client {
  /** Sends one movement until it has a definite answer. */
  send(draft: Draft, random: Random): Promise<Outcome>;
  /** Sends many accruals in one call until all have definite answers. */
  sendBulk(drafts: readonly Draft[], random: Random): Promise<void>;
  /** Sends an attempt again that was answered before, until it is answered again. */
  again(attempt: Attempt, draft: Draft, random: Random): Promise<Outcome>;
  read(path: string): Promise<Reply>;
}

/** Refusals after which the same call is to be sent again. */
const again = new Set(['reference_in_progress', 'member_merging', 'rate_limited']);
/** Nobody waits longer than this for a definite answer; the harness's own end comes first. */
const patienceMs = 240_000;
const pauseMsMax = 400;

function isDefinite({ status, body }: Reply): boolean {
  return status < 500 && status !== 429 && !again.has(String(body.code));
}

function numberOf(memberId: unknown): number | undefined {
  const text = /^mem_([0-9a-z]+)$/.exec(String(memberId))?.[1];
  return text === undefined ? undefined : Number.parseInt(text, 36);
}

function hexOf(id: unknown): string | undefined {
  return /^[a-z]+_([0-9a-f]{32})$/.exec(String(id))?.[1];
}

interface Body {
  readonly object?: string;
  readonly id?: string;
  readonly member?: string;
  readonly from?: string;
  readonly points?: number;
  readonly awards?: readonly { readonly points: number }[];
  readonly balances?: { readonly points?: Figures };
  readonly redemption?: { readonly id?: string };
  readonly ledger?: { readonly position: string; readonly durability: 'journal' | 'ledger' };
}

const noPoints: Figures = { available: 0, pending: 0, held: 0, debt: 0 };

/** Which operation the answer names: a capture makes a redemption, a release and a merge answer about something else. */
function operationIn(kind: string, body: Body): string | undefined {
  if (kind === 'capture') return hexOf(body.redemption?.id);
  return kind === 'release' || kind === 'status' ? undefined : hexOf(body.id);
}

function pointsIn(kind: string, body: Body): number | undefined {
  if (kind === 'accrual') return body.awards?.reduce((sum, award) => sum + award.points, 0);
  return kind === 'reversal' || kind === 'return' || kind === 'status' ? undefined : body.points;
}

/** A success as the judge keeps it. */
function toldBy(kind: string, status: number, replayed: boolean, answer: unknown): Told {
  const body = answer as Body;
  if (!body.ledger) throw new Error(`a success without a position: ${JSON.stringify(answer)}`);
  return {
    atMs: Date.now(),
    status,
    replayed,
    operation: operationIn(kind, body),
    position: body.ledger.position,
    reached: body.ledger.durability,
    member: kind === 'status' ? undefined : numberOf(body.member ?? body.from),
    points: pointsIn(kind, body),
    balances: body.balances && (body.balances.points ?? noPoints),
  };
}

export function createClient(options: ClientOptions): Client {
  const { urls, token, attempts } = options;
  let calls = 0;

  async function call(method: string, path: string, body: unknown, timeoutMs: number): Promise<Reply> {
    calls += 1;
    const answer = await fetch(urls[calls % urls.length]! + path, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        // Somebody waits long enough for another epoch to begin meanwhile.
        prefer: `wait=${Math.floor(timeoutMs / 1_000)}`,
      },
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const json = JSON.parse(await answer.text()) as Record<string, unknown>;
    if (answer.status === 500) options.broken(`${method} ${path}: ${JSON.stringify(json)}`);
    return {
      status: answer.status,
      replayed: answer.headers.get('idempotent-replayed') === 'true',
      body: json,
    };
  }

  function begun({ kind, reference }: Draft): Attempt {
    const attempt: Attempt = {
      kind,
      client: options.client,
      reference,
      sentAtMs: Date.now(),
      told: [],
      refused: [],
      tries: 0,
    };
    attempts.push(attempt);
    return attempt;
  }

  function note(attempt: Attempt, { status, replayed, body }: Reply): void {
    if (status < 300) {
      if (attempt.told.length === 0) options.acknowledged(Date.now());
      attempt.told.push(toldBy(attempt.kind, status, replayed, body));
    } else {
      const refused: Refused = { atMs: Date.now(), status, code: String(body.code) };
      attempt.refused.push(refused);
    }
  }

  /** Repeats a call until `isDone` with its answer; undefined when patience, or the run, is at its end. */
  async function insist(
    path: string,
    body: unknown,
    random: Random,
    isDone: (reply: Reply) => boolean,
    onTry: () => void,
  ): Promise<Reply | undefined> {
    const deadline = performance.now() + patienceMs;
    // A caller out of fifty gives up at the first doubt, as a customer who walks away does.
    const givesUp = random.chance(0.02);
    const timeoutMs = random.whole(1_500, 5_000);
    while (performance.now() < deadline && !options.isOver()) {
      onTry();
      try {
        const reply = await call('POST', path, body, timeoutMs);
        if (isDone(reply)) return reply;
        if (givesUp && reply.body.applied === 'unknown') return undefined;
      } catch (error) {
        // Refused, cut, timed out or cut in half: all the same to a caller.
        if (!(error instanceof Error)) throw error;
        if (givesUp) return undefined;
      }
      await delay(random.whole(20, pauseMsMax));
    }
    return undefined;
  }

  async function finish(attempt: Attempt, draft: Draft, random: Random): Promise<Outcome> {
    const body = { ...draft.body, reference: draft.reference };
    const reply = await insist(draft.path, body, random, isDefinite, () => {
      attempt.tries += 1;
    });
    if (reply) note(attempt, reply);
    return { attempt, reply };
  }

  interface BulkRow {
    readonly index: number;
    readonly status: number;
    readonly replayed: boolean;
    readonly accrual?: Record<string, unknown>;
    readonly error?: Record<string, unknown>;
  }

  return {
    send: (draft, random) => finish(begun(draft), draft, random),
    again: finish,
    async sendBulk(drafts, random) {
      const begunAttempts = drafts.map(begun);
      const items = drafts.map(({ body, reference }) => ({ ...body, reference }));
      const open = new Set(drafts.keys());
      await insist(
        '/v1/accruals/bulk',
        { items },
        random,
        (reply) => {
          if (reply.status !== 200) return isDefinite(reply);
          for (const row of reply.body.data as readonly BulkRow[]) {
            const item = { status: row.status, replayed: row.replayed, body: row.accrual ?? row.error ?? {} };
            if (!isDefinite(item)) continue;
            // The whole call is sent again for the sake of one item: the others are answered once more.
            if (!open.has(row.index) && item.status >= 300) continue;
            open.delete(row.index);
            note(begunAttempts[row.index]!, item);
          }
          return open.size === 0;
        },
        () => {
          for (const index of open) begunAttempts[index]!.tries += 1;
        },
      );
    },
    read: (path) => call('GET', path, undefined, 5_000),
  };
}
