/** The members that a load is about: enrolled, with points to redeem, and known to every API process. */
import { itemsPerCall } from '../paced-bulk.ts';
import { memberName } from '../requests.ts';

/** 100,000 points in the sample program. */
const startAmount = 10_000_000;

export interface Enrolment {
  readonly members: number;
  readonly money: string;
  /** Of the receipt of each, in minor units; a point is 100 of them in the sample program. */
  readonly amount?: number;
  /** What the references of their receipts begin with. */
  readonly run: string;
  memberAt(index: number): string;
  /** Sends one bulk call; throws when an item is refused. */
  postBulk(path: string, items: readonly object[]): Promise<void>;
}

/** Enrols members, who may be there from an earlier run, and lets each earn enough to redeem. */
export async function enrol({
  members,
  money,
  amount = startAmount,
  run,
  memberAt,
  postBulk,
}: Enrolment): Promise<void> {
  const purchase = { currency: money, lines: [{ line: 1, amount }] };
  for (let from = 0; from < members; from += itemsPerCall) {
    const names = Array.from({ length: Math.min(itemsPerCall, members - from) }, (_, i) =>
      memberAt(from + i),
    );
    const enrolments = names.map((member) => ({ member }));
    await postBulk('/v1/members/bulk', enrolments);
    const occurredAt = new Date().toISOString();
    const receipts = names.map((member) => ({ member, reference: `${run}/${member}`, occurredAt, purchase }));
    await postBulk('/v1/accruals/bulk', receipts);
  }
}

async function post(
  port: number,
  path: string,
  items: readonly object[],
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { Authorization: 'Bearer demo-pos', 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ items }),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await answer.text();
  const list = answer.ok ? (JSON.parse(text) as { data: { status?: number }[] }) : undefined;
  const failed = list?.data.find(({ status }) => status !== undefined && status >= 300);
  if (!list || failed)
    throw new Error(`${path}: ${failed ? JSON.stringify(failed) : `${answer.status} ${text}`}`);
}

/** Sends one item a member in bulk calls. */
export async function postAll(
  port: number,
  path: string,
  members: number,
  itemOf: (index: number) => object,
): Promise<void> {
  for (let from = 0; from < members; from += itemsPerCall) {
    const count = Math.min(itemsPerCall, members - from);
    await post(
      port,
      path,
      Array.from({ length: count }, (_, i) => itemOf(from + i)),
    );
  }
}

/** Enrols the members of an installation with the sample program, so that all are hot. `run` names their receipts. */
export async function populate(port: number, members: number, run = 'start', amount?: number): Promise<void> {
  const postBulk = (path: string, items: readonly object[]) => post(port, path, items);
  const started = amount === undefined ? {} : { amount };
  await enrol({ members, money: 'EUR', run, memberAt: memberName, postBulk, ...started });
}

/**
 * Lets every API process meet every member once, by receipts of 0: each round starts new ones, and their first ten thousand
 * requests would measure how they get to know people, not how they serve those they know. Each call has a connection of its
 * own, and connections go to the processes in turn.
 */
export async function meet(port: number, members: number, apiProcesses: number): Promise<void> {
  const occurredAt = new Date().toISOString();
  for (let from = 0; from < members; from += itemsPerCall) {
    for (let turn = 1; turn <= apiProcesses; turn += 1) {
      const items = Array.from({ length: Math.min(itemsPerCall, members - from) }, (_, i) => ({
        member: memberName(from + i),
        reference: `meet/${occurredAt}/${turn}/${from + i}`,
        occurredAt,
        purchase: { currency: 'EUR', lines: [{ line: 1, amount: 0 }] },
      }));
      await post(port, '/v1/accruals/bulk', items, { Connection: 'close' });
    }
  }
}
