/** PURE. The verdict: the replayed books against the tables beside them, against the callers' list and against what was shown. */
import type { Charge, Evidence, Finding } from './evidence.ts';
import { checkLineage } from './lineage.ts';
import { checkPromises } from './promises.ts';
import { figuresOf, type Replayed, replay } from './replay.ts';
import { checkRules } from './rules.ts';

export interface Verdict {
  readonly acknowledged: number;
  readonly unknown: number;
  readonly forfeited: number;
  readonly decidedStale: number;
  readonly counts: Readonly<Record<Charge, number>>;
  readonly findings: readonly Finding[];
}

function drift(detail: string): Finding {
  return { charge: 'drift', detail };
}

/** Two tables of numbers must be equal; what is missing in one counts as 0. */
function compare(
  what: string,
  own: ReadonlyMap<string, bigint>,
  theirs: ReadonlyMap<string, bigint>,
): Finding[] {
  const found: Finding[] = [];
  for (const key of new Set([...own.keys(), ...theirs.keys()])) {
    const [replayed, kept] = [own.get(key) ?? 0n, theirs.get(key) ?? 0n];
    if (replayed !== kept) found.push(drift(`${what} ${key} is ${kept}, the replay says ${replayed}`));
  }
  return found;
}

function checkTables({ books }: Evidence, { members, accounts }: Replayed): Finding[] {
  const lots = new Map<string, bigint>();
  const debts = new Map<string, bigint>();
  const open = new Set<string>();
  for (const [member, state] of members) {
    for (const [key, lot] of state.lots) lots.set(`${member}.${key}`, BigInt(lot.points));
    for (const [currency, points] of state.debts) debts.set(`${member}.${currency}`, BigInt(points));
    for (const [hold, { parts }] of state.holds)
      if ([...parts.values()].some((points) => points !== 0)) open.add(hold);
  }
  const found = [
    ...compare(
      'lot',
      lots,
      new Map(books.lots.map((l) => [`${l.member}.${l.currency}.${l.lot}`, BigInt(l.points)])),
    ),
    ...compare(
      'debt',
      debts,
      new Map(books.debts.map((d) => [`${d.member}.${d.currency}`, BigInt(d.points)])),
    ),
    ...compare(
      'account',
      accounts,
      new Map(books.accounts.map((a) => [`${a.account}.${a.currency}.${a.party}`, a.points])),
    ),
  ];
  for (const { hold, status } of books.holds) {
    if ((status === 'held') !== open.has(hold))
      found.push(drift(`hold ${hold} is ${status} in the books, not in the replay`));
    open.delete(hold);
  }
  for (const hold of open) found.push(drift(`hold ${hold} is open in the replay and not in the books`));
  for (const { transfer, state } of books.transfers) {
    if (state !== 'credited' && state !== 'returned') {
      found.push({ charge: 'unbalanced', detail: `transfer ${transfer} is still ${state}` });
    }
  }
  return found;
}

function checkShown({ shown }: Evidence, { members }: Replayed): Finding[] {
  return shown.flatMap(({ member, figures: { available, pending, held, debt }, fromMs, toMs }) => {
    const state = members.get(member) ?? { lots: new Map(), holds: new Map(), debts: new Map() };
    const own = [fromMs, toMs].map((atMs) => Object.values(figuresOf(state, atMs)).join('/'));
    const theirs = [available, pending, held, debt].join('/');
    return own.includes(theirs)
      ? []
      : [drift(`member ${member} is shown ${theirs}, the replay says ${own[0]}`)];
  });
}

/** Judges a run. */
export function judge(evidence: Evidence): Verdict {
  const replayed = replay(evidence.books.records);
  const promises = checkPromises(evidence);
  const findings = [
    ...promises.findings,
    ...replayed.findings,
    ...checkRules(evidence.books),
    ...checkLineage(evidence.books),
    ...checkTables(evidence, replayed),
    ...checkShown(evidence, replayed),
  ];
  const counts: Record<Charge, number> = {
    lost: 0,
    duplicated: 0,
    negative: 0,
    drift: 0,
    unbalanced: 0,
    unnamed: 0,
  };
  for (const { charge } of findings) counts[charge] += 1;
  return {
    acknowledged: promises.acknowledged,
    unknown: promises.unknown,
    forfeited: promises.forfeited,
    decidedStale: evidence.books.records.filter((record) => record.decidedStale).length,
    counts,
    findings,
  };
}
