/** A partner of a shop, members who are linked with it, and what became of their points. */
import type pg from 'pg';
import type { Identity } from '#src/members/identity.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import { setEndpoint } from '#src/partners/exchange/endpoints.ts';
import { linkConfirmed } from '#src/partners/linking/links.ts';
import { parseMemberId } from '#src/values.ts';
import { type FarPartner, farPartner } from './far-partner.ts';
import { reference, type Shop } from './shop.ts';

/** Two points of the shop are a mile there, and a mile is three points here. */
export const outRatio = { give: 2, receive: 1 };
export const inRatio = { give: 1, receive: 3 };

export interface Ally {
  readonly name: string;
  readonly number: number;
  readonly far: FarPartner;
  /** Enrols a member with points who is linked with the partner. */
  member(points: number): Promise<string>;
}

export interface AllyOptions {
  readonly limits?: Readonly<Record<string, unknown>>;
  readonly quoteSeconds?: number;
  readonly callsAtOnce?: number;
  readonly billing?: object;
  /** Of what goes out, in money. */
  readonly fee?: object;
  /** Of what goes out: the fewest points of one exchange. */
  readonly minimum?: number;
  /** Caps of what goes out. */
  readonly caps?: readonly object[];
  /** What rates say otherwise, both ways. */
  readonly rate?: object;
  readonly settleOn?: 'issue' | 'redemption';
}

export const noLimits = Object.fromEntries(
  ['accountAge', 'contactHold', 'member', 'card', 'terminal', 'roundTrip', 'partnerDaily'].map((name) => [
    name,
    'none',
  ]),
);

export interface Endpoint {
  readonly url: string;
  readonly keyId: string;
  readonly secret: string;
}

export interface Terms {
  readonly out: { readonly give: number; readonly receive: number };
  readonly in: { readonly give: number; readonly receive: number };
  /** Of points that go out. */
  readonly step?: number;
}

/** Makes whoever listens at the endpoint a partner of the shop. */
export async function allied(
  { pool, identity }: { readonly pool: pg.Pool; readonly identity: Identity },
  shop: Shop,
  endpoint: Endpoint,
  terms: Terms,
  options: AllyOptions = {},
): Promise<{ readonly name: string; readonly partner: Partner }> {
  const name = reference('air').replaceAll('/', '-').toLowerCase();
  const common = { from: '2020-01-01', currency: 'points', partnerCurrency: 'miles' };
  const fee = options.fee === undefined ? {} : { fee: options.fee };
  const step = terms.step === undefined ? {} : { step: terms.step };
  const minimum = options.minimum === undefined ? {} : { minimum: options.minimum };
  const file = {
    partner: name,
    title: 'The far side',
    contracts: [
      {
        from: '2020-01-01',
        billing: options.billing ?? { kind: 'postpaid' },
        settleOn: options.settleOn ?? 'issue',
        currency: 'EUR',
        prices: { issue: { amount: 1, perPoints: 1 }, redemption: { amount: 1, perPoints: 1 } },
        limits: { ...noLimits, ...options.limits },
        quoteSeconds: options.quoteSeconds ?? 300,
      },
    ],
    rates: [
      {
        ...common,
        direction: 'out',
        ratio: terms.out,
        ...step,
        ...minimum,
        ...fee,
        caps: options.caps ?? [],
        ...options.rate,
      },
      { ...common, direction: 'in', ratio: terms.in, ...options.rate },
    ],
  };
  const applied = await shop.admin('POST', '/v1/partners', { source: JSON.stringify(file) });
  if (applied.status > 201) throw new Error(`no partner: ${JSON.stringify(applied.body)}`);
  const partner = (await partnerNamed(pool, shop.program.number, name))!;
  const { callsAtOnce } = options;
  const { url, keyId, secret } = endpoint;
  await setEndpoint(pool, identity, {
    ...{ partner: partner.number, program: shop.program.number },
    ...{ url, keyId, secret, callsAtOnce },
  });
  return { name, partner };
}

/** Enrols a member with points who is linked with an account at the partner. */
export async function flyer(
  context: { readonly pool: pg.Pool; readonly identity: Identity },
  shop: Shop,
  partner: Partner,
  points: number,
  accountOf: (member: number) => string,
): Promise<string> {
  const { id } = await shop.pos('POST', '/v1/members', { member: reference('flyer') });
  const member = parseMemberId(id)!;
  const proof = { codeOf: 'partner', name: 'not_compared', actor: 'test' } as const;
  const link = { member, account: accountOf(member), ...proof };
  await linkConfirmed(context, shop.program, partner, link);
  if (points > 0) await shop.accrue(id, points, { durability: 'ledger' });
  return id;
}

export async function ally(
  context: { readonly pool: pg.Pool; readonly identity: Identity },
  shop: Shop,
  options: AllyOptions = {},
): Promise<Ally> {
  const far = await farPartner();
  const terms = { out: outRatio, in: inRatio, step: 2 };
  const { name, partner } = await allied(context, shop, far, terms, options);
  return {
    name,
    number: partner.number,
    far,
    member: (points) => flyer(context, shop, partner, points, (member) => `FAR-${member}`),
  };
}

/** What the shop's books say went to a partner. */
export async function partnerAccount(pool: pg.Pool, shop: Shop, partner: number): Promise<number> {
  const { rows } = await pool.query<{ points: number }>(
    `select coalesce(sum(points), 0)::bigint as points from entry where program = $1 and account = 'partner' and party = $2`,
    [shop.program.number, partner],
  );
  return rows[0]!.points;
}
