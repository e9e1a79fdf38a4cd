/** PURE. One call from chance: which route, which path, headers and body, from valid to nonsense. */
import type { Chance } from './chance.ts';
import { type Grammar, hostileText, type Known, type Schema } from './grammar.ts';

interface Operation {
  readonly method: string;
  /** `/v1/holds/{id}/capture` */
  readonly template: string;
  readonly parameters: readonly {
    readonly in: string;
    readonly name: string;
    readonly required?: boolean;
    readonly schema?: Schema;
  }[];
  readonly body: Schema | undefined;
}

export interface FuzzCall {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  /** Sent so many times at once. */
  readonly copies: number;
  readonly meantFor: Operation;
  readonly token: string;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Schema>>>>;
}

/** Every operation of the document. */
export function operationsOf(document: Document): Operation[] {
  return Object.entries(document.paths).flatMap(([template, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const content = (operation.requestBody as { content?: Record<string, { schema: Schema }> } | undefined)
        ?.content;
      return {
        method: method.toUpperCase(),
        template,
        parameters: (operation.parameters ?? []) as Operation['parameters'],
        body: content?.['application/json']?.schema,
      };
    }),
  );
}

const strangePaths = [
  '/',
  '/v1',
  '/v1/',
  '/v1//members',
  '/v1/members/%00',
  '/v1/%2e%2e/healthz',
  '/healthz',
  '/metrics',
  '/docs',
  '/openapi.json',
  '/v1/operations/%ff',
  '/v1/holds?limit=%',
  `/v1/${'a'.repeat(2_000)}`,
];
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const strangeHeaders: readonly (readonly [string, string])[] = [
  ['Prefer', 'wait=0'],
  ['Prefer', 'wait=99999999999999999999'],
  ['Prefer', ';;;'],
  ['Idempotency-Key', ''],
  ['Idempotency-Key', 'k'.repeat(4_000)],
  ['Idempotency-Key', '\u00ff\u00fe'],
  ['X-Request-Id', '"><script>'],
  ['Content-Encoding', 'gzip'],
  ['Content-Type', 'text/plain'],
  ['Content-Type', 'application/json; charset=utf-16'],
  ['Content-Type', 'multipart/form-data'],
  ['Accept', 'application/xml'],
  ['Expect', '200-ok'],
  ['X-Forwarded-For', '1.1.1.1'],
  ['Cookie', 'a=b'.repeat(200)],
];

function pathText(chance: Chance, known: Known, template: string, parameter: string): string {
  if (chance.oneIn(15)) return encodeURIComponent(hostileText(chance)).slice(0, 3_000) || '%20';
  // Nobody revokes the keys that the run needs.
  if (template.startsWith('/v1/keys'))
    return known.keyIds.length > 0 ? chance.pick(known.keyIds) : 'key_none';
  const pool = parameter === 'member' || template.startsWith('/v1/members/') ? known.members : known.ids;
  const text = pool.length > 0 ? chance.pick(pool) : 'nobody';
  return encodeURIComponent(chance.oneIn(15) ? text.slice(0, -1) : text);
}

function queryText(operation: Operation, chance: Chance, grammar: Grammar): string {
  const pairs = operation.parameters.flatMap((parameter) => {
    const isRare = parameter.name === 'cursor' && !chance.oneIn(10);
    if (parameter.in !== 'query' || isRare || (parameter.required !== true && chance.oneIn(2))) return [];
    const value = grammar.value(
      parameter.schema ?? {},
      parameter.name === 'from' || parameter.name === 'to' ? 'at' : parameter.name,
      12,
    );
    return [
      `${parameter.name}=${encodeURIComponent((typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed()).slice(0, 2_000)}`,
    ];
  });
  if (chance.oneIn(20)) pairs.push('__proto__[x]=1', 'limit=-1');
  return pairs.length > 0 ? `?${pairs.join('&')}` : '';
}

function garbage(chance: Chance): Buffer {
  switch (chance.below(5)) {
    case 0:
      return Buffer.from(Array.from({ length: chance.below(300) }, () => chance.below(256)));
    case 1:
      return Buffer.from('['.repeat(20_000));
    case 2:
      return Buffer.from(`{"member":"${'m'.repeat(200_000)}"}`);
    case 3:
      return Buffer.from('{"reference":"a","reference":"b","__proto__":{"points":1}}');
    default:
      return Buffer.from('');
  }
}

function bodyOf(operation: Operation, chance: Chance, grammar: Grammar): Buffer | undefined {
  if (chance.oneIn(25)) return garbage(chance);
  if (!operation.body) return chance.oneIn(20) ? Buffer.from('{}') : undefined;
  const text = JSON.stringify(grammar.value(operation.body, '', chance.pick([0, 0, 0, 0, 0, 20, 8])));
  return Buffer.from(chance.oneIn(30) ? text.slice(0, chance.below(text.length)) : text);
}

/** Keys that work, and what was refused to whom. */
export interface Tokens {
  readonly all: readonly string[];
  /** `METHOD /template token` of every call that a role may not make. */
  readonly barred: ReadonlySet<string>;
}

function tokenFor(operation: Operation, chance: Chance, { all, barred }: Tokens): string {
  if (chance.oneIn(30)) return chance.pick(['', 'nobody', '\u00e9', 'x'.repeat(3_000)]);
  const may = all.filter((token) => !barred.has(`${operation.method} ${operation.template} ${token}`));
  return chance.pick(chance.oneIn(20) || may.length === 0 ? all : may);
}

/** The next call, and the operation that it is meant for. */
export function callOf(
  operations: readonly Operation[],
  chance: Chance,
  grammar: Grammar,
  known: Known,
  tokens: Tokens,
): FuzzCall {
  const operation = chance.pick(operations);
  const path = chance.oneIn(40)
    ? chance.pick(strangePaths)
    : operation.template.replaceAll(/\{([^}]+)\}/g, (_, name: string) =>
        pathText(chance, known, operation.template, name),
      ) + queryText(operation, chance, grammar);
  const token = tokenFor(operation, chance, tokens);
  const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
  const body = bodyOf(operation, chance, grammar);
  if (body) headers['Content-Type'] = 'application/json';
  while (chance.oneIn(8)) {
    const [name, value] = chance.pick(strangeHeaders);
    headers[name] = value;
  }
  const method = chance.oneIn(40) ? chance.pick(methods) : operation.method;
  return { method, path, headers, body, copies: chance.oneIn(12) ? 2 : 1, meantFor: operation, token };
}
