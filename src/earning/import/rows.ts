// The file, read in pieces of 256 kB and handed on as rows. Nothing is read ahead: the next piece is asked for only
// when the rows of the last one were taken, so a slow API slows the reading and memory stays where it is.
import { createReadStream } from 'node:fs';
import { csvReader } from './csv.ts';
import type { FileOptions } from './options.ts';

/**
 * A data row as the file has it. Rows count from 1, without the header and empty lines; `source` is what the rejects
 * file shows of it.
 */
export type SourceRow = { number: number; source: readonly string[] } & (
  | { fields: readonly string[] }
  | { accrual: object }
  | { fault: string }
);

export type SourcePiece = { header: readonly string[]; rows: SourceRow[]; bytesRead: number };

const pieceBytes = 256 * 1024;
const rowLengthMax = 4 * 1024 * 1024;

/** Reads the file piece by piece. `columns` are the ones that flat NDJSON rows are asked for. */
export async function* sourcePieces(
  file: FileOptions,
  columns: readonly string[],
): AsyncGenerator<SourcePiece> {
  const stream = createReadStream(file.path, { highWaterMark: pieceBytes });
  const decode = pieceDecoder(file.encoding);
  const splitter =
    file.format === 'ndjson'
      ? ndjsonSplitter(columns)
      : file.delimiter === 'whitespace'
        ? whitespaceSplitter(file)
        : csvReader(file);
  let bytesRead = 0;
  for await (const piece of stream as AsyncIterable<Buffer>) {
    bytesRead += piece.length;
    const rows = splitter.take(decode(piece), false);
    if (rows.length > 0) yield { header: splitter.header(), rows, bytesRead };
  }
  const rows = splitter.take(decode(undefined), true);
  yield { header: splitter.header(), rows, bytesRead };
}

type Splitter = {
  /** Takes the next text and gives the rows that are complete; the last text completes them all. */
  take(text: string, last: boolean): SourceRow[];
  header(): readonly string[];
};

/** Decodes without stopping at a wrong byte: it becomes U+FFFD, and the one row that holds it is rejected. */
function pieceDecoder(encoding: string): (piece: Buffer | undefined) => string {
  const decoder = new TextDecoder(encoding);
  return (piece) => (piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true }));
}

function rowOf(number: number, fields: string[], width: number): SourceRow {
  if (fields.length === width) return { number, source: fields, fields };
  return { number, source: fields, fault: `${fields.length} values where the file has ${width} columns` };
}

function whitespaceSplitter(file: FileOptions): Splitter {
  let header = file.columns;
  let number = 0;
  return lineSplitter(
    (line) => {
      const fields = line.split(/\s+/);
      if (header === undefined) {
        header = fields;
        return undefined;
      }
      number += 1;
      return rowOf(number, fields, header.length);
    },
    () => header ?? [],
  );
}

function ndjsonSplitter(columns: readonly string[]): Splitter {
  let number = 0;
  return lineSplitter(
    (line) => {
      number += 1;
      return jsonRow(number, line, columns);
    },
    () => columns,
  );
}

const accrualParts = ['purchase', 'flight', 'activity', 'grant'];

function jsonRow(number: number, line: string, columns: readonly string[]): SourceRow {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return { number, fault: `not JSON: ${error instanceof Error ? error.message : ''}`, source: [line] };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { number, fault: 'not a JSON object', source: [line] };
  }
  if (accrualParts.some((part) => part in value)) return { number, accrual: value, source: [line] };
  const flat = new Map<string, unknown>(Object.entries(value));
  const nested = columns.find((name) => typeof flat.get(name) === 'object' && flat.get(name) !== null);
  if (nested !== undefined) return { number, fault: `"${nested}" holds more than one value`, source: [line] };
  return { number, source: [line], fields: columns.map((name) => String(flat.get(name) ?? '')) };
}

/** Cuts text into trimmed, non-empty lines. A line beyond 4 million characters becomes one fault, not memory. */
function lineSplitter(
  readLine: (line: string) => SourceRow | undefined,
  header: Splitter['header'],
): Splitter {
  let rest = '';
  let tooLong = false;
  const finish = (line: string): SourceRow[] => {
    const trimmed = tooLong ? tooLongLine : line.trim();
    tooLong = false;
    if (trimmed === '') return [];
    const row = readLine(trimmed);
    return row === undefined ? [] : [row];
  };
  return {
    take(text, last) {
      const lines = (rest + text).split('\n');
      rest = last ? '' : (lines.pop() ?? '');
      const rows = lines.flatMap(finish);
      if (rest.length > rowLengthMax) {
        tooLong = true;
        rest = '';
      }
      return rows;
    },
    header,
  };
}

const tooLongLine = '(a line of more than 4 million characters)';
