/** Longest first, so that no long file is left over for the end, when the others have nothing to do any more. */
import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files of twenty seconds and more, roughly the longest first. All others follow, large ones first. */
const long = [
  ...['two-engines', 'api-processes', 'segments-cdnow', 'chaos-broken', 'partner-conformance', 'pools-kill'],
  ...['exchange-kill', 'protocol', 'chaos', 'chaos-cluster', 'kill', 'recovery', 'cluster', 'upgrade'],
  ...['api-processes-ends', 'tiers-kill', 'eviction', 'protocol.pure', 'restore', 'jobs', 'fuzz', 'segments'],
  ...['program-versions', 'backpressure', 'pools-races', 'partner-kill', 'budgets', 'commands', 'diary-kill'],
  ...['gives-kill', 'cdnow', 'model', 'loadtest'],
];

function placeOf({ moduleId }: TestSpecification): number {
  const place = long.indexOf(basename(moduleId, '.test.ts'));
  return place < 0 ? long.length : place;
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const groupOf = ({ project }: TestSpecification) => project.config.sequence.groupOrder;
    const usual = await super.sort(files);
    return usual.toSorted((a, b) => groupOf(a) - groupOf(b) || placeOf(a) - placeOf(b));
  }
}
