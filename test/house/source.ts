/** The code base as text, for the architecture test: files, imports, functions. No parser: types are stripped by Node. */
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { checkout } from './folders.ts';

export interface SourceFile {
  /** From the checkout, such as `src/wallet/keys.ts`. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
}

/** All files below the given folders whose names end so. */
export function filesIn(folders: readonly string[], ending: string): SourceFile[] {
  return folders.flatMap((folder) => {
    const entries = readdirSync(join(checkout, folder), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
      .map((entry) => {
        const text = readFileSync(join(entry.parentPath, entry.name), 'utf8');
        return {
          path: relative(checkout, join(entry.parentPath, entry.name)),
          text,
          lines: text.split('\n').length - 1,
        };
      })
      .filter((file) => !file.path.startsWith('src/platform/prisma/'));
  });
}

export interface Import {
  /** A path from the checkout, or the name of a package. */
  readonly target: string;
  readonly typeOnly: boolean;
}

/** What a file imports or re-exports; `#src/` and relative paths are resolved. */
export function importsOf(file: SourceFile): Import[] {
  const imports: Import[] = [];
  for (const match of file.text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^;'"]*?\sfrom\s+)?'([^']+)'/gm)) {
    const [, type, specifier = ''] = match;
    imports.push({ target: resolved(file, specifier), typeOnly: type !== undefined });
  }
  return imports;
}

function resolved(file: SourceFile, specifier: string): string {
  if (specifier.startsWith('#src/')) return `src/${specifier.slice(5)}`;
  if (specifier.startsWith('.')) return join(dirname(file.path), specifier);
  return specifier;
}

/** Code with every string, comment and regular expression replaced by blanks, line by line as it was. */
export function blanked(text: string): string {
  const pattern =
    /\/\*[\s\S]*?\*\/|(?<!:)\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?<=[(,=:[!&|?{};\n]\s*|return\s)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g;
  const blank = (found: string) => found.replaceAll(/[^\n]/g, ' ');
  return withoutTemplates(text).replaceAll(pattern, blank);
}

/** Template literals go first, with what they hold: their `${}` would otherwise count as blocks. */
function withoutTemplates(text: string): string {
  const marks = text.replaceAll(/\/\*[\s\S]*?\*\/|(?<!:)\/\/[^\n]*|'(?:\\.|[^'\\\n])*'/g, (found) =>
    found.replaceAll(/[^\n]/g, ' '),
  );
  let out = '';
  for (let i = 0; i < text.length; i += 1) {
    if (marks[i] !== '`') {
      out += text[i];
      continue;
    }
    const end = templateEnd(marks, i);
    out += text.slice(i, end + 1).replaceAll(/[^\n]/g, ' ');
    i = end;
  }
  return out;
}

/** Index of the back quote that closes the template which opens at `start`; templates may nest inside `${}`. */
function templateEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === '`') return i;
    else if (text[i] === '$' && text[i + 1] === '{') i = substitutionEnd(text, i + 1);
  }
  return text.length - 1;
}

function substitutionEnd(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i += 1) {
    if (text[i] === '`') i = templateEnd(text, i);
    else if (text[i] === '{') depth += 1;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  return text.length - 1;
}

export interface FunctionSpan {
  readonly line: number;
  /** Lines of its own: those of functions inside it are theirs. */
  readonly ownLines: number;
}

const notFunctions = /\b(?:if|for|while|switch|catch|with)\s*$/;

/** Whether the brace at `at` opens the body of a function. */
function opensFunction(code: string, at: number): boolean {
  const before = code.slice(Math.max(0, at - 4_000), at).trimEnd();
  if (before.endsWith('=>')) return true;
  if (!before.endsWith(')')) return false;
  let depth = 0;
  for (let i = before.length - 1; i >= 0; i -= 1) {
    if (before[i] === ')') depth += 1;
    else if (before[i] === '(' && --depth === 0) return !notFunctions.test(before.slice(0, i));
  }
  return false;
}

/** Every function of a file with its own length. */
export function functionsOf(file: SourceFile): FunctionSpan[] {
  const code = blanked(stripTypeScriptTypes(file.text));
  const found: FunctionSpan[] = [];
  const open: { isFunction: boolean; line: number; inner: number }[] = [];
  let line = 1;
  for (let i = 0; i < code.length; i += 1) {
    if (code[i] === '\n') line += 1;
    else if (code[i] === '{') open.push({ isFunction: opensFunction(code, i), line, inner: 0 });
    else if (code[i] === '}') {
      const block = open.pop();
      if (!block) continue;
      const lines = line - block.line + 1;
      const outer = open.at(-1);
      if (block.isFunction) found.push({ line: block.line, ownLines: lines - block.inner });
      if (outer) outer.inner += block.isFunction ? lines : block.inner;
    }
  }
  return found;
}
