/**
 * A partner of a test: a server of its own that speaks the protocol, with books, which does what it is told to with the next calls.
 * It verifies signatures and repeats first answers as every partner has to.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MovementReply } from '#src/partners/protocol/schemas.ts';
import { verify } from '#src/partners/signature.ts';

/**
 * `lost`: the call never arrives; `late`: it arrives with `arrive`; `refuse_now`: it is refused, and the refusal is not kept; `dropped`: it is booked, and the answer never comes; `silent`: it is booked, and nobody answers
 * in time; `archived`: what was done under the reference has left its books; `pending`: it is booked later, by `succeed` or `fail`; `other_points`, `no_points`,
 * `other_kind`: it says that it has booked other points than asked for, or none, or another kind of movement; `other_movement`: it books
 * nothing and answers what it has booked last, under another reference.
 */
export type Behaviour =
  | 'lost'
  | 'late'
  | 'dropped'
  | 'silent'
  | 'refuse'
  | 'refuse_now'
  | 'pending'
  | 'fault'
  | 'busy'
  | 'forbidden'
  | 'archived'
  | 'proxy_page'
  | 'other_points'
  | 'no_points'
  | 'other_kind'
  | 'other_movement';

export type Asking = 'as_booked' | 'fault' | 'lost' | 'archived';

interface Booked {
  reply: MovementReply;
  readonly body: string;
}

export interface FarPartner {
  readonly url: string;
  readonly keyId: string;
  readonly secret: string;
  /** Points that the accounts here have been given, less what was taken. */
  points(): number;
  /** What the next movements come to, one after the other; afterwards all succeed. */
  next(...behaviours: Behaviour[]): void;
  /** What inquiries answer from now on. */
  inquiries(how: Asking): void;
  succeed(reference: string): void;
  fail(reference: string): void;
  /** What was late is here now, and is booked unless its reference is used up. */
  arrive(reference: string): void;
  /** Books a movement that was refused before, as no partner may. */
  bookLate(reference: string): void;
  /** How often each reference was sent. */
  readonly sends: ReadonlyMap<string, number>;
  /** Nobody listens any more, until `listen`. */
  away(): Promise<void>;
  listen(): Promise<void>;
  close(): Promise<void>;
}

const problems: Readonly<Record<'refuse' | 'fault' | 'busy' | 'forbidden' | 'archived', [number, string]>> = {
  refuse: [409, 'member_not_active'],
  fault: [500, 'internal'],
  busy: [503, 'not_ready'],
  forbidden: [403, 'role_not_allowed'],
  archived: [410, 'operation_archived'],
};

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString('utf8');
}

const kinds: Readonly<Record<string, MovementReply['kind']>> = {
  accruals: 'accrual',
  redemptions: 'redemption',
  reversals: 'reversal',
};

export async function farPartner(): Promise<FarPartner> {
  const [keyId, secret] = ['pk_test', 'ls_a-secret-of-the-far-side'];
  const booked = new Map<string, Booked>();
  const refused = new Map<string, { readonly body: string; readonly kind: MovementReply['kind'] }>();
  const onTheWay = new Map<string, { readonly body: string; readonly kind: MovementReply['kind'] }>();
  const sends = new Map<string, number>();
  let plan: Behaviour[] = [];
  let asking: Asking = 'as_booked';

  const answer = (response: ServerResponse, status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const problem = (response: ServerResponse, status: number, code: string) =>
    answer(response, status, { type: 'about:blank', title: code, status, code });

  function reversalOf(body: Record<string, unknown>): Pick<MovementReply, 'points' | 'currency'> {
    const key = `${String(body.originalKind)}/${String(body.originalReference)}`;
    const original = booked.get(key);
    if (!original) {
      refused.set(key, { body: '', kind: 'accrual' });
      // Of what never arrived nobody has said in which currency it would have been: it is the main one here.
      return { points: 0, currency: 'status' };
    }
    const { reply } = original;
    const points = reply.status === 'succeeded' ? reply.points - (reply.reversed ?? 0) : 0;
    original.reply = { ...reply, reversed: (reply.reversed ?? 0) + points };
    return { points, currency: reply.currency };
  }

  const said = (points: number, behaviour: Behaviour | undefined) =>
    behaviour === 'other_points' ? points + 1 : behaviour === 'no_points' ? 0 : points;

  function book(kind: MovementReply['kind'], text: string, behaviour: Behaviour | undefined): MovementReply {
    const body = JSON.parse(text) as Record<string, unknown>;
    const original = kind === 'reversal' ? reversalOf(body) : undefined;
    const points = original?.points ?? Number(body.points);
    const reply: MovementReply = {
      object: 'partnerOperation',
      id: `far_${booked.size + 1}`,
      kind: behaviour === 'other_kind' ? 'accrual' : kind,
      reference: String(body.reference),
      status: behaviour === 'pending' ? 'pending' : 'succeeded',
      account: String(body.account),
      points: said(points, behaviour),
      currency: original?.currency ?? String(body.currency),
      occurredAt: String(body.occurredAt),
      at: new Date().toISOString(),
    };
    booked.set(`${kind}/${reply.reference}`, { reply, body: text });
    return reply;
  }

  function move(response: ServerResponse, kind: MovementReply['kind'], text: string): unknown {
    const { reference } = JSON.parse(text) as { reference: string };
    sends.set(reference, (sends.get(reference) ?? 0) + 1);
    const behaviour = plan.shift();
    const key = `${kind}/${reference}`;
    if (behaviour === 'late') onTheWay.set(key, { body: text, kind });
    if (behaviour === 'lost' || behaviour === 'late') return response.destroy();
    if (behaviour === 'refuse_now') return problem(response, ...problems.refuse);
    if (behaviour === 'other_movement') return answer(response, 201, [...booked.values()].at(-1)!.reply);
    if (behaviour === 'proxy_page') return response.writeHead(404).end('<html>not here</html>');
    if (
      behaviour === 'fault' ||
      behaviour === 'busy' ||
      behaviour === 'forbidden' ||
      behaviour === 'archived'
    )
      return problem(response, ...problems[behaviour]);
    const first = booked.get(key);
    if (first && first.body !== text) return problem(response, 422, 'reference_reused');
    if (first) return answer(response, 200, first.reply);
    if (behaviour === 'refuse' || refused.has(key)) {
      refused.set(key, { body: text, kind });
      return problem(response, ...problems.refuse);
    }
    const reply = book(kind, text, behaviour);
    if (behaviour === 'dropped') return response.destroy();
    if (behaviour === 'silent') return undefined;
    return answer(response, reply.status === 'pending' ? 202 : 201, reply);
  }

  function inquire(response: ServerResponse, url: URL): unknown {
    if (asking === 'lost') return response.destroy();
    if (asking === 'fault' || asking === 'archived') return problem(response, ...problems[asking]);
    const found = booked.get(`${url.searchParams.get('kind')}/${url.searchParams.get('reference')}`);
    if (!found) return problem(response, 404, 'not_found');
    return answer(response, 200, found.reply);
  }

  const server = createServer(async (request, response) => {
    const text = await bodyOf(request);
    const { method = '', url: target = '' } = request;
    const claim = verify(request.headers, { method, target, body: text }, () => [secret], Date.now());
    if (typeof claim === 'string') return problem(response, 401, 'signature_invalid');
    const url = new URL(target, 'http://far');
    const call = url.pathname.split('/').at(-1)!;
    if (call === 'operations') inquire(response, url);
    else move(response, kinds[call]!, text);
  });
  let port = 0;
  const listen = async () => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  };
  const away = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  await listen();

  const decide = (reference: string, status: 'succeeded' | 'failed') => {
    for (const each of booked.values())
      if (each.reply.reference === reference) each.reply = { ...each.reply, status };
  };
  return {
    url: `http://127.0.0.1:${port}`,
    keyId,
    secret,
    sends,
    points() {
      let sum = 0;
      for (const { reply } of booked.values()) {
        if (reply.status !== 'succeeded' || reply.kind === 'reversal') continue;
        const left = reply.points - (reply.reversed ?? 0);
        sum += reply.kind === 'accrual' ? left : -left;
      }
      return sum;
    },
    next: (...behaviours) => {
      plan = behaviours;
    },
    inquiries: (how) => {
      asking = how;
    },
    succeed: (reference) => decide(reference, 'succeeded'),
    fail: (reference) => decide(reference, 'failed'),
    arrive(reference) {
      for (const [key, { body, kind }] of onTheWay)
        if (key.endsWith(reference) && !booked.has(key) && !refused.has(key)) book(kind, body, undefined);
    },
    bookLate(reference) {
      for (const [key, { body, kind }] of refused) if (key.endsWith(reference)) book(kind, body, undefined);
    },
    away,
    listen,
    async close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
