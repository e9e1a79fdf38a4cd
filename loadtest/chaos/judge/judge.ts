/** PURE. The verdict: the replayed books against the tables beside them, against the callers' list and against what was shown. */
import type { Charge, Evidence, Figures, Finding } from './evidence.ts';
import { checkLineage } from './lineage.ts';
import { checkPromises } from './promises.ts';
import { figuresOf, type MemberState, type Replayed, replay } from './replay.ts';
import { checkRules } from './rules.ts';

export interface Verdict {
  readonly acknowledged: number;
  readonly unknown: number;
  readonly forfeited: number;
  readonly decidedStale: number;
  readonly counts: Readonly<Record<Charge, number>>;
  readonly findings: readonly Finding[];
}

const nobody: MemberState = { lots: new Map(), holds: new Map(), debts: new Map() };

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

/** A member's figures as the records up to a moment leave them. */
function figuresUntil({ books }: Evidence, member: number, atMs: number): Figures {
  const records = books.records.filter((record) => record.member === member && record.atMs <= atMs);
  return figuresOf(replay(records).members.get(member) ?? nobody, atMs);
}

/**
 * What was shown is what the books say for then. They are read a little later, and a hold that ended in between is booked by
 * then; a member's time can be some seconds ahead of the reader's: either view will do.
 */
function checkShown(evidence: Evidence, { members }: Replayed): Finding[] {
  return evidence.shown.flatMap(({ member, figures, fromMs, toMs }) => {
    const { available, pending, held, debt } = figures;
    const theirs = [available, pending, held, debt].join('/');
    const inTheEnd = members.get(member) ?? nobody;
    const own = [
      ...[fromMs, toMs].map((atMs) => figuresOf(inTheEnd, atMs)),
      ...[fromMs, toMs].map((atMs) => figuresUntil(evidence, member, atMs)),
    ].map((each) => Object.values(each).join('/'));
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
