// The import's flags: read once, checked together, so that a wrong command is refused before the file is opened.
import { basename, extname } from 'node:path';
import { parseArgs } from 'node:util';
import { dateFormatFault, isTimeZone } from './dates.ts';

/** A command that cannot be run as it was typed. Ends with exit code 2. */
export class UsageFault extends Error {
  override name = 'UsageFault';
}

/** Where each value of a receipt comes from: a column's name, or `=value` for the same value in every row. */
export type ColumnChoices = {
  member: string;
  date: string;
  amount: string;
  currency: string | undefined;
  order: readonly string[];
  reference?: string | undefined;
  line?: string | undefined;
  sku?: string | undefined;
  category?: string | undefined;
  brand?: string | undefined;
  quantity?: string | undefined;
  store?: string | undefined;
  terminal?: string | undefined;
};

export type FileOptions = {
  path: string;
  format: 'csv' | 'ndjson';
  delimiter: string;
  quote: string | null;
  encoding: string;
  /** Column names of a file without a header line. */
  columns: readonly string[] | undefined;
};

export type ReceiptOptions = {
  /** Stands before the row number in references that the file does not give. */
  name: string;
  choices: ColumnChoices;
  dateFormat: string;
  amountUnit: 'major' | 'minor';
  decimalComma: boolean;
  identifier: string | undefined;
  enrol: boolean;
  group: 'adjacent' | 'all';
  groupWindow: number;
};

export type ImportOptions = {
  file: FileOptions;
  receipts: ReceiptOptions;
  zone: string | undefined;
  url: string;
  key: string;
  concurrency: number;
  patienceMs: number;
  rejectsPath: string;
  receiptsMax: number;
  dryRun: boolean;
};

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const flags = {
  help: { type: 'boolean', short: 'h' },
  format: text,
  delimiter: text,
  quote: text,
  encoding: text,
  columns: text,
  member: text,
  identifier: text,
  enrol: flag,
  date: text,
  'date-format': text,
  zone: text,
  amount: text,
  'amount-unit': text,
  'decimal-comma': flag,
  currency: text,
  'currency-column': text,
  sku: text,
  category: text,
  brand: text,
  quantity: text,
  store: text,
  terminal: text,
  line: text,
  order: { type: 'string', multiple: true },
  group: text,
  'group-window': text,
  reference: text,
  name: text,
  url: text,
  key: text,
  concurrency: text,
  patience: text,
  rejects: text,
  limit: text,
  'dry-run': flag,
} as const;

/** Reads the command line; undefined when only the help is wanted. */
export function readOptions(
  args: readonly string[],
  defaults: { url: string; key: string },
): ImportOptions | undefined {
  const { values, positionals } = parseFlags(args);
  if (values.help === true) return undefined;
  const [path, ...rest] = positionals;
  if (path === undefined) throw new UsageFault('name the file to import');
  if (rest.length > 0) throw new UsageFault(`one file at a time: what is ${rest[0]}?`);
  if (values.zone !== undefined && !isTimeZone(values.zone)) {
    throw new UsageFault(`${values.zone} is not an IANA time zone (e.g. Europe/Paris)`);
  }
  const format = fileFormat(path, values.format);
  const rejectsPath = values.rejects ?? `${path}.rejects.csv`;
  if (rejectsPath === path) throw new UsageFault('the rejects file may not be the imported file');
  return {
    file: {
      path,
      format,
      delimiter: delimiterOf(path, values.delimiter),
      quote: values.quote === 'none' ? null : oneCharacter('--quote', values.quote ?? '"'),
      encoding: encodingOf(values.encoding ?? 'utf-8'),
      columns: values.columns?.split(',').map((name) => name.trim()),
    },
    receipts: receiptOptions(path, format, values),
    zone: values.zone,
    url: urlOf(values.url ?? defaults.url),
    key: values.key ?? defaults.key,
    concurrency: integerOf('--concurrency', values.concurrency, 4, 64),
    patienceMs: integerOf('--patience', values.patience, 60, 86_400) * 1000,
    rejectsPath,
    receiptsMax: integerOf('--limit', values.limit, Number.MAX_SAFE_INTEGER),
    dryRun: values['dry-run'] === true,
  };
}

type FlagValues = ReturnType<typeof parseFlags>['values'];

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageFault(error instanceof Error ? error.message : String(error));
  }
}

function receiptOptions(path: string, format: 'csv' | 'ndjson', values: FlagValues): ReceiptOptions {
  const dateFormat = values['date-format'] ?? 'iso';
  const fault = dateFormatFault(dateFormat);
  if (fault !== undefined) throw new UsageFault(fault);
  const name = values.name ?? basename(path);
  if (values.reference === undefined && name.length > 112) {
    throw new UsageFault('the file name is too long to stand in references: give a shorter --name');
  }
  return {
    name,
    choices: columnChoices(format, values),
    dateFormat,
    amountUnit: oneOf('--amount-unit', values['amount-unit'] ?? 'major', ['major', 'minor']),
    decimalComma: values['decimal-comma'] === true,
    identifier: values.identifier,
    enrol: values.enrol === true,
    group: oneOf('--group', values.group ?? 'adjacent', ['adjacent', 'all']),
    groupWindow: integerOf('--group-window', values['group-window'], 20_000, 1_000_000),
  };
}

function columnChoices(format: 'csv' | 'ndjson', values: FlagValues): ColumnChoices {
  const { currency } = values;
  if (currency !== undefined && values['currency-column'] !== undefined) {
    throw new UsageFault('--currency and --currency-column exclude each other');
  }
  if (currency !== undefined && !/^[A-Z]{3}$/.test(currency)) {
    throw new UsageFault(`--currency ${currency}: an ISO 4217 code has three capitals, e.g. USD`);
  }
  const money = currency === undefined ? values['currency-column'] : `=${currency}`;
  // NDJSON may hold whole accruals, which name their currency themselves; CSV never does.
  if (money === undefined && format === 'csv') {
    throw new UsageFault('say which money the amounts are in: --currency USD, or --currency-column COLUMN');
  }
  const { reference, line, sku, category, brand, quantity, store, terminal } = values;
  return {
    member: values.member ?? 'member',
    date: values.date ?? 'date',
    amount: values.amount ?? 'amount',
    currency: money,
    order: values.order ?? [],
    ...{ reference, line, sku, category, brand, quantity, store, terminal },
  };
}

function fileFormat(path: string, format: string | undefined): 'csv' | 'ndjson' {
  const byName = ['.ndjson', '.jsonl'].includes(extname(path).toLowerCase()) ? 'ndjson' : 'csv';
  return oneOf('--format', format ?? byName, ['csv', 'ndjson']);
}

function delimiterOf(path: string, delimiter: string | undefined): string {
  if (delimiter === undefined) return extname(path).toLowerCase() === '.tsv' ? '\t' : ',';
  if (delimiter === 'whitespace') return delimiter;
  if (delimiter === 'tab' || delimiter === '\\t') return '\t';
  if (delimiter === '') throw new UsageFault('--delimiter is empty');
  return delimiter;
}

function encodingOf(label: string): string {
  try {
    return new TextDecoder(label).encoding;
  } catch {
    throw new UsageFault(`--encoding ${label} is not known (e.g. utf-8, windows-1252, utf-16le)`);
  }
}

function urlOf(url: string): string {
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? ''))
    throw new UsageFault(`--url ${url} is not an http address`);
  return url.replace(/\/+$/, '');
}

function oneCharacter(name: string, value: string): string {
  if (value.length !== 1) throw new UsageFault(`${name} takes one character, or none`);
  return value;
}

function oneOf<Word extends string>(name: string, value: string, words: readonly Word[]): Word {
  const word = words.find((candidate) => candidate === value);
  if (word === undefined) throw new UsageFault(`${name} is ${words.join(' or ')}, not ${value}`);
  return word;
}

function integerOf(
  name: string,
  value: string | undefined,
  fallback: number,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (value === undefined) return fallback;
  const number = /^\d+$/.test(value) ? Number(value) : 0;
  if (number < 1 || number > max)
    throw new UsageFault(`${name} takes a whole number from 1 to ${max}, not ${value}`);
  return number;
}
