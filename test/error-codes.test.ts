/** Runs after all others: together they must have made every call of the API and provoked every error code. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorTable } from '#src/errors.ts';
import type { Seen } from './house/client.ts';
import { checkout, codesFolder } from './house/folders.ts';
import { codesForLater } from './house/later.ts';

const livesInTheHouse = /from '\.\/(harness|house\/spawn)\.ts'/;

/** What every test file saw; undefined when only some of them were run. */
async function seenByAll(): Promise<Seen[] | undefined> {
  const names = (await readdir(`${checkout}test`)).filter((name) => name.endsWith('.test.ts'));
  const all: Seen[] = [];
  for (const name of names) {
    if (!livesInTheHouse.test(await readFile(`${checkout}test/${name}`, 'utf8'))) continue;
    const text = await readFile(join(codesFolder, `${name}.json`), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    all.push(JSON.parse(text) as Seen);
  }
  return all;
}

test('every error code was provoked, and the list of those that wait is up to date', async ({ skip }) => {
  const seen = await seenByAll();
  if (seen === undefined) return skip('only a part of the tests was run');
  const provoked = new Set(seen.flatMap((each) => each.codes));
  const missing = Object.keys(errorTable).filter((code) => !provoked.has(code));
  expect(missing.toSorted()).toEqual(Object.keys(codesForLater).toSorted());
});

test('every call of the API was made', async ({ skip }) => {
  const seen = await seenByAll();
  if (seen === undefined) return skip('only a part of the tests was run');
  const made = new Set(seen.flatMap((each) => each.made));
  expect([...new Set(seen.flatMap((each) => each.calls))].filter((call) => !made.has(call))).toEqual([]);
});
