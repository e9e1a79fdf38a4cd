/** PURE. One call from chance: which route, which path, headers and body, from valid to nonsense. */
import { signedHeaders } from '#src/partners/signature.ts';
import type { Chance } from './chance.ts';
import { contractEntry, partnerName, partnerSource, programSource, rateEntry } from './files.ts';
import { type Grammar, grammarOf, hostileText, type Schema } from './grammar.ts';
import type { Known } from './known.ts';

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
  /** Who may make it. */
  readonly roles: readonly string[];
}

/** A key that works. */
export interface FuzzKey {
  readonly role: string;
  readonly token: string;
}

/** A program with keys of every role, and a partner's key that signs. */
export interface FuzzProgram {
  readonly name: string;
  readonly keys: readonly FuzzKey[];
  readonly signer: { readonly keyId: string; readonly secret: string };
}

export interface FuzzCall {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  /** Sent so many times at once. */
  readonly copies: number;
  readonly meantFor: Operation;
  readonly program: FuzzProgram;
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Schema>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
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
        roles: /Roles: ([a-z, ]+)\./.exec(String(operation.description))?.[1]?.split(', ') ?? [],
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

/** Prefixes of ids by the part of the path before them; of a pool's holds and redemptions they are others. */
const prefixes: Readonly<Record<string, string>> = {
  accruals: 'acc',
  redemptions: 'red',
  holds: 'hold',
  exchanges: 'exc',
  pools: 'pool',
};

/** Who and what a call is about: the path, and the members that its body may name. */
interface Place {
  readonly path: string;
  readonly members: readonly string[];
}

function membersFor(template: string, known: Known): readonly string[] {
  const isPartners = template.includes('/exchanges') || template.includes('/partner/');
  return isPartners && known.linked.length > 0 ? known.linked : known.members;
}

/** A text for a parameter, from what is known; undefined where nothing is. */
function known(what: Known, chance: Chance, template: string, parameter: string): string | undefined {
  const pick = (list: readonly string[]) => (list.length > 0 ? chance.pick(list) : undefined);
  // Nobody revokes the keys that the run needs.
  if (template.startsWith('/v1/keys')) return pick(what.keyIds) ?? 'key_none';
  if (parameter === 'partner') return partnerName;
  if (parameter === 'version' || parameter === 'run') return String(1 + chance.below(4));
  if (parameter === 'member') return pick(membersFor(template, what));
  const before = template
    .slice(0, template.indexOf(`/{${parameter}}`))
    .split('/')
    .at(-1)!;
  return pick(what.ids(prefixes[before]));
}

/** A path to a pool, and to something of it or to a grant of a member where the template wants that; undefined where none is known. */
function linkedPlace(template: string, what: Known, chance: Chance): Record<string, string> | undefined {
  if (template.includes('{grant}'))
    return what.grants.length > 0 ? { ...chance.pick(what.grants) } : undefined;
  if (!template.includes('{pool}')) return undefined;
  const prefix = template.includes('{hold}') ? 'phd_' : 'prd_';
  if (!/\{(hold|redemption)\}/.test(template))
    return what.pools.length > 0 ? { pool: chance.pick(what.pools) } : undefined;
  const movements = what.poolMovements.filter(({ id }) => id.startsWith(prefix));
  if (movements.length === 0) return undefined;
  const { pool, id } = chance.pick(movements);
  return { pool, hold: id, redemption: id };
}

function placeOf(template: string, what: Known, chance: Chance): Place {
  const linked = linkedPlace(template, what, chance);
  const inPool = what.membersOf(linked?.pool ?? '');
  const members = inPool.length > 0 ? inPool : membersFor(template, what);
  const path = template.replaceAll(/\{([^}]+)\}/g, (_, name: string) => {
    if (chance.oneIn(20)) return encodeURIComponent(hostileText(chance)).slice(0, 3_000) || '%20';
    const ofPool = name === 'member' && inPool.length > 0 ? chance.pick(inPool) : undefined;
    const text = ofPool ?? linked?.[name] ?? known(what, chance, template, name) ?? 'nobody';
    return encodeURIComponent(chance.oneIn(20) ? text.slice(0, -1) : text);
  });
  return { path, members };
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

/** Bodies of which the document says nothing but that they are objects. */
function freeBody(template: string, chance: Chance): object | undefined {
  if (chance.oneIn(5)) return undefined;
  if (template.endsWith('/contracts')) return contractEntry(chance);
  return template.endsWith('/rates') ? rateEntry(chance) : undefined;
}

function bodyOf(operation: Operation, chance: Chance, grammar: Grammar): Buffer | undefined {
  if (chance.oneIn(25)) return garbage(chance);
  if (!operation.body) return chance.oneIn(20) ? Buffer.from('{}') : undefined;
  const faultsIn = chance.pick([0, 0, 0, 0, 0, 20, 8]);
  const free = freeBody(operation.template, chance);
  const text = JSON.stringify(free ?? grammar.value(operation.body, '', faultsIn));
  return Buffer.from(chance.oneIn(30) ? text.slice(0, chance.below(text.length)) : text);
}

function tokenFor({ roles }: Operation, { keys }: FuzzProgram, chance: Chance): string {
  if (chance.oneIn(30)) return chance.pick(['', 'nobody', '\u00e9', 'x'.repeat(3_000)]);
  const may = keys.filter(({ role }) => roles.includes(role));
  return chance.pick(chance.oneIn(20) || may.length === 0 ? keys : may).token;
}

export interface Around {
  readonly chance: Chance;
  readonly programs: readonly FuzzProgram[];
  readonly knownOf: (program: FuzzProgram) => Known;
  readonly components: Readonly<Record<string, Schema>>;
  readonly nowMs: number;
  /** A reference of this step alone. */
  readonly reference: () => string;
}

/** By a token, or by a signature where a partner calls. */
function credentials(
  { method, path, body }: Pick<FuzzCall, 'method' | 'path' | 'body'>,
  operation: Operation,
  program: FuzzProgram,
  { chance, nowMs, reference }: Around,
): Record<string, string> {
  if (!operation.template.startsWith('/v1/partner/') || chance.oneIn(30))
    return { Authorization: `Bearer ${tokenFor(operation, program, chance)}` };
  const { keyId, secret } = program.signer;
  const nonce = reference().replaceAll('/', '-').padStart(16, '0');
  const request = { method, target: path, body: body ?? '' };
  return signedHeaders(keyId, secret, request, { timestamp: Math.floor(nowMs / 1_000), nonce });
}

/** Calls after which there is less for the others to be about. */
const endings =
  /\/(dissolve|leave|merge|erasure|cancel|status)$|^\/v1\/members\/\{member\}\/links\/\{partner\}$/;

function operationFor(operations: readonly Operation[], chance: Chance): Operation {
  const first = chance.pick(operations);
  return endings.test(first.template) && !chance.oneIn(3) ? chance.pick(operations) : first;
}

/** The next call, and the operation that it is meant for. */
export function callOf(operations: readonly Operation[], around: Around): FuzzCall {
  const { chance, programs, knownOf, components, nowMs, reference } = around;
  const operation = operationFor(operations, chance);
  const { template } = operation;
  const program = chance.pick(programs);
  // Now and then about what is another program's.
  const what = knownOf(chance.oneIn(20) ? chance.pick(programs) : program);
  const { path: place, members } = placeOf(template, what, chance);
  const isPartners = template.startsWith('/v1/partners');
  const source = () => (isPartners ? partnerSource : programSource)(chance);
  const grammar = grammarOf(components, { chance, known: what, members, source, nowMs, reference });
  const path = chance.oneIn(40) ? chance.pick(strangePaths) : place + queryText(operation, chance, grammar);
  const method = chance.oneIn(40) ? chance.pick(methods) : operation.method;
  const body = bodyOf(operation, chance, grammar);
  const headers = credentials({ method, path, body }, operation, program, around);
  if (body) headers['Content-Type'] = 'application/json';
  while (chance.oneIn(8)) {
    const [name, value] = chance.pick(strangeHeaders);
    headers[name] = value;
  }
  return { method, path, headers, body, copies: chance.oneIn(12) ? 2 : 1, meantFor: operation, program };
}
