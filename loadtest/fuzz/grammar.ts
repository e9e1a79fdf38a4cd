/**
 * PURE. Values from the service's own OpenAPI document, and values that it does not expect. A body is mostly valid, so that
 * it gets past the schemas, and broken in one or two places, so that what lies behind them meets the unexpected too.
 */
import type { Chance } from './chance.ts';
import { matchedTier, matchName, partnerName } from './files.ts';
import type { Known } from './known.ts';

export type Schema = Readonly<Record<string, unknown>>;

const hostileTexts = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '💳💳💳',
  '../../etc/passwd',
  "'; drop table member; --",
  '{{7*7}}',
  '%00%ff',
  '__proto__',
  'constructor',
  '-0',
  '1e400',
  '9007199254740993',
  '2026-02-30T25:61:00Z',
  '0000-00-00',
  'x'.repeat(129),
  'y'.repeat(5_000),
  '\t\r\n',
  'mem_zzzzzzzzzzz',
  'acc_00000000000070008000000000000000',
];

const hostileValues: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  0.1,
  1e308,
  -1e308,
  9_007_199_254_740_991,
  2 ** 60,
  2_147_483_648,
  [],
  {},
  [[[[[[]]]]]],
  { toString: 1 },
];

/** Such a value as text, for paths and queries. */
export function hostileText(chance: Chance): string {
  const value = hostile(chance);
  return (typeof value === 'string' ? value : JSON.stringify(value)).toWellFormed();
}

/** A value that nobody asked for. */
function hostile(chance: Chance): unknown {
  return chance.oneIn(2) ? chance.pick(hostileTexts) : chance.pick(hostileValues);
}

export interface Grammar {
  /** A value of a schema, with about one place in `faultsIn` wrong (0: none). */
  value(schema: Schema, name: string, faultsIn: number): unknown;
}

interface Surroundings {
  readonly chance: Chance;
  readonly known: Known;
  /** Whom a body may be about. */
  readonly members: readonly string[];
  /** A file, for whom the call is about. */
  readonly source: () => string;
  readonly nowMs: number;
  /** A reference of this step alone. */
  readonly reference: () => string;
}

const depthMax = 8;
/** Properties of which a request has one. */
const alternatives = [
  ['purchase', 'flight', 'activity', 'grant'],
  ['order', 'accrual'],
  // Parts stand instead of points and currency.
  ['points', 'points', 'points', 'parts'],
  ['name', 'name', 'code'],
] as const;

/** Texts that mean one thing wherever they stand. */
const fixed: Readonly<Record<string, readonly string[]>> = {
  birthday: ['1990-05-17'],
  carrier: ['1', '2.5', 'XX'],
  quantity: ['1', '2.5', 'XX'],
  'their code': ['CODE-000001', 'CODE-000002'],
  'their account': ['FF000001', 'FF000002'],
  direction: ['out', 'in'],
  ladder: ['status'],
  offer: [matchName],
  partner: [partnerName],
  period: ['2026-09', '2026-10'],
  tier: ['silver', matchedTier],
  type: ['card', 'card', 'email', 'phone'],
};
/** Days that have to lie ahead. */
const later = ['until', 'through'];

/** Ids by what they are called in a body. */
const prefixOf: Readonly<Record<string, string | undefined>> = {
  id: undefined,
  operation: undefined,
  hold: 'hold',
  accrual: 'acc',
  redemption: 'red',
  quote: 'exc',
};

/** Text for a property by what it is called, because most patterns say less than the name. */
function named(name: string, schema: Schema, around: Surroundings): string | undefined {
  const { chance, known, members, nowMs, reference, source } = around;
  const pick = (list: readonly string[]) => (list.length > 0 ? chance.pick(list) : undefined);
  if (schema.maxLength === 3) return chance.pick(['FRA', 'LHR']);
  if (later.includes(name) && schema.format === 'date') return `20${30 + chance.below(9)}-01-31`;
  if (schema.format === 'date' && name !== 'birthday') return undefined;
  if (Object.hasOwn(fixed, name)) return pick(fixed[name]!);
  if (Object.hasOwn(prefixOf, name)) return pick(known.ids(prefixOf[name]));
  switch (name) {
    case 'reference':
      return chance.oneIn(5) && known.references.length > 0 ? chance.pick(known.references) : reference();
    case 'originalReference':
      return pick(known.references);
    case 'account':
    case 'callerAccount':
      return pick(members);
    case 'code':
      return pick(known.codes);
    case 'member':
    case 'from':
    case 'to':
    case 'into':
      return members.length > 0 && !chance.oneIn(10) ? chance.pick(members) : `fuzz-${chance.below(50)}`;
    case 'value':
      return `card-${chance.below(40)}`;
    case 'expiresAt':
      return new Date(nowMs + 86_400_000).toISOString();
    case 'order':
      return `order-${chance.below(30)}`;
    case 'source':
      return source();
    case 'occurredAt':
    case 'at':
      return new Date(nowMs - chance.below(100_000_000)).toISOString();
    default:
      return undefined;
  }
}

function ofFormat(schema: Schema, { chance, nowMs }: Surroundings): string {
  if (schema.format === 'date-time') return new Date(nowMs - chance.below(1_000_000_000)).toISOString();
  if (schema.format === 'date')
    return new Date(nowMs - chance.below(1_000_000_000)).toISOString().slice(0, 10);
  // Programs name their points in lower case, money is written in capitals.
  if (String(schema.pattern).includes('A-Z')) return chance.pick(['EUR', 'EUR', 'USD', 'JPY']);
  if (String(schema.pattern).startsWith('^[a-z][a-z0-9_-]'))
    return chance.pick(['points', 'points', 'card', 'miles']);
  const lengthMin = Number(schema.minLength ?? 1);
  return chance.pick(['a', 'points', 'EUR', '1', '12.5', 'store-1', 'active']).padEnd(lengthMin, 'a');
}

function wholeOf(schema: Schema, chance: Chance): number {
  const low = Number(schema.minimum ?? schema.exclusiveMinimum ?? 0);
  const high = Number(schema.maximum ?? low + 1_000);
  if (chance.oneIn(20)) return chance.pick([low, high]);
  return low + chance.below(Math.min(1_000, high - low + 1));
}

/** Makes values from the schemas of `components`. */
export function grammarOf(components: Readonly<Record<string, Schema>>, around: Surroundings): Grammar {
  const { chance } = around;

  function resolved(schema: Schema): Schema {
    const ref = typeof schema.$ref === 'string' ? schema.$ref.split('/').at(-1)! : undefined;
    return ref === undefined ? schema : (components[ref] ?? {});
  }

  function object(schema: Schema, faultsIn: number, depth: number): Record<string, unknown> {
    const properties = (schema.properties ?? {}) as Record<string, Schema>;
    const required = new Set((schema.required ?? []) as string[]);
    const made: Record<string, unknown> = {};
    const chosen = alternatives.map((names) => chance.pick(names.filter((name) => name in properties)));
    for (const [key, part] of Object.entries(properties)) {
      const group = alternatives.findIndex((names) => (names as readonly string[]).includes(key));
      const isChosen = group < 0 ? key === 'reference' || chance.oneIn(4) : chosen[group] === key;
      const isWanted = required.has(key) || isChosen ? !(faultsIn > 0 && chance.oneIn(faultsIn)) : false;
      // Beside a partner's name they are what the partner calls so.
      const isTheirs = 'partner' in properties && (key === 'account' || key === 'code');
      if (isWanted) made[key] = value(part, isTheirs ? `their ${key}` : key, faultsIn, depth + 1);
    }
    const more = schema.additionalProperties;
    if (typeof more === 'object' && more !== null && chance.oneIn(2))
      made[`key${chance.below(3)}`] = value(more as Schema, '', faultsIn, depth + 1);
    if (faultsIn > 0 && chance.oneIn(faultsIn))
      made[String(chance.pick(hostileTexts)) || 'more'] = hostile(chance);
    return made;
  }

  function typed(type: unknown, schema: Schema, name: string, faultsIn: number, depth: number): unknown {
    switch (type) {
      case 'object':
        return object(schema, faultsIn, depth);
      case 'array': {
        const count = Math.min(Number(schema.maxItems ?? 5), Number(schema.minItems ?? 0) + chance.below(4));
        return Array.from({ length: count }, () =>
          value((schema.items ?? {}) as Schema, name, faultsIn, depth + 1),
        );
      }
      case 'integer':
      case 'number':
        return wholeOf(schema, chance);
      case 'boolean':
        return chance.oneIn(2);
      case 'null':
        return null;
      case 'string':
        return named(name, schema, around) ?? ofFormat(schema, around);
      default:
        return hostile(chance);
    }
  }

  function value(given: Schema, name: string, faultsIn: number, depth = 0): unknown {
    if (depth > depthMax || (faultsIn > 0 && chance.oneIn(faultsIn))) return hostile(chance);
    const schema = resolved(given);
    if ('const' in schema) return schema.const;
    if (Array.isArray(schema.enum)) return chance.pick(schema.enum);
    const choices = (schema.anyOf ?? schema.oneOf) as Schema[] | undefined;
    if (choices)
      return value(chance.oneIn(4) ? chance.pick(choices) : choices[0]!, name, faultsIn, depth + 1);
    const all = schema.allOf as Schema[] | undefined;
    if (all) return Object.assign({}, ...all.map((part) => value(part, name, faultsIn, depth + 1)));
    const type = Array.isArray(schema.type) ? chance.pick(schema.type as unknown[]) : schema.type;
    return typed(type ?? (schema.properties ? 'object' : undefined), schema, name, faultsIn, depth);
  }

  return { value: (schema, name, faultsIn) => value(schema, name, faultsIn) };
}
