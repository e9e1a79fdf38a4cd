/** `npm run settlement`: what partners and the program owe one another, from the draft to the payment, and whether it is what the books say. */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { loadConfig } from '#src/config.ts';
import type { Program } from '#src/earning/program.ts';
import { loadPrograms } from '#src/earning/registry.ts';
import { partnerNamed } from '#src/partners/contracts/store.ts';
import type { Partner } from '#src/partners/contracts/types.ts';
import { inColumns, print, runCommand, typed, UsageFault } from '#src/platform/command.ts';
import { createPool } from '#src/platform/postgres.ts';
import { checkSettlement } from './check.ts';
import { entriesCsvHead, entryCsv, postingsCsv, statementsCsv } from './export.ts';
import { balancesOf, postingsOf } from './money.ts';
import { parseMonth } from './months.ts';
import {
  type Deed,
  dispute,
  endDispute,
  linesOf,
  parseSettlementId,
  pay,
  type Settlement,
  settlementOf,
  settlementsOf,
  stepsOf,
} from './settlements.ts';
import { net } from './settling.ts';
import { draftOf, issue, minorUnits, openMonths } from './statements.ts';
import { entriesOfPeriod } from './store.ts';
import { draftView, settlementView, wholeSettlementView } from './views.ts';

const help = `Settlement with partners, month by month. Amounts are minor units; positive is what the partner owes.

  npm run settlement -- statement PARTNER [MONTH]          drafts of the months that are open, or what was issued for MONTH
  npm run settlement -- issue PARTNER MONTH                closes the month and issues its statements
  npm run settlement -- list [PARTNER]
  npm run settlement -- show STATEMENT
  npm run settlement -- dispute STATEMENT --reason TEXT [--lines 1,3]
  npm run settlement -- resolve STATEMENT --as upheld|credited --reason TEXT
  npm run settlement -- pay STATEMENT --reason TEXT [--early]
                                                           everything was paid that is not in dispute
  npm run settlement -- net [PARTNER] [--group NAME] [--through MONTH] [--book [--early]] [--reason TEXT]
  npm run settlement -- accounts [PARTNER]                 what each partner owes and why, in money, double entry
  npm run settlement -- export STATEMENT [--format csv|json] [--entries | --postings]
  npm run settlement -- check                              exit 1 where anything is not what the books say

  MONTH            such as 2026-11, in the zone of the program
  --program NAME   the program; may be left out when there is only one
  --group NAME     nets the partners of a netting group among one another; without it each with the program
  --book           the statements count as paid by the netting; without it nothing is changed
  --early          before the days are over in which a statement may be disputed, because the partner has agreed to it
  --entries        the entries that the statement was made of, instead of its lines
  --postings       the postings in the accounts in money that the statement and its payments are
  --actor NAME     who does it, for whoever asks later; default operator
  --json           for programs

The database is DATABASE_URL, or the one that npm start runs for DATA_DIR (.data).
`;

const options = {
  program: { type: 'string' },
  reason: { type: 'string' },
  lines: { type: 'string' },
  as: { type: 'string' },
  group: { type: 'string' },
  through: { type: 'string' },
  format: { type: 'string', default: 'csv' },
  actor: { type: 'string', default: 'operator' },
  book: { type: 'boolean', default: false },
  early: { type: 'boolean', default: false },
  entries: { type: 'boolean', default: false },
  postings: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const parsed = (args: readonly string[]) =>
  typed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
type Flags = ReturnType<typeof parsed>['values'];

/** What a verb works on. */
interface Work {
  readonly pool: pg.Pool;
  readonly databaseUrl: string;
  readonly flags: Flags;
  readonly names: readonly string[];
}

async function programOf({ pool, flags }: Work): Promise<Program> {
  const all = (await loadPrograms(pool)).all();
  const { program: name } = flags;
  const chosen = name === undefined && all.length === 1 ? all[0] : all.find((each) => each.name === name);
  if (chosen) return chosen;
  const names = all.map((each) => each.name).join(', ');
  throw new UsageFault(`--program needs one of: ${names || '(there is no program yet)'}`);
}

async function partnerOf({ pool }: Work, program: Program, name: string | undefined): Promise<Partner> {
  const partner = name === undefined ? undefined : await partnerNamed(pool, program.number, name);
  if (!partner) throw new UsageFault(`${program.name} has no partner ${name ?? '(say which)'}`);
  return partner;
}

function monthOf(text: string | undefined): string {
  const month = parseMonth(text ?? '');
  if (!month) throw new UsageFault('a month is written as 2026-11');
  return month;
}

function deedOf({ flags, names }: Work, program: Program): Deed {
  const settlement = parseSettlementId(names[0] ?? '');
  if (settlement === undefined) throw new UsageFault('a statement is named stm_ and eight characters');
  if (!flags.reason) throw new UsageFault('--reason says why, for whoever asks later');
  return { program, settlement, actor: flags.actor, reason: flags.reason };
}

type View = ReturnType<typeof draftView> | ReturnType<typeof wholeSettlementView>;

/** A statement as a person reads it. */
function sheet(view: View): string {
  const name =
    'id' in view ? `${view.id}, number ${view.number ?? '(carried over)'}, ${view.status}` : 'draft';
  const rows = view.lines.map((line) =>
    [
      line.line,
      line.rule === null ? line.kind : `${line.kind} ${line.rule}`,
      line.period,
      line.contract ?? '',
      line.entries,
      line.points,
      line.prepaid,
      line.amount,
      line.tax,
    ].map(String),
  );
  const head = ['line', 'kind', 'of', 'contract', 'entries', 'points', 'prepaid', 'amount', 'tax'];
  return [
    `${view.partner} ${view.period} in ${view.currency}: ${name}`,
    inColumns([head, ...rows]),
    `amount ${view.amount}, tax ${view.tax}, total ${view.total}; rounding has added ${view.rounding}`,
  ].join('\n');
}

function show(flags: Flags, views: readonly View[]): void {
  if (flags.json) print(JSON.stringify(views));
  else print(views.length === 0 ? 'There is nothing.' : views.map(sheet).join('\n\n'));
}

async function whole({ pool }: Work, program: Program, found: Settlement) {
  const [lines, steps] = [await linesOf(pool, found.settlement), await stepsOf(pool, found.settlement)];
  return wholeSettlementView(program, found, lines, steps);
}

async function ofMonth(work: Work, program: Program, partner: Partner, period: string) {
  const found = await settlementsOf(work.pool, {
    program: program.number,
    partner: partner.number,
    period,
    limit: 200,
  });
  return Promise.all(found.map((each) => whole(work, program, each)));
}

async function statement(work: Work): Promise<void> {
  const program = await programOf(work);
  const partner = await partnerOf(work, program, work.names[0]);
  const months = await openMonths(work.pool, partner.number);
  const month = work.names[1] === undefined ? undefined : monthOf(work.names[1]);
  if (month !== undefined && !months.includes(month))
    return show(work.flags, await ofMonth(work, program, partner, month));
  const views: View[] = [];
  for (const period of months.filter((each) => month === undefined || each === month))
    for (const draft of await draftOf(work.pool, partner, period))
      views.push(draftView(program, partner, period, draft));
  show(work.flags, views);
}

async function issued(work: Work): Promise<void> {
  const program = await programOf(work);
  const partner = await partnerOf(work, program, work.names[0]);
  const period = monthOf(work.names[1]);
  await issue(work.pool, { program, partner, period, actor: work.flags.actor });
  show(work.flags, await ofMonth(work, program, partner, period));
}

const listedMax = 1_000;

async function list(work: Work): Promise<void> {
  const program = await programOf(work);
  const partner = work.names[0] === undefined ? undefined : await partnerOf(work, program, work.names[0]);
  const found = await settlementsOf(work.pool, {
    program: program.number,
    partner: partner?.number,
    limit: listedMax,
  });
  const views = found.map((each) => settlementView(program, each));
  if (work.flags.json) return print(JSON.stringify(views));
  if (views.length === 0) return print('No statement was issued yet.');
  const rows = views.map(({ id, number, partner: name, period, currency, total, settled, status }) =>
    [id, number ?? '', name, period, currency, total, settled, status].map(String),
  );
  const head = ['statement', 'number', 'partner', 'month', 'money', 'total', 'settled', 'status'];
  print(inColumns([head, ...rows]));
}

async function found(work: Work, program: Program): Promise<Settlement> {
  const settlement = parseSettlementId(work.names[0] ?? '');
  const known =
    settlement === undefined ? undefined : await settlementOf(work.pool, program.number, settlement);
  if (!known) throw new UsageFault(`${program.name} has no statement ${work.names[0] ?? '(say which)'}`);
  return known;
}

async function shown(work: Work): Promise<void> {
  const program = await programOf(work);
  show(work.flags, [await whole(work, program, await found(work, program))]);
}

function linesIn(text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined;
  const lines = text.split(',').map(Number);
  if (lines.some((line) => !Number.isInteger(line) || line < 1))
    throw new UsageFault('--lines takes numbers with commas between them');
  return lines;
}

async function changed(work: Work, change: (deed: Deed) => Promise<Settlement>): Promise<void> {
  const program = await programOf(work);
  show(work.flags, [await whole(work, program, await change(deedOf(work, program)))]);
}

async function netted(work: Work): Promise<void> {
  const { flags, pool } = work;
  const program = await programOf(work);
  const partner = work.names[0] === undefined ? undefined : await partnerOf(work, program, work.names[0]);
  const through = flags.through === undefined ? undefined : monthOf(flags.through);
  const netting = {
    ...{ program, through, partner: partner?.number, group: flags.group, actor: flags.actor },
    mayBeEarly: flags.early,
    reason: flags.reason ?? 'netting',
  };
  const made = await net(pool, netting, flags.book);
  if (flags.json) return print(JSON.stringify(made));
  if (made.length === 0) return print('Nothing is issued and not paid.');
  for (const { currency, settlements, positions, payments, disputableUntil } of made) {
    print(`${currency}: ${settlements.length} statements${flags.book ? ', paid by this' : ''}`);
    print(inColumns(Object.entries(positions).map(([party, amount]) => ['', party, String(amount)])));
    for (const { from, to, amount } of payments) print(`  ${from} pays ${to} ${amount}`);
    if (disputableUntil !== null)
      print(`  Of these some may be disputed until ${new Date(disputableUntil).toISOString()}.`);
  }
}

async function accounts(work: Work): Promise<void> {
  const program = await programOf(work);
  const partner = work.names[0] === undefined ? undefined : await partnerOf(work, program, work.names[0]);
  const balances = await balancesOf(work.pool, program.number, partner?.number);
  const rows = balances.map(({ amount, ...rest }) => ({ ...rest, amount: minorUnits(amount) }));
  if (work.flags.json) return print(JSON.stringify(rows));
  if (rows.length === 0) return print('No statement was issued yet.');
  const head = ['partner', 'money', 'account', 'amount'];
  print(inColumns([head, ...rows.map((row) => [row.partner, row.currency, row.account, `${row.amount}`])]));
}

async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}

async function exported(work: Work): Promise<void> {
  const { flags, pool } = work;
  if (flags.format !== 'csv' && flags.format !== 'json') throw new UsageFault('--format takes csv or json');
  const program = await programOf(work);
  const known = await found(work, program);
  if (flags.postings) {
    const postings = await postingsOf(pool, known.settlement);
    return write(flags.format === 'json' ? `${JSON.stringify(postings)}\n` : postingsCsv(postings));
  }
  if (!flags.entries) {
    const view = await whole(work, program, known);
    return write(flags.format === 'json' ? `${JSON.stringify(view)}\n` : statementsCsv([view]));
  }
  if (flags.format === 'csv') await write(entriesCsvHead);
  for await (const chunk of entriesOfPeriod(pool, known.partner, known.period)) {
    const texts = chunk.map((entry) =>
      flags.format === 'json' ? `${JSON.stringify(entry)}\n` : entryCsv(entry),
    );
    await write(texts.join(''));
  }
}

async function check({ databaseUrl, flags }: Work): Promise<number> {
  const { accounts, statements, faults } = await checkSettlement(databaseUrl);
  if (flags.json) {
    const plain = accounts.map((each) =>
      Object.fromEntries(Object.entries(each).map(([key, value]) => [key, String(value)])),
    );
    print(JSON.stringify({ object: 'settlement_check', accounts: plain, statements, faults }));
    return faults.length > 0 ? 1 : 0;
  }
  const rows = accounts.map(({ program, partner, currency, ledger, unread, stated, open, isRight }) =>
    [program, partner, currency, ledger, unread, stated, open, isRight ? 'fits' : 'DIFFERS'].map(String),
  );
  const head = ['program', 'partner', 'currency', 'ledger', 'not read', 'statements', 'open', ''];
  if (rows.length > 0) print(`${inColumns([head, ...rows])}\n`);
  for (const fault of faults) print(fault);
  print(
    faults.length === 0
      ? `The accounts of partners are what clearing says, and ${statements} statements are what their entries come to.`
      : `${faults.length} things do not fit.`,
  );
  return faults.length > 0 ? 1 : 0;
}

const verbs: Readonly<Record<string, (work: Work) => Promise<unknown>>> = {
  statement,
  issue: issued,
  list,
  show: shown,
  dispute: (work) => changed(work, (deed) => dispute(work.pool, deed, linesIn(work.flags.lines))),
  resolve(work) {
    const { as } = work.flags;
    if (as !== 'upheld' && as !== 'credited') throw new UsageFault('--as takes upheld or credited');
    return changed(work, (deed) => endDispute(work.pool, deed, as));
  },
  pay: (work) => changed(work, (deed) => pay(work.pool, deed, work.flags.early)),
  net: netted,
  accounts,
  export: exported,
  check,
};

async function main(args: readonly string[]): Promise<number> {
  const { values: flags, positionals } = parsed(args);
  const [verb, ...names] = positionals;
  if (flags.help || verb === undefined || verb === 'help') {
    print(help);
    return 0;
  }
  const work = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  if (!work) throw new UsageFault(`unknown command ${verb}`);
  if (names.length > 2) throw new UsageFault(`unexpected ${names[2]}`);
  const { databaseUrl } = loadConfig();
  const pool = createPool(databaseUrl, 2);
  try {
    const answered = await work({ pool, databaseUrl, flags, names });
    return typeof answered === 'number' ? answered : 0;
  } finally {
    await pool.end();
  }
}

await runCommand('settlement', main);
