/** Runs all checks one after the other on one endpoint; a check that fails does not spoil those after it. */
import type { Bench } from './bench.ts';
import type { Check } from './checks.ts';
import { Fault } from './client.ts';
import { dayChecks } from './day-checks.ts';
import { movementChecks } from './movement-checks.ts';
import { reversalChecks } from './reversal-checks.ts';
import { signatureChecks } from './signature-checks.ts';

export interface Result {
  readonly check: string;
  readonly says: string;
  readonly passed: boolean;
  readonly fault?: string;
}

export const allChecks: readonly Check[] = [
  ...signatureChecks,
  ...movementChecks,
  ...reversalChecks,
  ...dayChecks,
];

/** The sentence of a fault; everything else that is thrown is a fault of this run. */
async function faultOf(work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
}

const beginning = {
  check: 'begin',
  says: 'The account can be credited, and what it has can be taken and given back',
};
const ending = { check: 'end', says: 'The account has what it had before the run' };

function resultOf(
  named: { readonly check: string; readonly says: string },
  fault: string | undefined,
): Result {
  return { ...named, passed: fault === undefined, ...(fault === undefined ? {} : { fault }) };
}

export async function runChecks(
  bench: Bench,
  checks: readonly Check[],
  tell: (result: Result) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  const note = (result: Result) => {
    results.push(result);
    tell(result);
  };
  const begun = await faultOf(() => bench.begin());
  note(resultOf(beginning, begun));
  if (begun !== undefined) return results;
  for (const { name, says, run } of checks) {
    const fault = await faultOf(() => run(bench));
    note(resultOf({ check: name, says }, fault));
    if (fault === undefined) continue;
    const lost = await faultOf(() => bench.measureAgain());
    if (lost === undefined) continue;
    note(resultOf(beginning, `${lost} The checks after ${name} were not made.`));
    return results;
  }
  note(resultOf(ending, await faultOf(() => bench.end())));
  return results;
}
