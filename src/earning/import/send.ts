// Bulk calls, several in flight. A call takes up to 1,000 receipts; `submit` waits while all places are taken, and
// that wait is what stops the reading of the file. Whatever happens to a call, its receipts go again under their
// references until each has an answer or the patience ends.
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import { type ApiClient, ApiRefusal, problemSentence, readProblem } from './client.ts';
import type { Reject, RejectsFile } from './rejects.ts';
import { isTransient, retryWaitMs } from './retry.ts';
import { addPoints, type Tally } from './tally.ts';

export type SourceRowRef = { number: number; source: readonly string[] };
/** One receipt on its way: its JSON, and the rows it came from in case it is refused. */
export type BulkItem = { reference: string; json: string; rows: readonly SourceRowRef[] };

export type BulkSender = {
  /** Takes a receipt; resolves when there is room for the next. Fails when an earlier call failed for good. */
  submit(item: BulkItem): Promise<void>;
  /** Sends what is left and waits for every answer. */
  drain(): Promise<void>;
};

export type BulkSenderOptions = {
  concurrency: number;
  patienceMs: number;
  tally: Tally;
  rejects: RejectsFile;
};

const itemsMax = 1_000;
/** The API takes 8 MiB; the rest is left for the envelope. */
export const bodyBytesMax = 8 * 1024 * 1024 - 1024;

const bulkReply = z.object({
  data: z.array(
    z.object({
      index: z.int().min(0),
      status: z.int(),
      replayed: z.boolean().optional(),
      accrual: z.object({ awards: z.array(z.object({ currency: z.string(), points: z.int() })) }).optional(),
      error: z.unknown().optional(),
    }),
  ),
});
type BulkAnswer = z.infer<typeof bulkReply>['data'][number];

/** Makes the sender of one import. */
export function bulkSender(client: ApiClient, options: BulkSenderOptions): BulkSender {
  const { concurrency, tally } = options;
  const inFlight = new Set<Promise<void>>();
  let items: BulkItem[] = [];
  let bytes = 0;
  let failure: unknown;

  async function launch(): Promise<void> {
    while (inFlight.size >= concurrency) await Promise.race(inFlight);
    if (failure !== undefined) {
      await Promise.all(inFlight);
      throw failure;
    }
    const batch = items;
    items = [];
    bytes = 0;
    if (batch.length === 0) return;
    const call = sendBatch(client, batch, options)
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => inFlight.delete(call));
    inFlight.add(call);
  }

  return {
    async submit(item) {
      const itemBytes = Buffer.byteLength(item.json) + 1;
      if (itemBytes > bodyBytesMax) {
        tally.rejected += 1;
        tally.rejectedRows += item.rows.length;
        await options.rejects.write(rejectsOf(item, 'body_too_large', 'the receipt is larger than 8 MiB'));
        return;
      }
      if (items.length >= itemsMax || bytes + itemBytes > bodyBytesMax) await launch();
      items.push(item);
      bytes += itemBytes;
    },
    async drain() {
      await launch();
      await Promise.all(inFlight);
      if (failure !== undefined) throw failure;
    },
  };
}

/** Sends one batch until each of its receipts is answered. */
async function sendBatch(
  client: ApiClient,
  batch: readonly BulkItem[],
  options: BulkSenderOptions,
): Promise<void> {
  const deadline = performance.now() + options.patienceMs;
  let left = batch;
  for (let attempt = 1; left.length > 0; attempt += 1) {
    const reply = await client.post(
      '/v1/accruals/bulk',
      `{"items":[${left.map((item) => item.json).join(',')}]}`,
    );
    if (reply.status === 413 && left.length > 1) {
      // A proxy with a lower limit than the API's. Halving ends after ten rounds at one receipt a call.
      const middle = Math.ceil(left.length / 2);
      await sendBatch(client, left.slice(0, middle), options);
      await sendBatch(client, left.slice(middle), options);
      return;
    }
    const parsed = bulkReply.safeParse(reply.body);
    if (reply.status !== 200 || !parsed.success) throw new ApiRefusal('POST /v1/accruals/bulk', reply);
    const waitMs = retryWaitMs(attempt, undefined, Math.random());
    const lastAttempt = performance.now() + waitMs > deadline;
    left = await settle(left, parsed.data.data, lastAttempt, options);
    if (left.length > 0) {
      client.sent.repeats += 1;
      await wait(waitMs);
    }
  }
}

/** Counts the answers of one call and returns the receipts that must go again. */
async function settle(
  sent: readonly BulkItem[],
  answers: readonly BulkAnswer[],
  lastAttempt: boolean,
  { tally, rejects }: BulkSenderOptions,
): Promise<BulkItem[]> {
  const byIndex = new Map(answers.map((answer) => [answer.index, answer]));
  const again: BulkItem[] = [];
  const refused: Reject[] = [];
  for (const [index, item] of sent.entries()) {
    const answer = byIndex.get(index);
    const code = readProblem(answer?.error).code;
    if (answer !== undefined && answer.status >= 200 && answer.status < 300) {
      const replayed = answer.replayed === true;
      tally[replayed ? 'replayed' : 'accepted'] += 1;
      addPoints(replayed ? tally.pointsReplayed : tally.points, answer.accrual?.awards ?? []);
    } else if (!lastAttempt && (answer === undefined || isTransient(answer.status, code))) {
      again.push(item);
    } else {
      tally.rejected += 1;
      tally.rejectedRows += item.rows.length;
      const reason = answer === undefined ? 'the API gave no answer' : describeReason(answer);
      refused.push(...rejectsOf(item, code ?? String(answer?.status ?? 'no_answer'), reason));
    }
  }
  await rejects.write(refused);
  return again;
}

function describeReason(answer: BulkAnswer): string {
  return problemSentence(answer.error) || `status ${answer.status}`;
}

function rejectsOf(item: BulkItem, code: string, reason: string): Reject[] {
  return item.rows.map(({ number, source }) => ({
    row: number,
    reference: item.reference,
    code,
    reason,
    source,
  }));
}
