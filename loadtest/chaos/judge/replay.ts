/**
 * PURE. The reference model: replays the books in the order (shard, epoch, sequence) and computes every lot, hold, debt
 * and account anew from the entries alone. What a record says of itself (its legs, the balances after it) is only compared.
 * A member lives in one shard, so the order inside a shard is all the order there is.
 */
import type { BookRecord, Charge, Entry, Figures, Finding } from './evidence.ts';

interface Lot {
  points: number;
  readonly expiresAtMs: number;
  readonly availableAtMs: number;
}

interface Hold {
  /** A hold that has ended counts as released, also before that is booked. */
  readonly endsAtMs: number;
  /** By `currency.lot`. */
  readonly parts: Map<string, number>;
}

export interface MemberState {
  /** By `currency.lot`. */
  readonly lots: Map<string, Lot>;
  readonly holds: Map<string, Hold>;
  /** By currency. */
  readonly debts: Map<number, number>;
}

export interface Replayed {
  readonly members: ReadonlyMap<number, MemberState>;
  /** By `account.currency.party`. */
  readonly accounts: ReadonlyMap<string, bigint>;
  readonly findings: Finding[];
}

export function placeOf(record: Pick<BookRecord, 'shard' | 'epoch' | 'seq'>): string {
  return `${record.shard}.${record.epoch}.${record.seq}`;
}

const never = Number.POSITIVE_INFINITY;

/** Currency 1 is the only one that the load moves. */
export function figuresOf(state: MemberState, atMs: number, currency = 1): Figures {
  let [available, pending, held] = [0, 0, 0];
  for (const [key, lot] of state.lots) {
    if (!key.startsWith(`${currency}.`)) continue;
    if (lot.availableAtMs > atMs) pending += lot.points;
    else if (lot.expiresAtMs === 0 || lot.expiresAtMs > atMs) available += lot.points;
  }
  for (const { endsAtMs, parts } of state.holds.values()) {
    for (const [key, points] of parts) {
      if (!key.startsWith(`${currency}.`)) continue;
      if (endsAtMs > atMs) held += points;
      else available += points;
    }
  }
  return { available, pending, held, debt: state.debts.get(currency) ?? 0 };
}

function sameFigures(a: Figures, b: Figures): boolean {
  return a.available === b.available && a.pending === b.pending && a.held === b.held && a.debt === b.debt;
}

/** The terms of a lot stand in the record's legs, not in the entries. */
function termsOf(record: BookRecord, line: number): { expiresAtMs: number; availableAtMs: number } {
  const leg = record.effect.legs[line] ?? [];
  return { expiresAtMs: Number(leg[5] ?? 0), availableAtMs: Number(leg[6] ?? 0) };
}

/** Whether an entry is the leg that the record says stands there. */
function matchesLeg(entry: Entry, leg: readonly (string | number)[] | undefined): boolean {
  if (!leg || leg[0] !== entry.account || leg[1] !== entry.currency || leg[2] !== entry.points) return false;
  if (entry.account === 'wallet') return leg[3] === entry.lot;
  if (entry.account === 'held') return leg[3] === entry.lot && leg[4] === entry.hold;
  return true;
}

/** Replays the books. */
export function replay(records: readonly BookRecord[]): Replayed {
  const members = new Map<number, MemberState>();
  const accounts = new Map<string, bigint>();
  const findings: Finding[] = [];
  const charge = (kind: Charge, record: BookRecord, detail: string): void => {
    findings.push({
      charge: kind,
      detail: `${record.kind} ${placeOf(record)} of member ${record.member}: ${detail}`,
    });
  };

  function stateOf(member: number): MemberState {
    let state = members.get(member);
    if (!state) {
      state = { lots: new Map(), holds: new Map(), debts: new Map() };
      members.set(member, state);
    }
    return state;
  }

  function applyEntry(record: BookRecord, entry: Entry, line: number): void {
    const account = `${entry.account}.${entry.currency}.${entry.party ?? 0}`;
    accounts.set(account, (accounts.get(account) ?? 0n) + BigInt(entry.points));
    if (!['wallet', 'held', 'debt'].includes(entry.account)) return;
    if (entry.member !== record.member) charge('drift', record, `entry ${line} is of member ${entry.member}`);
    const state = stateOf(record.member);
    const key = `${entry.currency}.${entry.lot}`;
    if (entry.account === 'wallet') {
      const lot = state.lots.get(key) ?? { points: 0, ...termsOf(record, line) };
      lot.points += entry.points;
      state.lots.set(key, lot);
    } else if (entry.account === 'held') {
      const endsAtMs = record.effect.expiresAt ?? never;
      const hold = state.holds.get(entry.hold ?? '') ?? { endsAtMs, parts: new Map<string, number>() };
      hold.parts.set(key, (hold.parts.get(key) ?? 0) + entry.points);
      state.holds.set(entry.hold ?? '', hold);
    } else {
      state.debts.set(entry.currency, (state.debts.get(entry.currency) ?? 0) - entry.points);
    }
  }

  function checkSigns(record: BookRecord): void {
    const state = stateOf(record.member);
    for (const { account, currency, lot, hold } of record.entries) {
      const key = `${currency}.${lot}`;
      const left =
        account === 'wallet'
          ? state.lots.get(key)?.points
          : account === 'held'
            ? state.holds.get(hold ?? '')?.parts.get(key)
            : account === 'debt'
              ? state.debts.get(currency)
              : 0;
      if (left !== undefined && left < 0)
        charge('negative', record, `${account} ${hold ?? ''} ${key} is ${left}`);
    }
  }

  /** Points leave in burn order: no lot that ends sooner, or as soon and is older, keeps any when a later one is used. */
  function checkBurnOrder(record: BookRecord): void {
    const state = stateOf(record.member);
    const orderOf = (key: string): [number, number] => {
      const ends = state.lots.get(key)?.expiresAtMs ?? 0;
      return [ends === 0 ? never : ends, Number(key.split('.')[1])];
    };
    const before = (a: [number, number], b: [number, number]) =>
      a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]);
    const used = record.entries.filter(({ account, points }) => account === 'wallet' && points < 0);
    for (const { currency, lot } of used) {
      const own = orderOf(`${currency}.${lot}`);
      for (const [key, { points, expiresAtMs, availableAtMs }] of state.lots) {
        if (points <= 0 || !key.startsWith(`${currency}.`) || availableAtMs > record.atMs) continue;
        if (expiresAtMs !== 0 && expiresAtMs <= record.atMs) continue;
        if (before(orderOf(key), own)) charge('drift', record, `lot ${lot} was used before lot ${key}`);
      }
    }
  }

  for (const record of records) {
    const sums = new Map<number, number>();
    record.entries.forEach((entry, line) => {
      sums.set(entry.currency, (sums.get(entry.currency) ?? 0) + entry.points);
      if (!matchesLeg(entry, record.effect.legs[line]))
        charge('drift', record, `entry ${line} is not the record's leg`);
      applyEntry(record, entry, line);
    });
    if (record.effect.legs.length !== record.entries.length) {
      charge('drift', record, `${record.effect.legs.length} legs, but ${record.entries.length} entries`);
    }
    for (const [currency, sum] of sums)
      if (sum !== 0) charge('unbalanced', record, `currency ${currency} sums to ${sum}`);
    checkSigns(record);
    if (record.kind === 'redemption' || record.kind === 'hold') checkBurnOrder(record);
    for (const [currency, available, pending, held, debt] of record.effect.balances) {
      const own = figuresOf(stateOf(record.member), record.atMs, currency);
      if (!sameFigures(own, { available, pending, held, debt })) {
        charge(
          'drift',
          record,
          `says ${available}/${pending}/${held}/${debt}, the replay ${Object.values(own).join('/')}`,
        );
      }
    }
  }
  return { members, accounts, findings };
}
