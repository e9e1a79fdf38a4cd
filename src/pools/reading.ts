/** How a pool looks: who is in it, what each has, and what all have together. */
import { type Currency, type Program, programNow } from '#src/earning/program.ts';
import { memberId } from '#src/values.ts';
import type { Reading } from '#src/wallet/wallet.ts';
import type { PoolsContext } from './context.ts';
import { type PoolNumber, poolId } from './ids.ts';
import { openPlaces, type Place, readPool } from './places.ts';
import { availableIn, type Purse, purseOf } from './plan.ts';
import { allows } from './policy.ts';

/** How every member stands now, in the order of the places. */
export function readWallets(
  { operations: { wallet } }: Pick<PoolsContext, 'operations'>,
  program: Program,
  places: readonly Pick<Place, 'member'>[],
): Promise<(Reading | undefined)[]> {
  const at = programNow(program);
  return Promise.all(places.map(({ member }) => wallet.read(member, at)));
}

/** What can be spent of members now, in the order of the places. */
export async function readPurses(
  context: Pick<PoolsContext, 'operations'>,
  program: Program,
  places: readonly Pick<Place, 'member'>[],
): Promise<Purse[]> {
  const readings = await readWallets(context, program, places);
  return places.flatMap(({ member }, i) => purseOf(member, readings[i]) ?? []);
}

export function poolableCurrencies(program: Program): Currency[] {
  return [...program.currencyByCode.values()].filter(({ spendable, poolable }) => spendable && poolable);
}

interface Figures {
  available: number;
  pending: number;
  held: number;
  debt: number;
}

function figuresOf(currencies: readonly Currency[], reading: Reading | undefined): Record<string, Figures> {
  return Object.fromEntries(
    currencies.map(({ code, number }) => {
      const row = reading?.balances.find((each) => each[0] === number);
      const [, available = 0, pending = 0, held = 0, debt = 0] = row ?? [];
      return [code, { available, pending, held, debt }];
    }),
  );
}

/** What `GET /v1/pools/:pool` answers. */
export async function poolView(
  context: PoolsContext,
  program: Program,
  number: PoolNumber,
): Promise<Record<string, unknown>> {
  const pool = await readPool(context.pool, program.number, number);
  const places = await openPlaces(context.pool, number);
  const readings = await readWallets(context, program, places);
  const currencies = poolableCurrencies(program);
  const figures = readings.map((reading) => figuresOf(currencies, reading));
  const purses = places.flatMap(({ member }, i) => purseOf(member, readings[i]) ?? []);
  const balances = Object.fromEntries(
    currencies.map(({ code, number: currency }) => {
      const sum = (name: keyof Figures) => figures.reduce((total, each) => total + each[code]![name], 0);
      const all = { available: sum('available'), pending: sum('pending'), held: sum('held') };
      return [code, { ...all, debt: sum('debt'), spendable: availableIn(purses, currency) }];
    }),
  );
  return {
    object: 'pool',
    id: poolId(number),
    mode: program.mode,
    status: pool.dissolvedAt === undefined ? 'open' : 'dissolved',
    openedAt: new Date(pool.openedAt).toISOString(),
    ...(pool.dissolvedAt === undefined ? {} : { dissolvedAt: new Date(pool.dissolvedAt).toISOString() }),
    policy: pool.policy,
    members: places.map(({ member, maySpend, joinedAt }, i) => ({
      member: memberId(member),
      isHead: member === pool.head,
      mayUse: allows(pool.policy, { isHead: member === pool.head, maySpend }),
      joinedAt: new Date(joinedAt).toISOString(),
      status: readings[i]?.status ?? 'merged',
      gives: purses.some((purse) => purse.member === member),
      balances: figures[i]!,
    })),
    balances,
  };
}
