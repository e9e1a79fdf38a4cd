// Rows to receipts, receipts to accruals. Pure and bounded: one receipt of at most 10,000 rows is open when neighbours
// are grouped, `groupWindow` rows when the whole file is; neither holds more than 32 million characters.
//
// A receipt is sent whole or not at all. Half of one under its reference could never be completed: the same
// reference with another body is refused for ever.
import type { RowReading } from './mapping.ts';
import type { ReceiptOptions } from './options.ts';

export type ReadRow = { number: number; source: readonly string[]; reading: RowReading };
export type RowGroup = { rows: ReadRow[]; fault?: string };

export type Grouping = {
  /** Takes the next row and gives back the receipts that are complete now, in the order of their first rows. */
  add(row: ReadRow): RowGroup[];
  /** Ends the file. */
  flush(): RowGroup[];
};

const receiptRowsMax = 10_000;
const openCharsMax = 32_000_000;

/** Makes the grouping that the options ask for. */
export function receiptGrouping(options: Pick<ReceiptOptions, 'group' | 'groupWindow'>): Grouping {
  return options.group === 'all' ? windowGrouping(options.groupWindow) : adjacentGrouping();
}

/** Rows of one order that follow one another form a receipt. */
function adjacentGrouping(): Grouping {
  let open: RowGroup | undefined;
  let chars = 0;
  const close = (): RowGroup[] => {
    const closed = open === undefined ? [] : [open];
    open = undefined;
    chars = 0;
    return closed;
  };
  return {
    add(row) {
      const { order } = row.reading;
      const continues = open !== undefined && order !== undefined && open.rows[0]?.reading.order === order;
      const fits = chars <= openCharsMax && (open?.rows.length ?? 0) < receiptRowsMax;
      chars += charsOf(row);
      if (continues && fits) {
        open?.rows.push(row);
        return [];
      }
      // An order that goes on past the bound is refused in pieces: none of them may pass for the receipt.
      const fault = continues
        ? { fault: `more than ${receiptRowsMax} rows, or too much text, in one order` }
        : {};
      const closed = close().map((group) => ({ ...group, ...fault }));
      open = { rows: [row], ...fault };
      chars = charsOf(row);
      return closed;
    },
    flush: close,
  };
}

/**
 * Rows of one order form a receipt when the last is at most `window` rows behind the first. Receipts leave in the
 * order of their first rows, through a queue: a Map emptied from its front walks over every hole it has.
 */
function windowGrouping(window: number): Grouping {
  const byOrder = new Map<string, RowGroup>();
  let queue: RowGroup[] = [];
  let head = 0;
  let chars = 0;
  const closeFirst = (): RowGroup[] => {
    const group = queue[head];
    if (group === undefined) return [];
    head += 1;
    if (head > 1_000 && head * 2 > queue.length) {
      queue = queue.slice(head);
      head = 0;
    }
    const order = group.rows[0]?.reading.order;
    if (order !== undefined) byOrder.delete(order);
    for (const row of group.rows) chars -= charsOf(row);
    return [group];
  };
  return {
    add(row) {
      const closed: RowGroup[] = [];
      while (chars > openCharsMax || (queue[head]?.rows[0]?.number ?? row.number) < row.number - window) {
        closed.push(...closeFirst());
      }
      chars += charsOf(row);
      const { order } = row.reading;
      const known = order === undefined ? undefined : byOrder.get(order);
      if (known !== undefined) {
        known.rows.push(row);
        return closed;
      }
      const group = { rows: [row] };
      queue.push(group);
      if (order !== undefined) byOrder.set(order, group);
      return closed;
    },
    flush() {
      const rest = queue.slice(head);
      queue = [];
      head = 0;
      byOrder.clear();
      return rest;
    },
  };
}

function charsOf(row: ReadRow): number {
  return row.source.reduce((sum, value) => sum + value.length, 0);
}

export type RejectedRow = { number: number; source: readonly string[]; reason: string };
export type ReceiptReading =
  | { reference: string; accrual: object; rows: ReadRow[] }
  | { reference: string; rejected: RejectedRow[] };

/** Makes the accrual of a receipt's rows, or says of each row why there is none. */
export function readReceipt(group: RowGroup, options: ReceiptOptions): ReceiptReading {
  const [first] = group.rows;
  if (first === undefined) throw new Error('a receipt without rows');
  const reference = first.reading.reference ?? `${options.name}:${first.number}`;
  const faults = group.rows.map((row) => rowFault(row, first, options));
  const firstFault = faults.findIndex((fault) => fault !== undefined);
  const fault = group.fault ?? receiptFault(reference, first);
  if (fault === undefined && firstFault === -1 && first.reading.fault === undefined) {
    return { reference, accrual: accrualOf(reference, first.reading, group.rows, options), rows: group.rows };
  }
  const faultyRow = group.rows[firstFault];
  const because = fault ?? `row ${faultyRow?.number} of the same receipt: ${faults[firstFault]}`;
  const rejected = group.rows.map(({ number, source }, index) => ({
    number,
    source,
    reason: faults[index] ?? because,
  }));
  return { reference, rejected };
}

function rowFault(row: ReadRow, first: ReadRow, options: ReceiptOptions): string | undefined {
  const { reading } = row;
  if (reading.fault !== undefined) return reading.fault;
  if (first.reading.fault !== undefined) return undefined;
  for (const property of ['member', 'currency', 'store', 'terminal'] as const) {
    if (reading[property] !== first.reading[property]) {
      return `${property} differs from row ${first.number} of the same receipt`;
    }
  }
  if (options.choices.reference !== undefined && reading.reference !== first.reading.reference) {
    return `reference differs from row ${first.number} of the same receipt`;
  }
  return undefined;
}

function receiptFault(reference: string, first: ReadRow): string | undefined {
  if (reference.length > 128) return 'the reference is longer than 128 characters';
  if ((first.reading.order ?? '').length > 64) return 'the order is longer than 64 characters';
  return undefined;
}

type GoodReading = Exclude<RowReading, { fault: string }>;

function accrualOf(
  reference: string,
  first: GoodReading,
  rows: readonly ReadRow[],
  options: ReceiptOptions,
): object {
  const { member, order, store, terminal, currency, occurredAt } = first;
  const lines = rows.flatMap(({ reading }, index) =>
    reading.fault === undefined ? [{ ...reading.line, line: reading.line.line ?? index + 1 }] : [],
  );
  return {
    member: options.identifier === undefined ? member : { type: options.identifier, value: member },
    reference,
    occurredAt,
    ...(options.enrol ? { enrol: true } : {}),
    // JSON leaves out what is undefined.
    purchase: { order, store, terminal, currency, lines },
  };
}

/** Completes an accrual that an NDJSON line holds already. What the line says itself wins. */
export function completeAccrual(accrual: object, rowNumber: number, options: ReceiptOptions) {
  const reference =
    'reference' in accrual && typeof accrual.reference === 'string'
      ? accrual.reference
      : `${options.name}:${rowNumber}`;
  return { reference, accrual: { ...(options.enrol ? { enrol: true } : {}), ...accrual, reference } };
}
