/** What statements cost: everything that this process asks PostgreSQL is noted, and explained with the values it was asked with. */
import pg from 'pg';

/** Tables whose size follows that of the ledger or of the membership. */
export const growing = new RegExp(
  `^(?:operation|entry)_|^(?:${[
    ...['reference', 'consequence', 'lot', 'counter', 'hold', 'member', 'identifier', 'block', 'transfer'],
    ...['event', 'diary_(?:day|points|order|return)'],
    ...['tier_(?:standing|change|order|match)', 'segment_fact', 'member_segment'],
    ...['pool', 'pool_(?:place|redemption|part|refund|refund_part)'],
    ...['exchange', 'exchange_(?:step|use|judgement|break)', 'partner_(?:link|link_code|nonce|attempt|draw)'],
  ].join('|')})$`,
);

export interface Asked {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Notes what every connection of this process asks from now on, each statement with the values of its last time. */
export function listen(): ReadonlyMap<string, Asked> {
  const asked = new Map<string, Asked>();
  const query = pg.Client.prototype.query;
  pg.Client.prototype.query = function noting(this: pg.Client, ...args: unknown[]) {
    const [first, second] = args as [string | { text?: string; values?: unknown[] }, unknown];
    const text = typeof first === 'string' ? first : (first?.text ?? '');
    const values = typeof first === 'string' ? second : (first?.values ?? second);
    const key = text.replaceAll(/\s+/g, ' ').trim();
    // The first time may have been with nothing to look for.
    if (
      /^(select|with|insert|update|delete|merge)\b/i.test(key) &&
      (Array.isArray(values) || values === undefined)
    )
      asked.set(key, { text, values: values ?? [] });
    return (query as (...rest: unknown[]) => unknown).apply(this, args);
  } as typeof query;
  return asked;
}

export interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'Actual Loops'?: number;
  readonly Plans?: readonly Plan[];
}

/** How a table is read somewhere in a plan. */
export interface Scan {
  readonly how: string;
  readonly table: string;
  readonly index: string | undefined;
  /** Where a condition picks out a part of the index. */
  readonly isPart: boolean;
  /** Something above it takes no more than it needs. */
  readonly isBounded: boolean;
}

/** The scans of a plan; with `analyze` those that were carried out. */
export function* scansOf(plan: Plan, isBounded = false): Generator<Scan> {
  const table = plan['Relation Name'];
  if (table !== undefined && plan['Actual Loops'] !== 0)
    yield {
      how: plan['Node Type'],
      table,
      index: plan['Index Name'],
      isPart: plan['Index Cond'] !== undefined,
      isBounded,
    };
  const below = isBounded || plan['Node Type'] === 'Limit';
  for (const each of plan.Plans ?? []) yield* scansOf(each, below);
}
