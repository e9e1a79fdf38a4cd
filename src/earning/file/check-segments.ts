/** PURE. Segments of a program file: facts that there are, bounds that somebody can lie in, names that rules may use. */
import type { Path, Report } from './check.ts';
import type { ProgramFile } from './schema.ts';
import {
  type Bound,
  type SegmentFact,
  type Segments,
  segmentFacts,
  valueFacts,
  type Where,
} from './segment-schema.ts';

function isFact(name: string): name is SegmentFact {
  return Object.hasOwn(segmentFacts, name);
}

function checkWords(words: readonly string[], known: readonly string[], path: Path, { fault }: Report): void {
  for (const [i, word] of words.entries()) {
    if (!known.includes(word)) fault([...path, i], `${word} is none of ${known.join(', ')}`);
    else if (words.indexOf(word) < i) fault([...path, i], `${word} stands twice here`);
  }
}

function checkRange(
  { min, max }: { readonly min?: number | undefined; readonly max?: number | undefined },
  least: number,
  most: number,
  path: Path,
  { fault }: Report,
): void {
  if (min === undefined && max === undefined) fault(path, 'needs min, max or both');
  for (const [name, value] of Object.entries({ min, max }))
    if (value !== undefined && (value < least || value > most))
      fault([...path, name], `has to be from ${least} to ${most}; no member could lie there`);
  if (min !== undefined && max !== undefined && min > max)
    fault([...path, 'max'], `is below min, ${min}; no member could lie between`);
}

function checkBound(name: string, bound: Bound, path: Path, segments: Segments, report: Report): void {
  if (!isFact(name)) {
    const facts = Object.keys(segmentFacts).join(', ');
    report.fault(path, `is not a known field; facts of members are ${facts}`);
    return;
  }
  if (valueFacts.includes(name) && !segments.value)
    report.fault(path, `${name} is not computed: the file has no segments.value`);
  const fact = segmentFacts[name];
  if (fact.kind === 'word') {
    if (Array.isArray(bound)) checkWords(bound, fact.words, path, report);
    else report.fault(path, `needs a list of ${fact.words.join(', ')}`);
  } else if (Array.isArray(bound)) report.fault(path, `is a number: it needs min, max or both`);
  else checkRange(bound, fact.min, fact.max, path, report);
}

function checkWhere(where: Where, path: Path, segments: Segments, report: Report): void {
  if (Object.keys(where).length === 0)
    report.fault(path, 'names no fact; everybody who ever bought would be meant');
  for (const [name, bound] of Object.entries(where))
    checkBound(name, bound, [...path, name], segments, report);
}

function checkNamed(segments: Segments, report: Report): void {
  const seen = new Set<string>();
  for (const [i, { name, where }] of segments.named.entries()) {
    const path = ['segments', 'named', i];
    if (seen.has(name))
      report.fault([...path, 'name'], `${name} is used twice; give one of them another name`);
    seen.add(name);
    if (Array.isArray(where))
      for (const [j, each] of where.entries()) checkWhere(each, [...path, 'where', j], segments, report);
    else checkWhere(where, [...path, 'where'], segments, report);
  }
}

function checkMeasures(segments: Segments, { fault }: Report): void {
  for (const measure of ['recency', 'frequency', 'monetary'] as const) {
    const scoring = segments[measure];
    if (scoring === 'quintiles') continue;
    const { thresholds } = scoring;
    const at = thresholds.findIndex((value, i) => i > 0 && value <= thresholds[i - 1]!);
    if (at > 0)
      fault(
        ['segments', measure, 'thresholds', at],
        `has to be above ${thresholds[at - 1]}, which is before it`,
      );
  }
  const { spendClasses, lifecycle, value } = segments;
  if (spendClasses.b <= spendClasses.a)
    fault(['segments', 'spendClasses', 'b'], `has to be above a, ${spendClasses.a}`);
  const { decliningPercent, growingPercent } = lifecycle;
  if (decliningPercent >= growingPercent)
    fault(['segments', 'lifecycle', 'decliningPercent'], `has to be below growingPercent, ${growingPercent}`);
  if (value && value.highPercent + value.mediumPercent >= 100)
    fault(
      ['segments', 'value', 'mediumPercent'],
      'leaves nobody for low: the two have to sum to less than 100',
    );
}

/** Who rules mean by a segment has to be somebody, once the file says which segments there are. */
function checkUses(file: ProgramFile, segments: Segments, { fault }: Report): void {
  const known = segments.named.map(({ name }) => name);
  const { rules, promotions, redemption } = file;
  for (const [list, items] of Object.entries({ rules, promotions, redemption }))
    for (const [i, item] of items.entries())
      for (const [j, name] of (item.segments ?? []).entries())
        if (!known.includes(name))
          fault(
            [list, i, 'segments', j],
            `${name} is not in segments.named${known.length > 0 ? `: there is ${known.slice(0, 8).join(', ')}` : ', which is empty'}`,
          );
}

export function checkSegments(file: ProgramFile, report: Report): void {
  const { segments } = file;
  if (!segments) return;
  checkMeasures(segments, report);
  checkNamed(segments, report);
  checkUses(file, segments, report);
}
