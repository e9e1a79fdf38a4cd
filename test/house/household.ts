/** A household of a test: members with cards, their pool, and the calls that tests of pools make. */
import type { ProgramFileInput } from '#src/earning/file/schema.ts';
import type { Answer } from './client.ts';
import { amountRule, type Figures, inDays, reference, type Shop } from './shop.ts';

export interface Resident {
  /** The caller's own id. */
  readonly id: string;
  /** `mem_…` */
  readonly member: string;
  readonly card: { readonly type: string; readonly value: string };
}

/** Points that end at different times, by the name of the store where they are earned, and coins that are not poolable. */
export const householdFile: Partial<ProgramFileInput> = {
  currencies: [{ code: 'points', poolable: true }, { code: 'miles', poolable: true }, { code: 'coins' }],
  rules: [
    amountRule('forever', 'points', [1, 100], { stores: ['forever'] }),
    amountRule('month', 'points', [1, 100], { stores: ['month'], expiry: inDays(30) }),
    amountRule('year', 'points', [1, 100], { stores: ['year'], expiry: inDays(365) }),
    amountRule('miles', 'miles', [1, 100], { stores: ['air'] }),
    amountRule('coins', 'coins', [1, 100], { stores: ['mint'] }),
  ],
};

export async function resident(shop: Shop, name = 'resident'): Promise<Resident> {
  const card = { type: 'card', value: reference(name) };
  const answer = await shop.pos('POST', '/v1/members', { member: reference(name), identifiers: [card] });
  if (answer.status !== 201) throw new Error(`nobody was enrolled: ${answer.code}`);
  return { id: String(answer.id), member: String(answer.id), card };
}

/** Points for somebody; `store` says until when they count. */
export async function give(
  shop: Shop,
  { member }: Resident,
  points: number,
  store = 'forever',
): Promise<void> {
  const purchase = { currency: 'EUR', store, lines: [{ line: 1, amount: points * 100 }] };
  await shop.accrue(member, points, { purchase, durability: 'ledger' });
}

export interface Household {
  readonly pool: string;
  readonly residents: readonly Resident[];
}

export const join = (shop: Shop, pool: string, { card }: Resident, more: object = {}): Promise<Answer> =>
  shop.pos('POST', `/v1/pools/${pool}/members`, { card, ...more });

export const leave = (shop: Shop, pool: string, { member }: Resident): Promise<Answer> =>
  shop.pos('POST', `/v1/pools/${pool}/members/${member}/leave`);

/** Opens a pool of those who have so many points; the first is its head. */
export async function household(
  shop: Shop,
  points: readonly number[],
  policy: Readonly<Record<string, unknown>> = {},
): Promise<Household> {
  const residents: Resident[] = [];
  for (const each of points) {
    const one = await resident(shop);
    if (each > 0) await give(shop, one, each);
    residents.push(one);
  }
  const opened = await shop.pos('POST', '/v1/pools', {
    reference: reference('pool'),
    head: residents[0]!.card,
    policy,
  });
  if (opened.status !== 201) throw new Error(`no pool was opened: ${JSON.stringify(opened.body)}`);
  for (const one of residents.slice(1)) {
    const joined = await join(shop, opened.id, one);
    if (joined.status !== 201) throw new Error(`${one.member} has not joined: ${joined.code}`);
  }
  return { pool: opened.id, residents };
}

export const spend = (
  shop: Shop,
  pool: string,
  { card }: Resident,
  points: number,
  more: object = {},
): Promise<Answer> =>
  shop.checkout('POST', `/v1/pools/${pool}/redemptions`, {
    member: card,
    reference: reference('spend'),
    points,
    ...more,
  });

export interface PartView {
  readonly id?: string;
  readonly member: string;
  readonly points: number;
  readonly lots: readonly { readonly points: number; readonly expiresOn: string | null }[];
}

export const partsOf = ({ body }: Answer): readonly PartView[] => body.parts as PartView[];

/** Points of a currency of everybody, in their order. */
export function figuresOf(
  shop: Shop,
  residents: readonly Resident[],
  currency = 'points',
): Promise<Figures[]> {
  return Promise.all(residents.map(({ member }) => shop.balances(member, currency)));
}

export async function availableOf(shop: Shop, residents: readonly Resident[]): Promise<number[]> {
  return (await figuresOf(shop, residents)).map(({ available }) => available);
}
