// CSV in pieces. csv-parse reads the values; the cutting into records is done here, because of what one stray quote
// does to a stream parser: csv-parse 7.0.3 stays inside the quotes after a fault and takes the rest of the file for
// one value. Here a line with an odd number of quotes takes the next line with it; when what comes together that way
// is no CSV, only its first line is rejected and reading goes on with its second. Pure: text in, rows out.
import { type CsvError, parse } from 'csv-parse/sync';
import type { FileOptions } from './options.ts';
import type { SourceRow } from './rows.ts';

/** A quoted value may span this many lines; a stray quote costs at most one more look at as many. */
const recordLinesMax = 500;
const recordCharsMax = 1_000_000;

export type CsvReader = { take(text: string, last: boolean): SourceRow[]; header(): readonly string[] };

/** Makes the reader of one file. */
export function csvReader(file: Pick<FileOptions, 'delimiter' | 'quote' | 'columns'>): CsvReader {
  const { delimiter, quote } = file;
  const values = (text: string): string[][] =>
    parse(text, {
      delimiter,
      quote,
      relax_column_count: true,
      record_delimiter: ['\r\n', '\n'],
      max_record_size: 0,
    });
  const { rowOf, header, count } = rowMaker(file.columns);
  let unfinished = '';
  /** Lines of a record whose quotes are still open. */
  let openLines: string[] = [];

  /** Cuts lines into records, and each record into rows; faulty records are cut anew without their first line. */
  const readLines = (lines: readonly string[], last: boolean): SourceRow[] => {
    const cut = cutRecords([...openLines, ...lines], quote, last);
    openLines = cut.open;
    const quick = valuesOfAll(cut.records, values);
    if (quick !== undefined) return quick.flatMap((fields, index) => rowOf(cut.records[index] ?? '', fields));
    const rows: SourceRow[] = [];
    let records = cut.records;
    for (let place = 0; place < records.length; place += 1) {
      const record = records[place] ?? '';
      const fields = valuesOf(record, values);
      if (typeof fields !== 'string' || !record.includes('\n')) {
        rows.push(...rowOf(record, fields));
        continue;
      }
      const [firstLine = '', ...otherLines] = record.split('\n');
      rows.push(...rowOf(firstLine, fields));
      const following = cutRecords(
        [...otherLines, ...records.slice(place + 1).flatMap(splitLines), ...openLines],
        quote,
        last,
      );
      records = following.records;
      openLines = following.open;
      place = -1;
    }
    return rows;
  };

  return {
    take(text, last) {
      const lines = (unfinished + text).split('\n');
      unfinished = last ? '' : (lines.pop() ?? '');
      const rows = readLines(lines, last);
      if (unfinished.length <= recordCharsMax) return rows;
      throw new FileFault(
        `the line after row ${count()} has more than ${recordCharsMax} characters: is this CSV?`,
      );
    },
    header,
  };
}

/** Numbers the rows and holds them against the header, which is the first of them unless it is given. */
function rowMaker(columns: readonly string[] | undefined) {
  let names = columns;
  let number = 0;
  const rowOf = (record: string, fields: string[] | string): SourceRow[] => {
    if (names === undefined) {
      if (typeof fields === 'string') throw new FileFault(`the header line is not CSV: ${fields}`);
      names = fields.map((name) => name.trim());
      return [];
    }
    number += 1;
    if (typeof fields === 'string') return [{ number, source: [record], fault: fields }];
    if (fields.length === names.length) return [{ number, source: fields, fields }];
    const fault = `${fields.length} values where the file has ${names.length} columns`;
    return [{ number, source: fields, fault }];
  };
  return { rowOf, header: () => names ?? [], count: () => number };
}

/** The file cannot be read any further. What came before it is in. */
export class FileFault extends Error {
  override name = 'FileFault';
}

function splitLines(record: string): string[] {
  return record.split('\n');
}

/** Joins lines until their quotes are even. Gives up on a record that grows too long: it is cut as it is. */
function cutRecords(lines: readonly string[], quote: string | null, last: boolean) {
  const records: string[] = [];
  let open: string[] = [];
  let chars = 0;
  let odd = false;
  for (const line of lines) {
    if (open.length === 0 && line.trim() === '') continue;
    open.push(line);
    chars += line.length;
    if (quote !== null && hasOddQuotes(line, quote)) odd = !odd;
    if (odd && open.length < recordLinesMax && chars < recordCharsMax) continue;
    records.push(joined(open));
    open = [];
    chars = 0;
    odd = false;
  }
  if (last && open.length > 0) {
    records.push(joined(open));
    open = [];
  }
  return { records, open };
}

function joined(lines: readonly string[]): string {
  const record = lines.join('\n');
  return record.endsWith('\r') ? record.slice(0, -1) : record;
}

function hasOddQuotes(line: string, quote: string): boolean {
  let odd = false;
  for (let at = line.indexOf(quote); at !== -1; at = line.indexOf(quote, at + 1)) odd = !odd;
  return odd;
}

type Values = (text: string) => string[][];

/** All records at once, which is the fast way; undefined when any of them has a fault. */
function valuesOfAll(records: readonly string[], values: Values): string[][] | undefined {
  try {
    const all = values(records.join('\n'));
    return all.length === records.length ? all : undefined;
  } catch {
    return undefined;
  }
}

/** The values of one record, or what is wrong with it. */
function valuesOf(record: string, values: Values): string[] | string {
  try {
    const [fields, ...more] = values(record);
    return fields === undefined || more.length > 0 ? 'not one CSV record' : fields;
  } catch (error) {
    return (error as CsvError).message;
  }
}
