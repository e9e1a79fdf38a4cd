/**
 * PURE. Puts a script's text together from its own part and the parts that it shares with others. Redis runs a script's whole
 * text at every call: every function in it is made anew, and so is every capture of a local by a function. That was a third of
 * what a call costs beside its items. So a script is given only the definitions that it names, the value of a constant stands
 * wherever it is named, and what only a rare path needs is made on that path.
 */

/** A definition at the top level of a part: from a line that begins with `local` to the next such line. */
interface Definition {
  readonly names: readonly string[];
  readonly text: string;
  /** Few items come there (`-- Rare.` stands above it); what only such functions name is made inside them. */
  readonly isRare: boolean;
}

const topLevel = /^(?=local )/m;

function withoutComments(source: string): string {
  return source.replace(/^-- Rare\.\nlocal function/gm, 'local  function').replace(/^\s*--.*\n/gm, '');
}

/** Comments and indentation are for readers; Redis keeps 16 copies of each text. */
function withoutIndentation(text: string): string {
  return text.replace(/^\s+/gm, '').replaceAll('local  function', 'local function');
}

function definitionOf(text: string): Definition {
  const [, gap, functionName, list] = /^local (?:( ?)function (\w+)|([\w, ]+?) *=)/.exec(text) ?? [];
  const names = functionName === undefined ? list?.split(/, */) : [functionName];
  if (!names) throw new Error(`a shared part of a script holds more than definitions: ${text}`);
  return { names, text, isRare: gap === ' ' };
}

function definitionsOf(part: string): Definition[] {
  return part
    .split(topLevel)
    .filter((text) => text.trim() !== '')
    .map(definitionOf);
}

/** Whether one of the texts names a definition; words in quotes do not count. */
function isNamed({ names }: Definition, texts: readonly string[]): boolean {
  const code = texts.join('').replace(/'[^'\n]*'/g, "''");
  return names.some((name) => new RegExp(`\\b${name}\\b`).test(code));
}

const literal = /^(?:'[^'\\]*'|[\d.e]+)$/;

/** The constants of `local NAME, OTHER = 1, 'text'`; undefined where a text is something else. */
function constantsIn(text: string): [string, string][] | undefined {
  const [, list, found] = /^local ([A-Z_, ]+) = ([^\n]*)\s*$/.exec(text) ?? [];
  const values = found?.split(', ') ?? [];
  if (list === undefined || !values.every((value) => literal.test(value))) return undefined;
  return list.split(', ').map((name, i) => [name, values[i]!]);
}

function withoutConstants(text: string, constants: Map<string, string>): string {
  const kept = text.split(topLevel).filter((part) => {
    const found = constantsIn(part);
    for (const [name, value] of found ?? []) constants.set(name, value);
    return !found;
  });
  return kept.join('');
}

function neededBy(text: string, library: readonly Definition[]): Definition[] {
  const needed: Definition[] = [];
  for (const definition of library.toReversed()) {
    if (isNamed(definition, [text, ...needed.map((other) => other.text)])) needed.unshift(definition);
  }
  return needed;
}

/** Moves what only rare functions name into each of them. */
function nested(body: string, definitions: readonly Definition[]): Definition[] {
  let left = [...definitions];
  for (const definition of definitions.filter(({ isRare }) => !isRare).toReversed()) {
    const others = left.filter((other) => other !== definition);
    const naming = others.filter(({ text }) => isNamed(definition, [text]));
    if (isNamed(definition, [body]) || naming.some(({ isRare }) => !isRare)) continue;
    left = others.map((other) =>
      naming.includes(other)
        ? { ...other, text: other.text.replace('\n', () => `\n${definition.text}`) }
        : other,
    );
  }
  return left;
}

/** The text of a script from its own part, the parts in front of it, and the constants by name. */
export function linked(
  own: string,
  shared: readonly string[],
  literals: Readonly<Record<string, string>>,
): string {
  const constants = new Map(Object.entries(literals));
  const [body, ...parts] = [own, ...shared].map((part) => withoutConstants(withoutComments(part), constants));
  const definitions = nested(body!, neededBy(body!, parts.flatMap(definitionsOf)));
  const text = definitions.map((definition) => definition.text).join('') + body;
  const named = new RegExp(`\\b(?:${[...constants.keys()].join('|')})\\b`, 'g');
  return withoutIndentation(text.replace(named, (name) => constants.get(name)!));
}
