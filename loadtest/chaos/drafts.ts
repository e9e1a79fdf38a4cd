/** What callers ask for: the mix of movements, each made from what the shop knows so far. */
import type { Draft } from './client.ts';
import type { Random } from './random.ts';

/** What the callers of a run share: whom there is, and what was done that can be undone or settled. */
export interface World {
  readonly hot: readonly string[];
  readonly cold: readonly string[];
  readonly accruals: { readonly id: string; readonly order: string }[];
  readonly redemptions: { readonly id: string; readonly points: number }[];
  readonly holds: { readonly id: string; readonly points: number }[];
  /** Makes references that nobody has used. */
  reference(random: Random): string;
}

const dayMs = 86_400_000;

function durability(random: Random): Record<string, unknown> {
  return random.chance(0.3) ? { durability: random.pick(['journal', 'ledger']) } : {};
}

/** A receipt of some days ago, so that lots with different ends are opened. */
export function receipt(world: World, random: Random, member: string): Draft & { readonly order: string } {
  const order = world.reference(random);
  const lines = Array.from({ length: random.whole(1, 3) }, (_, i) => ({
    line: i + 1,
    quantity: '2',
    amount: random.whole(0, 9_000),
  }));
  return {
    kind: 'accrual',
    path: '/v1/accruals',
    reference: world.reference(random),
    order,
    body: {
      member,
      occurredAt: new Date(Date.now() - random.whole(0, 20) * dayMs).toISOString(),
      purchase: { order, currency: 'EUR', lines },
      ...durability(random),
    },
  };
}

/** A receipt without what a bulk item may not have. */
export function bulkItem(world: World, random: Random): Draft {
  const { durability: _level, ...body } = receipt(world, random, memberFor(world, random)).body as Record<
    string,
    unknown
  >;
  return { kind: 'accrual', path: '/v1/accruals', reference: world.reference(random), body };
}

export function memberFor(world: World, random: Random): string {
  return random.pick(random.chance(0.75) ? world.hot : world.cold);
}

/** Sometimes more than anybody has: a refusal must move nothing. */
function price(random: Random): number {
  return random.chance(0.03) ? 50_000_000 : random.whole(1, 40);
}

export function redemption(world: World, random: Random): Draft {
  const body = { member: memberFor(world, random), points: price(random), ...durability(random) };
  return { kind: 'redemption', path: '/v1/redemptions', reference: world.reference(random), body };
}

export function hold(world: World, random: Random): Draft {
  const expiresInSeconds = random.chance(0.15) ? random.whole(2, 10) : 3_600;
  const body = {
    member: memberFor(world, random),
    points: price(random),
    expiresInSeconds,
    ...durability(random),
  };
  return { kind: 'hold', path: '/v1/holds', reference: world.reference(random), body };
}

export function capture(world: World, random: Random, of: { id: string; points: number }): Draft {
  const points = random.chance(0.5) ? { points: random.whole(1, of.points) } : {};
  const body = { ...points, ...durability(random) };
  return { kind: 'capture', path: `/v1/holds/${of.id}/capture`, reference: world.reference(random), body };
}

export function release(world: World, random: Random, of: { id: string }): Draft {
  return {
    kind: 'release',
    path: `/v1/holds/${of.id}/release`,
    reference: world.reference(random),
    body: durability(random),
  };
}

export function refund(world: World, random: Random, of: { id: string; points: number }): Draft {
  const body = { points: random.chance(0.6) ? of.points : random.whole(1, of.points), ...durability(random) };
  return {
    kind: 'refund',
    path: `/v1/redemptions/${of.id}/refunds`,
    reference: world.reference(random),
    body,
  };
}

export function reversal(world: World, random: Random, of: { id: string }): Draft {
  const body = { occurredAt: new Date().toISOString(), ...durability(random) };
  return {
    kind: 'reversal',
    path: `/v1/accruals/${of.id}/reversals`,
    reference: world.reference(random),
    body,
  };
}

export function goodsBack(world: World, random: Random, of: { order: string }): Draft {
  const lines = random.chance(0.5) ? { lines: [{ line: 1, quantity: '1' }] } : {};
  const body = { occurredAt: new Date().toISOString(), order: of.order, ...lines };
  return { kind: 'return', path: '/v1/returns', reference: world.reference(random), body };
}

export function transfer(world: World, random: Random): Draft | undefined {
  const [from, to] = [memberFor(world, random), memberFor(world, random)];
  if (from === to) return undefined;
  const body = { from, to, points: random.whole(1, 20) };
  return { kind: 'transfer', path: '/v1/transfers', reference: world.reference(random), body };
}

export function merge(world: World, random: Random, member: string): Draft {
  const body = { into: random.pick(world.hot), reason: 'two cards, one person' };
  return {
    kind: 'status',
    path: `/v1/members/${encodeURIComponent(member)}/merge`,
    reference: world.reference(random),
    body,
  };
}
