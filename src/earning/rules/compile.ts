/**
 * PURE. A version of a program, ready to judge: lists are sets, conditions are parsed, calendars are at hand. Made once a
 * version and process; judging a receipt allocates little beside its awards.
 */

import type { Expiry, Fraction, Period, Rounding } from '../file/basics-schema.ts';
import type { Definition } from '../file/definition.ts';
import type { Group, Promotion, Rule } from '../file/earning-schema.ts';
import { capCounter, capsOf, orderCounter, purchasesCounter, spendCounter, timesCounter } from './caps.ts';
import { compileEarn, type Earner } from './earners.ts';
import { compileExpiry, compilePending, type ExpiryOf } from './expiry.ts';
import { createLineIndex, type LineIndex } from './line-index.ts';
import { type Check, compilePicker, compileSelection, type LinePicker } from './selection.ts';

export interface CompiledCap {
  /** Of the member; 0 for a cap of one receipt, which needs none. */
  readonly counter: number;
  readonly period: Period;
  readonly pointsMax: number;
  readonly isAllOrNothing: boolean;
}

/** What rules and promotions have in common: of whom, of what, and what becomes of the points. */
export interface CompiledGiver {
  readonly name: string;
  readonly on: Rule['on'];
  readonly checks: readonly Check[];
  readonly currency: string;
  readonly rounding: Rounding;
  readonly funder: string;
  readonly caps: readonly CompiledCap[];
  readonly budget: string | undefined;
  readonly returns: Rule['returns'];
  readonly expiryOf: ExpiryOf;
  readonly availableOf: (occurred: string) => number;
  /** The points wait for an event; they end on the day they would have to be released by. */
  readonly isUntilEvent: boolean;
}

export interface CompiledRule extends CompiledGiver {
  readonly earn: Earner;
  /** It counts lines, so that some of its points are for some of them. */
  readonly isOfLines: boolean;
}

export interface CompiledMultiply {
  readonly by: Fraction;
  /** Absent: all rules of the currency. */
  readonly rules: ReadonlySet<string> | undefined;
  /** Absent: all lines. */
  readonly lines: LinePicker | undefined;
}

export interface CompiledPromotion extends CompiledGiver {
  readonly priority: number;
  readonly code: string | undefined;
  readonly earn: Earner | undefined;
  readonly multiply: CompiledMultiply | undefined;
  readonly purchaseNumber: number | undefined;
  readonly spendReached:
    | { readonly minorUnits: number; readonly period: Period; readonly counter: number }
    | undefined;
  /** The counter of how often it was given; absent where nothing asks, and in versions from before it was counted. */
  readonly times: number | undefined;
}

/** How purchases are counted. */
export interface CompiledPurchases {
  readonly counter: number;
  /** Of orders that are among them; absent in versions from before shipments were told apart. */
  readonly ofOrder: number | undefined;
  /** The highest that a promotion asks for. */
  readonly numberMax: number;
}

export interface CompiledGroup extends Pick<Group, 'name' | 'combine'> {
  readonly factorMax: Fraction | undefined;
  readonly pointsMax: number | undefined;
  readonly promotions: readonly CompiledPromotion[];
}

export interface CompiledRules {
  readonly timeZone: string;
  readonly definition: Definition;
  readonly index: LineIndex;
  readonly rules: readonly CompiledRule[];
  /** Promotions without a group stand in one of their own, all of which add up. */
  readonly groups: readonly CompiledGroup[];
  /** Rules and judged promotions by name. */
  readonly givers: ReadonlyMap<string, CompiledGiver>;
  readonly pointsMax: number | undefined;
  /** Undefined where no promotion asks for it. */
  readonly purchases: CompiledPurchases | undefined;
  readonly spends: readonly { readonly counter: number; readonly period: Period }[];
  /** Whether any rule looks at the member: then what it looked at is kept with the operation. */
  readonly looksAtMember: boolean;
}

/** Every counter of a file was given its number when the version was applied. */
function counterNumber({ numbers }: Definition, name: string): number {
  const number = numbers.counters[name];
  if (number === undefined) throw new RangeError(`the version has no number for the counter ${name}`);
  return number;
}

function compileGiver(definition: Definition, rule: Rule | Promotion, index: LineIndex): CompiledGiver {
  const { timeZone } = definition;
  return {
    name: rule.name,
    on: rule.on,
    checks: compileSelection(rule, timeZone, rule.on, index),
    currency: rule.currency,
    rounding: rule.rounding,
    funder: rule.funder,
    caps: capsOf(rule).map(({ period, points, whenFull }) => ({
      counter: period === 'receipt' ? 0 : counterNumber(definition, capCounter(rule.name, period)),
      period,
      pointsMax: points,
      isAllOrNothing: whenFull === 'refuse',
    })),
    budget: rule.budget,
    returns: rule.returns,
    expiryOf: expiryOfGiver(definition, rule.name),
    availableOf: compilePending(rule.pending, timeZone),
    isUntilEvent: rule.pending?.kind === 'event',
  };
}

function compilePromotion(definition: Definition, promotion: Promotion, index: LineIndex): CompiledPromotion {
  const { multiply, spendReached } = promotion;
  const times = timesCounter(promotion);
  return {
    ...compileGiver(definition, promotion, index),
    priority: promotion.priority,
    code: promotion.code,
    earn: promotion.earn && compileEarn(promotion.earn, promotion.rounding, index),
    multiply: multiply && {
      by: multiply.by,
      rules: multiply.rules && new Set(multiply.rules),
      lines: multiply.lines && compilePicker(multiply.lines, index),
    },
    purchaseNumber: promotion.purchaseNumber,
    spendReached: spendReached && {
      ...spendReached,
      counter: counterNumber(definition, spendCounter(spendReached.period)),
    },
    times: times === undefined ? undefined : definition.numbers.counters[times],
  };
}

/** The order in which promotions are looked at does not depend on where they stand in the file. */
function byPriority(a: CompiledPromotion, b: CompiledPromotion): number {
  return b.priority - a.priority || (a.name < b.name ? -1 : 1);
}

function compileGroups(definition: Definition, index: LineIndex): CompiledGroup[] {
  // What a worker gives is not judged with a receipt.
  const judged = definition.promotions.filter(({ give }) => !give);
  const members = (name: string | undefined) =>
    judged
      .filter(({ group }) => group === name)
      .map((promotion) => compilePromotion(definition, promotion, index))
      .sort(byPriority);
  const groups = definition.groups.map(({ name, combine, factorMax, pointsMax }) => ({
    name,
    combine,
    factorMax,
    pointsMax,
    promotions: members(name),
  }));
  const ungrouped = members(undefined).map((promotion) => ({
    name: promotion.name,
    combine: 'additive' as const,
    factorMax: undefined,
    pointsMax: undefined,
    promotions: [promotion],
  }));
  return [...groups, ...ungrouped].filter(({ promotions }) => promotions.length > 0).sort(byFirst);
}

/** What all promotions together may give is given in this order: by what goes first in each group, not by the file. */
function byFirst({ promotions: [a] }: CompiledGroup, { promotions: [b] }: CompiledGroup): number {
  return byPriority(a!, b!);
}

/** Words by which a condition looks at the member. */
const memberInCondition = /\bmember\b/;

/** All conditions of a rule or promotion: its own, and those of the lines that it means. */
function conditionsOf({ when, basket = [], earn, ...rest }: Rule | Promotion): string[] {
  const ofLines = [
    ...basket.map(({ lines }) => lines),
    earn !== undefined && 'lines' in earn ? earn.lines : undefined,
    'multiply' in rest ? rest.multiply?.lines : undefined,
  ];
  return [when, ...ofLines.map((lines) => lines?.when)].filter((text) => text !== undefined);
}

function endsByMember(expiry: Expiry | undefined): boolean {
  return expiry?.kind === 'tier' || expiry?.kind === 'birthday_month';
}

function compilePurchases(definition: Definition): CompiledPurchases | undefined {
  const numbers = definition.promotions.flatMap(({ purchaseNumber }) => purchaseNumber ?? []);
  if (numbers.length === 0) return undefined;
  return {
    counter: counterNumber(definition, purchasesCounter),
    ofOrder: definition.numbers.counters[orderCounter],
    numberMax: Math.max(...numbers),
  };
}

function looksAtMember({ rules, promotions, currencies }: Definition): boolean {
  if (currencies.some(({ expiry }) => endsByMember(expiry))) return true;
  if (promotions.some(({ code }) => code !== undefined)) return true;
  return [...rules, ...promotions].some(
    (rule) =>
      rule.tiers !== undefined ||
      rule.segments !== undefined ||
      rule.during?.member !== undefined ||
      conditionsOf(rule).some((text) => memberInCondition.test(text)) ||
      (rule.earn?.by === 'fare' && rule.earn.tiers !== undefined) ||
      endsByMember(rule.expiry),
  );
}

/** Compiles a version. The file has been validated: a condition that does not parse throws. */
export function compileRules(definition: Definition): CompiledRules {
  const index = createLineIndex();
  const periods = new Set(definition.promotions.flatMap(({ spendReached }) => spendReached?.period ?? []));
  const rules = definition.rules.map((rule) => ({
    ...compileGiver(definition, rule, index),
    earn: compileEarn(rule.earn, rule.rounding, index),
    isOfLines: rule.earn.by === 'amount' || rule.earn.by === 'quantity',
  }));
  const groups = compileGroups(definition, index);
  const givers: readonly CompiledGiver[] = [...rules, ...groups.flatMap(({ promotions }) => promotions)];
  return {
    timeZone: definition.timeZone,
    definition,
    rules,
    groups,
    givers: new Map(givers.map((giver) => [giver.name, giver])),
    index,
    pointsMax: definition.promotionsPointsMax,
    purchases: compilePurchases(definition),
    spends: [...periods].map((period) => ({
      period,
      counter: counterNumber(definition, spendCounter(period)),
    })),
    looksAtMember: looksAtMember(definition),
  };
}

/** When points of a rule or promotion end; `never` for one that is not in the version. */
export function expiryOfGiver(definition: Definition, name: string): ExpiryOf {
  const { timeZone, currencies } = definition;
  const giver = [...definition.rules, ...definition.promotions].find((each) => each.name === name);
  const currency = currencies.find(({ code }) => code === giver?.currency);
  return compileExpiry(giver?.expiry ?? currency?.expiry ?? { kind: 'never' }, timeZone);
}

const compiled = new WeakMap<Definition, CompiledRules>();

/** The compiled rules of a definition, made when they are first asked for. */
export function rulesOf(definition: Definition): CompiledRules {
  const known = compiled.get(definition);
  if (known) return known;
  const made = compileRules(definition);
  compiled.set(definition, made);
  return made;
}
