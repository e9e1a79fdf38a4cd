// From the fields of one row to what they say about a receipt. Pure: the header is resolved once, each row is then
// read by position.
import { currencyDigits, readAmount, readQuantity, shorten } from './amounts.ts';
import type { DateReader } from './dates.ts';
import { type ColumnChoices, type ReceiptOptions, UsageFault } from './options.ts';

export type ReceiptLine = {
  line: string | undefined;
  sku: string | undefined;
  category: string | undefined;
  brand: string | undefined;
  quantity: string | undefined;
  amount: number;
};

/** One row, read. `order` and `reference` are known even when the rest is at fault, so its receipt is too. */
export type RowReading = {
  order: string | undefined;
  reference: string | undefined;
} & (
  | { fault: string }
  | {
      fault?: undefined;
      member: string;
      occurredAt: string;
      currency: string;
      store: string | undefined;
      terminal: string | undefined;
      line: ReceiptLine;
    }
);

export type RowReader = (fields: readonly string[]) => RowReading;

type FieldReader = (fields: readonly string[]) => string | undefined;

/** The names of the columns that the choices refer to, each once. */
export function chosenColumns(choices: ColumnChoices): string[] {
  const { order, ...single } = choices;
  const sources = [...order, ...Object.values(single)];
  return [
    ...new Set(sources.filter((source) => source !== undefined && !source.startsWith('='))),
  ] as string[];
}

/** Resolves the choices against a header; a column that the file does not have is a usage fault. */
export function rowReader(
  header: readonly string[],
  options: ReceiptOptions,
  readDate: DateReader,
): RowReader {
  const { choices } = options;
  const positions = new Map<string, number>();
  for (const [position, name] of header.entries()) if (!positions.has(name)) positions.set(name, position);
  const missing = chosenColumns(choices).filter((name) => !positions.has(name));
  if (missing.length > 0) throw new UsageFault(missingColumns(missing, header));

  const field = (source: string | undefined): FieldReader => {
    if (source === undefined) return () => undefined;
    if (source.startsWith('=')) return () => source.slice(1);
    const position = positions.get(source) ?? -1;
    return (fields) => {
      const value = fields[position]?.trim();
      return value === '' ? undefined : value;
    };
  };
  const order = choices.order.map(field);
  const reference = field(choices.reference);
  const readLine = lineReader(field, options);
  const member = field(choices.member);
  const date = field(choices.date);
  const currency = field(choices.currency);
  const store = field(choices.store);
  const terminal = field(choices.terminal);

  return (fields) => {
    const key = { order: orderOf(order, fields), reference: reference(fields) };
    const garbled = fields.find((value) => value.includes('\ufffd'));
    if (garbled !== undefined)
      return { ...key, fault: `"${shorten(garbled)}" is wrongly encoded: see --encoding` };
    if (choices.reference !== undefined && key.reference === undefined)
      return { ...key, fault: 'no reference' };
    const money = currency(fields) ?? '';
    if (money === '') return { ...key, fault: 'no currency' };
    if (!/^[A-Z]{3}$/.test(money))
      return { ...key, fault: `"${shorten(money)}" is not an ISO 4217 currency` };
    const who = member(fields);
    if (who === undefined) return { ...key, fault: 'no member' };
    const when = readDate(date(fields) ?? '');
    if ('fault' in when) return { ...key, fault: when.fault };
    const line = readLine(fields, money);
    if ('fault' in line) return { ...key, fault: line.fault };
    return {
      ...key,
      member: who,
      occurredAt: when.occurredAt,
      currency: money,
      store: store(fields),
      terminal: terminal(fields),
      line,
    };
  };
}

function lineReader(field: (source: string | undefined) => FieldReader, options: ReceiptOptions) {
  const { choices, amountUnit, decimalComma } = options;
  const amount = field(choices.amount);
  const quantity = field(choices.quantity);
  const line = field(choices.line);
  const sku = field(choices.sku);
  const category = field(choices.category);
  const brand = field(choices.brand);
  return (fields: readonly string[], currency: string): ReceiptLine | { fault: string } => {
    const paid = readAmount(
      amount(fields) ?? '',
      amountUnit === 'minor' ? 0 : currencyDigits(currency),
      decimalComma,
    );
    if ('fault' in paid) return paid;
    const quantityText = quantity(fields);
    const counted =
      quantityText === undefined ? { quantity: undefined } : readQuantity(quantityText, decimalComma);
    if ('fault' in counted) return counted;
    return {
      line: line(fields),
      sku: sku(fields),
      category: category(fields),
      brand: brand(fields),
      quantity: counted.quantity,
      amount: paid.amount,
    };
  };
}

/** Joins the order columns; a row whose order columns are all empty stands alone. */
function orderOf(columns: readonly FieldReader[], fields: readonly string[]): string | undefined {
  const values = columns.map((column) => column(fields) ?? '');
  return values.some((value) => value !== '') ? values.join('/') : undefined;
}

function missingColumns(missing: readonly string[], header: readonly string[]): string {
  const names = missing.map((name) => `"${name}"`).join(', ');
  const found = header.map((name) => shorten(name)).join(', ');
  const hint = header.length === 1 ? ' Only one column: is the --delimiter right?' : '';
  return `the file has no column ${names}; its columns are: ${found}.${hint}`;
}
