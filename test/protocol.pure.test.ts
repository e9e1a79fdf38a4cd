/** The protocol, searched: every order of steps within the bounds, with all guards and without each of them. */
import { describe, expect, test } from 'vitest';
import { boundsOf, guardCases, isFalselyWritten, openHole, scopes } from './protocol/guards.ts';
import { type Fault, printed, search } from './protocol/search.ts';
import { openHoleTrace, traces } from './protocol/traces.ts';

const statesMax = 150_000;

describe('with all guards no reachable state loses, repeats or misbooks an acknowledged operation', () => {
  test.each(Object.entries(scopes))(
    '%s',
    (_, bounds) => {
      const { states, exhausted, found } = search({ without: undefined, bounds }, statesMax);
      expect(found && printed(found)).toBeUndefined();
      expect(exhausted).toBe(true);
      expect(states).toBeGreaterThan(20_000);
    },
    60_000,
  );
});

describe('without one of them the search finds a counter-example, and none within the same bounds with it', () => {
  test.each(guardCases)(
    '$guard',
    ({ guard, bounds, kind }) => {
      const counts = (fault: Fault) => fault.kind === kind;
      const { found } = search({ without: guard, bounds: boundsOf(bounds) }, statesMax, counts);
      expect(found && printed(found)).toBe(traces[guard]);
      const guarded = search({ without: undefined, bounds: boundsOf(bounds) }, statesMax);
      expect(guarded.exhausted).toBe(true);
      expect(guarded.found && printed(guarded.found)).toBeUndefined();
    },
    60_000,
  );
});

test('a Redis that becomes an older copy of itself with its scripts is not noticed: still open', () => {
  const { found } = search(openHole, statesMax, isFalselyWritten);
  expect(found && printed(found)).toBe(openHoleTrace);
});
