/** A program of a test with keys of all roles, and the few calls that nearly every test makes. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import type { Program } from '#src/earning/program.ts';
import { createProgram } from '#src/earning/versions.ts';
import { createKey, type KeyDraft } from '#src/http/keys.ts';
import type { Mode } from '#src/values.ts';
import { changedChannel } from '#src/wallet/keys.ts';
import type { Answer, CallOptions, Http } from './client.ts';
import { waitFor } from './waiting.ts';

export const shopRoles = ['pos', 'checkout', 'care', 'finance', 'admin'] as const;
export type ShopRole = (typeof shopRoles)[number];

export interface ShopOptions {
  readonly mode?: Mode;
  readonly timeZone?: string;
  /** What its file says otherwise than one point a unit. */
  readonly definition?: Partial<ProgramFileInput>;
}

export type RoleCall = (
  method: string,
  path: string,
  body?: unknown,
  options?: CallOptions,
) => Promise<Answer>;

export interface Figures {
  readonly available: number;
  readonly pending: number;
  readonly held: number;
  readonly debt: number;
}

export interface Shop extends Readonly<Record<ShopRole, RoleCall>> {
  readonly program: Program;
  readonly tokens: Readonly<Record<ShopRole, string>>;
  /** Creates another key in the database and waits until every API knows it. */
  key(draft: Omit<KeyDraft, 'program' | 'actor'>): Promise<string>;
  /** Now in the program's own time. */
  now(): number;
  /** The time as a body takes it, `offsetMs` from now. */
  time(offsetMs?: number): string;
  advance(seconds: number): Promise<void>;
  setClock(at: number): Promise<void>;
  /** Enrols somebody under the name, made unique to this shop; answers the caller's own id. */
  enrol(name?: string): Promise<string>;
  /** A receipt of `points` money units, which earns as many points under the rule of one point a unit. */
  receipt(member: string, points: number, more?: Readonly<Record<string, unknown>>): Record<string, unknown>;
  accrue(member: string, points: number, more?: Readonly<Record<string, unknown>>): Promise<Answer>;
  balances(member: string, currency?: string): Promise<Figures>;
}

let references = 0;
const run = randomBytes(4).toString('hex');

/** A reference that nobody has used, such as a till makes. */
export function reference(what = 'till'): string {
  references += 1;
  return `${what}/${run}/${references}`;
}

/** A self-dated reference: the fast path that skips the look-up in PostgreSQL. */
export function uuidV7(now = Date.now()): string {
  const hex = now.toString(16).padStart(12, '0') + randomBytes(10).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A rule on receipts as a whole; `more` is whatever else a rule may say. */
export function amountRule(
  name: string,
  currency: string,
  [points, perMinorUnits]: readonly [points: number, perMinorUnits: number],
  more: Partial<RuleInput> = {},
): RuleInput {
  return { name, currency, earn: { by: 'amount', points, perMinorUnits }, ...more };
}
type RuleInput = NonNullable<ProgramFileInput['rules']>[number];

export const inDays = (days: number) => ({ kind: 'days' as const, days });

export const onePointAUnit: ProgramFileInput = {
  timeZone: 'UTC',
  currencies: [{ code: 'points' }],
  rules: [amountRule('spend', 'points', [1, 100])],
};

export interface ShopSurroundings {
  readonly pool: pg.Pool;
  readonly redis: Redis;
  readonly http: Http;
  /** Clients of every API that has to know the program before it is used. */
  apis(): readonly Http[];
}

const clients: Readonly<Record<ShopRole, string>> = {
  pos: 'tills',
  checkout: 'web shop',
  care: 'care desk',
  finance: 'finance',
  admin: 'office',
};

/** Founds a program with a key of each role and waits until every API serves it. */
export async function openShop(around: ShopSurroundings, options: ShopOptions = {}): Promise<Shop> {
  const { pool, redis, http } = around;
  const { mode = 'live', timeZone = 'UTC', definition } = options;
  const program = await createProgram(pool, {
    name: `shop-${randomBytes(5).toString('hex')}`,
    mode,
    file: { ...onePointAUnit, ...definition, timeZone },
  });

  async function key(draft: Omit<KeyDraft, 'program' | 'actor'>): Promise<string> {
    const { token } = await createKey(pool, { ...draft, program: program.number, actor: 'test' });
    return token;
  }
  async function known(token: string): Promise<void> {
    await redis.publish(changedChannel, 'program');
    await redis.publish(changedChannel, 'api_key');
    for (const api of around.apis()) {
      await waitFor('every API knows the program and its keys', async () => {
        return (await api('GET', '/v1/program', undefined, { key: token, timeoutMs: 2_000 })).status === 200;
      });
    }
  }

  const tokens = {} as Record<ShopRole, string>;
  for (const role of shopRoles) tokens[role] = await key({ client: clients[role], role });
  await known(tokens.admin);
  await known(tokens.pos);

  const as = (role: ShopRole): RoleCall => {
    return (method, path, body, callOptions) =>
      http(method, path, body, { key: tokens[role], ...callOptions });
  };
  const calls = Object.fromEntries(shopRoles.map((role) => [role, as(role)])) as Record<ShopRole, RoleCall>;
  let offsetMs = 0;
  let enrolled = 0;

  async function moveClock(method: string, path: string, body: unknown): Promise<void> {
    const moved = await calls.admin(method, path, body);
    if (moved.status !== 200) throw new Error(`the clock was not moved: ${moved.code}`);
    offsetMs = Date.parse(String(moved.body.now)) - Date.now();
    // Other processes learn of it by an announcement.
    for (const api of around.apis()) {
      await waitFor('every API knows the new time', async () => {
        const answer = await api('GET', '/v1/test-clock', undefined, { key: tokens.admin });
        return Date.parse(String(answer.body.now)) >= Date.now() + offsetMs - 1_000;
      });
    }
  }

  const shop: Shop = {
    ...calls,
    program,
    tokens,
    async key(draft) {
      const token = await key(draft);
      await known(token);
      return token;
    },
    now: () => Date.now() + offsetMs,
    time: (fromNow = 0) => new Date(shop.now() + fromNow).toISOString(),
    advance: (seconds) => moveClock('POST', '/v1/test-clock/advance', { seconds }),
    setClock: (at) => moveClock('PUT', '/v1/test-clock', { now: new Date(at).toISOString() }),
    async enrol(name = 'member') {
      enrolled += 1;
      const member = `${name}-${enrolled}`;
      const answer = await calls.pos('POST', '/v1/members', { member });
      if (answer.status !== 201)
        throw new Error(`${member} was not enrolled: ${answer.status} ${answer.code}`);
      return member;
    },
    receipt: (member, points, more = {}) => ({
      member,
      reference: reference(),
      occurredAt: shop.time(),
      purchase: { currency: 'EUR', lines: [{ line: 1, amount: points * 100 }] },
      ...more,
    }),
    async accrue(member, points, more) {
      const answer = await calls.pos('POST', '/v1/accruals', shop.receipt(member, points, more));
      if (answer.status > 202) throw new Error(`nothing was accrued: ${JSON.stringify(answer.body)}`);
      return answer;
    },
    async balances(member, currency = 'points') {
      const answer = await calls.pos('GET', `/v1/members/${encodeURIComponent(member)}/balances`);
      const { available, pending, held, debt } = answer.at(`balances.${currency}`) as Figures;
      return { available, pending, held, debt };
    },
  };
  return shop;
}
