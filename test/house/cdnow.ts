/** The CDNOW receipts as a few lines over the file read them, independent of the engine. */
import { readFileSync } from 'node:fs';

export interface CdnowRow {
  readonly customer: number;
  /** Days since 1970-01-01. */
  readonly day: number;
  readonly cents: number;
}

/** Days since 1970-01-01 of a date such as `19970930`. */
export function dayOfText(date: string): number {
  return Date.UTC(Number(date.slice(0, 4)), Number(date.slice(4, 6)) - 1, Number(date.slice(6))) / 86_400_000;
}

export function cdnowRows(path: string): CdnowRow[] {
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => {
      const [customer = '', date = '', , dollars = ''] = line.trim().split(/\s+/);
      return { customer: Number(customer), day: dayOfText(date), cents: Math.round(Number(dollars) * 100) };
    });
}

/** Cents of each customer by day. */
export function purchasesByCustomer(path: string): Map<number, Map<number, number>> {
  const customers = new Map<number, Map<number, number>>();
  for (const { customer, day, cents } of cdnowRows(path)) {
    const days = customers.get(customer) ?? new Map<number, number>();
    customers.set(customer, days);
    days.set(day, (days.get(day) ?? 0) + cents);
  }
  return customers;
}
