/** The members that a load test is about: enrolled, with points to redeem, and known to the API before it is measured. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type ApiClient, ApiRefusal, describeProblem } from '#src/earning/import/client.ts';

export const memberPrefix = 'loadtest-';
const itemsPerCall = 1_000;
/** 100,000 points in the sample program, where a point is 100 minor units. */
const startAmount = 10_000_000;

const bulkReply = z.looseObject({
  data: z.array(z.looseObject({ status: z.int().optional(), error: z.unknown().optional() })),
});

async function postBulk(client: ApiClient, path: string, items: readonly object[]): Promise<void> {
  const reply = await client.post(path, JSON.stringify({ items }));
  const parsed = bulkReply.safeParse(reply.body);
  if (reply.status !== 200 || !parsed.success) throw new ApiRefusal(`POST ${path}`, reply);
  const refused = parsed.data.data.find(({ status }) => status !== undefined && status >= 300);
  if (refused) throw new Error(`POST ${path} refused an item: ${describeProblem(refused.error)}`);
}

/** Enrols so many members, who may be there from an earlier run, and lets each earn enough for the run. */
export async function enrolMembers(
  client: ApiClient,
  members: number,
  money: string,
  abort: AbortSignal,
): Promise<void> {
  const run = randomUUID();
  for (let from = 0; from < members; from += itemsPerCall) {
    abort.throwIfAborted();
    const names = Array.from(
      { length: Math.min(itemsPerCall, members - from) },
      (_, i) => `${memberPrefix}${from + i}`,
    );
    await postBulk(
      client,
      '/v1/members/bulk',
      names.map((member) => ({ member })),
    );
    const occurredAt = new Date().toISOString();
    const purchase = { currency: money, lines: [{ line: 1, amount: startAmount }] };
    await postBulk(
      client,
      '/v1/accruals/bulk',
      names.map((member) => ({ member, reference: `${run}/${member}`, occurredAt, purchase })),
    );
  }
}
