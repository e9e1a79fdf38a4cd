/** The protocol, searched: every order of steps within the bounds, with all guards and without each of them. */
import { describe, expect, test } from 'vitest';
import { boundsOf, countsFor, guardCases, isFalselyWritten, reloaded, scopes } from './protocol/guards.ts';
import { type Fault, printed, type Searched, search } from './protocol/search.ts';
import type { Bounds } from './protocol/state.ts';
import { reloadedTrace, traces, unnamedTrace } from './protocol/traces.ts';

const statesMax = 1_000_000;
const searched = new Map<string, Searched>();

/** The whole protocol within bounds; the same bounds are searched once. */
function guardedSearch(bounds: Bounds, counts: (fault: Fault) => boolean = () => true): Searched {
  const key = JSON.stringify(bounds);
  const known = searched.get(key) ?? search({ without: undefined, bounds }, statesMax, counts);
  searched.set(key, known);
  return known;
}

describe('with all guards no reachable state loses, repeats or misbooks an acknowledged operation', () => {
  test.each(Object.entries(scopes))(
    '%s',
    (_, bounds) => {
      const { states, exhausted, found } = guardedSearch(bounds);
      expect(found && printed(found)).toBeUndefined();
      expect(exhausted).toBe(true);
      expect(states).toBeGreaterThan(10_000);
    },
    120_000,
  );
});

describe('without one of them the search finds a counter-example, and none within the same bounds with it', () => {
  test.each(guardCases)(
    '$guard',
    ({ guard, bounds, kind, says }) => {
      const counts = countsFor(says === undefined ? { kind } : { kind, says });
      const { found } = search({ without: guard, bounds: boundsOf(bounds) }, statesMax, counts);
      expect(found && printed(found)).toBe(traces[guard]);
      const guarded = guardedSearch(boundsOf(bounds), says === undefined ? () => true : counts);
      expect(guarded.exhausted).toBe(true);
      expect(guarded.found && printed(guarded.found)).toBeUndefined();
    },
    120_000,
  );
});

test('older data put into a Redis while it runs: `ledger` is said too early, until a writer has read the journal', () => {
  const { found } = search(reloaded, statesMax, isFalselyWritten);
  expect(found && printed(found)).toBe(reloadedTrace);
});

test('and what was only at `journal` can lose its number to it: the loss is not named', () => {
  const { found } = search(reloaded, statesMax, (fault) => fault.text.endsWith('no recovery named it'));
  expect(found && printed(found)).toBe(unnamedTrace);
});
