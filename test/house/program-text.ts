/** Program files in tests: what is said of a text, and where. */
import { type FileFault, readProgramFile } from '#src/earning/file/read.ts';

function textOf({ line, column, pointer, detail }: FileFault): string {
  return `${line}:${column} ${pointer} ${detail}`;
}

/** Faults, then warnings, as the commands print them, without the name of the file. */
export function said(source: string): string[] {
  const { faults, warnings } = readProgramFile(source);
  return [...faults.map(textOf), ...warnings.map((each) => `warning ${textOf(each)}`)];
}

/** Line and column of the mark § in a text. */
export function placeOf(marked: string): string {
  const before = marked.slice(0, marked.indexOf('§')).split('\n');
  return `${before.length}:${before.at(-1)!.length + 1}`;
}
