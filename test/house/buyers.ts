/**
 * What segments say of buyers, computed the slow way from a list of purchases: everything at once in memory, each definition as it
 * is worded in the schema. It shares nothing with the engine but the names of facts.
 */

export interface Bought {
  readonly buyer: number;
  readonly day: number;
  readonly times: number;
  readonly spend: number;
}

/** The numbers of the definition; scores are fifths. */
export interface Wording {
  readonly windowDays: number;
  readonly shareA: number;
  readonly shareB: number;
  readonly newDays: number;
  readonly lapsedDays: number;
  readonly wonBackDays: number;
  readonly trendDays: number;
  readonly growingPercent: number;
  readonly decliningPercent: number;
  readonly purchasesMin: number;
  readonly lateDays: number;
}

export const defaultWording: Wording = {
  windowDays: 365,
  shareA: 70,
  shareB: 90,
  newDays: 90,
  lapsedDays: 180,
  wonBackDays: 90,
  trendDays: 90,
  growingPercent: 125,
  decliningPercent: 75,
  purchasesMin: 4,
  lateDays: 3,
};

export type BuyerFacts = Readonly<Record<string, number | string>>;

export interface Buyer {
  readonly facts: BuyerFacts;
  readonly lastDay: number;
  /** The day on which the rhythm is broken, whether that has come or not. */
  readonly brokenDay: number | undefined;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
/** The least of the values that so large a share of them does not exceed. */
const quantile = (sorted: readonly number[], share: number) =>
  sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)]!;

function stageOf(days: readonly number[], all: readonly Bought[], through: number, by: Wording): string {
  const [first, last] = [days[0]!, days.at(-1)!];
  if (through - last > by.lapsedDays) return 'lapsed';
  const returns = days.filter((day, i) => i > 0 && day - days[i - 1]! > by.lapsedDays);
  if (returns.some((day) => day > through - by.wonBackDays)) return 'won_back';
  if (first > through - by.newDays) return 'new';
  const spentIn = (from: number, to: number) =>
    sum(all.filter(({ day }) => day > from && day <= to).map(({ spend }) => spend));
  const recent = spentIn(through - by.trendDays, through);
  const before = spentIn(through - 2 * by.trendDays, through - by.trendDays);
  if (recent > 0 && recent * 100 >= before * by.growingPercent) return 'growing';
  return before > 0 && recent * 100 <= before * by.decliningPercent ? 'declining' : 'mature';
}

interface Raw extends Buyer {
  readonly frequency: number;
  readonly monetary: number;
  readonly recency: number;
}

function rawOf(all: readonly Bought[], through: number, by: Wording): Raw {
  const days = [...new Set(all.map(({ day }) => day))].sort((a, b) => a - b);
  const inWindow = all.filter(({ day }) => day > through - by.windowDays);
  const gaps = days
    .map((day, i) => ({ day, gap: i === 0 ? 0 : day - days[i - 1]! }))
    .filter(({ day, gap }) => gap > 0 && day > through - by.windowDays)
    .map(({ gap }) => gap)
    .sort((a, b) => a - b);
  const hasRhythm = days.filter((day) => day > through - by.windowDays).length >= by.purchasesMin;
  const rhythm = hasRhythm ? quantile(gaps, 0.5) : undefined;
  const lastDay = days.at(-1)!;
  const [frequency, monetary] = [
    sum(inWindow.map(({ times }) => times)),
    sum(inWindow.map(({ spend }) => spend)),
  ];
  return {
    frequency,
    monetary,
    recency: through - lastDay,
    lastDay,
    brokenDay: rhythm === undefined ? undefined : lastDay + rhythm + by.lateDays,
    facts: {
      recency_days: through - lastDay,
      age_days: through - days[0]!,
      frequency,
      monetary,
      lifecycle: stageOf(days, all, through, by),
      ...(rhythm === undefined ? {} : { rhythm_days: rhythm }),
    },
  };
}

/** Score by fifths of those who bought in the window: by how many cut points one lies above. */
function fifthOf(values: readonly number[]): (value: number) => number {
  const sorted = values.toSorted((a, b) => a - b);
  const cuts = sorted.length === 0 ? [] : [0.2, 0.4, 0.6, 0.8].map((share) => quantile(sorted, share));
  return (value) => 1 + cuts.filter((cut) => cut < value).length;
}

/** a while all who spent more make less than the share, then b, then c. */
function classOf(spends: readonly number[], by: Wording): (spend: number) => string {
  const falling = spends.filter((spend) => spend > 0).toSorted((a, b) => b - a);
  const total = sum(falling);
  const above = new Map<number, number>();
  let running = 0;
  for (const spend of falling) {
    if (!above.has(spend)) above.set(spend, running);
    running += spend;
  }
  return (spend) => {
    const more = above.get(spend);
    if (more === undefined) return 'c';
    if (more * 100 < total * by.shareA) return 'a';
    return more * 100 < total * by.shareB ? 'b' : 'c';
  };
}

/** Facts of everybody who had bought through a day. */
export function buyersThrough(bought: readonly Bought[], through: number, by: Wording): Map<number, Buyer> {
  const byBuyer = Map.groupBy(
    bought.filter(({ day }) => day <= through),
    ({ buyer }) => buyer,
  );
  const raws = [...byBuyer].map(([buyer, all]) => [buyer, rawOf(all, through, by)] as const);
  const active = raws.map(([, raw]) => raw).filter(({ frequency }) => frequency > 0);
  const recency = fifthOf(active.map((raw) => raw.recency));
  const frequency = fifthOf(active.map((raw) => raw.frequency));
  const monetary = fifthOf(active.map((raw) => raw.monetary));
  const spendClass = classOf(
    raws.map(([, raw]) => raw.monetary),
    by,
  );
  return new Map(
    raws.map(([buyer, raw]) => {
      const scores =
        raw.frequency > 0
          ? [6 - recency(raw.recency), frequency(raw.frequency), monetary(raw.monetary)]
          : [0, 0, 0];
      const facts = {
        ...raw.facts,
        recency_score: scores[0]!,
        frequency_score: scores[1]!,
        monetary_score: scores[2]!,
        spend_class: spendClass(raw.monetary),
      };
      return [buyer, { facts, lastDay: raw.lastDay, brokenDay: raw.brokenDay }];
    }),
  );
}
