/** The members that a load test is about: enrolled, with points to redeem, and known to the API before it is measured. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type ApiClient, ApiRefusal, describeProblem } from '#src/earning/import/client.ts';
import { enrol } from '../setup/members.ts';

export const memberPrefix = 'loadtest-';

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

/** Enrols so many members and lets each earn enough for the run. */
export async function enrolMembers(
  client: ApiClient,
  members: number,
  money: string,
  abort: AbortSignal,
): Promise<void> {
  await enrol({
    members,
    money,
    run: randomUUID(),
    memberAt: (index) => `${memberPrefix}${index}`,
    postBulk(path, items) {
      abort.throwIfAborted();
      return postBulk(client, path, items);
    },
  });
}
