/**
 * Books of a given size, grown the way real ones are: by enrolments and receipts through the API, so that every position,
 * epoch, block and reference is what the service itself makes. Half of the receipts carry a till's reference, half a UUIDv7.
 */
import type pg from 'pg';
import { sendAll } from '../driver.ts';
import { itemsPerCall, sendBulk } from '../paced-bulk.ts';
import { requestsOf } from '../places.ts';
import { bulkOf, memberName, request } from '../requests.ts';
import type { Stand } from './stand.ts';
import { withPostgres } from './with-postgres.ts';

/** Wallet and issuance. */
export const entriesPerAccrual = 2;
const callsPerStep = 200;
const enrolling = 2;

export interface Size {
  readonly members: number;
  readonly entries: number;
}

function enrolment(): string {
  const items = Array.from({ length: itemsPerCall }, () => '{"member":"{{member}}"}').join(',');
  return request('POST', '/v1/members/bulk', 'demo-pos', `{"items":[${items}]}`);
}

async function enrol({ standing }: Stand, from: number, to: number): Promise<void> {
  const next = requestsOf(enrolment(), (index) => memberName(from + index));
  const drive = { port: standing.port, connections: enrolling, request: next };
  const replies = await sendAll(drive, (to - from) / itemsPerCall);
  const refused = replies.find(({ status }) => status !== 200);
  if (refused) throw new Error(`an enrolment was answered with ${refused.status}`);
}

/** Calls of a thousand receipts that go round all members, by turns with either kind of reference. */
function receiptsOf(members: number): () => Buffer {
  let index = 0;
  const memberAt = () => {
    index += 1;
    return memberName(index % members);
  };
  const byTime = requestsOf(bulkOf(itemsPerCall), memberAt);
  const byReceipt = requestsOf(bulkOf(itemsPerCall).replaceAll('{{reference}}', '{{natural}}'), memberAt);
  let calls = 0;
  return () => {
    calls += 1;
    return calls % 2 === 0 ? byTime() : byReceipt();
  };
}

/** What the books hold, counted: members of the sample program, all entries. */
export async function sizeOf({ installation }: Stand): Promise<Size> {
  const sizeQuery = `
    select (select count(*) from member m join program p on p.number = m.program where p.name = 'demo')::float8 as members,
      (select count(*) from entry)::float8 as entries`;
  const count = async (client: pg.Client) => (await client.query<Size>(sizeQuery)).rows[0]!;
  return withPostgres(installation.postgres.url, count, 300_000);
}

/** Lets PostgreSQL do now what it would do in the months that the growth stands for. */
async function settle({ installation }: Stand): Promise<void> {
  await withPostgres(
    installation.postgres.url,
    async (client) => {
      await client.query('vacuum (analyze)');
      await client.query('checkpoint');
    },
    900_000,
  );
}

/** Grows an installation from what it has to at least a size; both are counted in thousands. Answers accruals a second. */
export async function growTo(
  stand: Stand,
  { members, entries }: Size,
  abort: AbortSignal,
  said: (text: string) => void,
): Promise<number> {
  const before = await sizeOf(stand);
  if (before.members < members) await enrol(stand, before.members, members);
  const startedMs = performance.now();
  const calls = Math.ceil((entries - before.entries) / entriesPerAccrual / itemsPerCall);
  const next = receiptsOf(members);
  const { port, lag } = stand.standing;
  for (let done = 0; done < calls; done += callsPerStep) {
    const step = Math.min(callsPerStep, calls - done);
    await sendBulk({ port, lag, calls: step, abort, request: next });
    const seconds = (performance.now() - startedMs) / 1_000;
    const accruals = (done + step) * itemsPerCall;
    if (calls > callsPerStep)
      said(`${accruals.toLocaleString('en')} receipts booked, ${Math.round(accruals / seconds)} a second`);
  }
  const perSecond = (calls * itemsPerCall) / ((performance.now() - startedMs) / 1_000);
  await settle(stand);
  const after = await sizeOf(stand);
  if (after.entries < entries || after.members < members)
    throw new Error(`grown to ${after.entries} entries and ${after.members} members only`);
  return perSecond;
}
