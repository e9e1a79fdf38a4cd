// Eight tills at work at once. Each rings up its own receipts one after the other over a kept-alive connection, as
// tills do; one customer's receipts come over several of them.
import { z } from 'zod';
import { type ApiClient, ApiRefusal } from '#src/earning/import/client.ts';
import type { DateReader } from '#src/earning/import/dates.ts';
import { orderAccrual, type SuperstoreOrder } from './superstore.ts';

export type TillFigures = {
  receipts: number;
  replayed: number;
  awarded: number;
  elapsedMs: number;
  latencyMsP50: number;
  latencyMsP99: number;
};

const membersReply = z.object({
  data: z.array(z.object({ status: z.int(), error: z.unknown().optional() })),
});
const accrualReply = z.object({ awards: z.array(z.object({ currency: z.string(), points: z.int() })) });

/** Enrols the customers; those who are members already stay as they are. Returns how many are new. */
export async function enrolCustomers(client: ApiClient, orders: readonly SuperstoreOrder[]) {
  const customers = [...new Set(orders.map((order) => order.customer))];
  let enrolled = 0;
  for (let start = 0; start < customers.length; start += 1_000) {
    const items = customers.slice(start, start + 1_000).map((member) => ({ member }));
    const reply = await client.post('/v1/members/bulk', JSON.stringify({ items }));
    const parsed = membersReply.safeParse(reply.body);
    if (reply.status !== 200 || !parsed.success) throw new ApiRefusal('POST /v1/members/bulk', reply);
    const refused = parsed.data.data.find((answer) => answer.status >= 300);
    if (refused !== undefined) {
      throw new ApiRefusal('an item of POST /v1/members/bulk', {
        ...reply,
        status: refused.status,
        body: refused.error,
      });
    }
    enrolled += parsed.data.data.filter((answer) => answer.status === 201).length;
  }
  return { members: customers.length, enrolled };
}

/** Rings up every order and adds up what was awarded; a replayed receipt counts with its first answer. */
export async function ringUp(
  client: ApiClient,
  orders: readonly SuperstoreOrder[],
  readDate: DateReader,
  onReceipt: (receipts: number) => void,
): Promise<TillFigures> {
  const figures = { receipts: 0, replayed: 0, awarded: 0 };
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  const ringUpTill = async (till: readonly SuperstoreOrder[]): Promise<void> => {
    for (const order of till) {
      const date = readDate(order.date);
      if ('fault' in date) throw new Error(`superstore.csv: ${date.fault}`);
      const sentAt = performance.now();
      const reply = await client.post('/v1/accruals', JSON.stringify(orderAccrual(order, date.occurredAt)));
      latenciesMs.push(performance.now() - sentAt);
      const accrual = accrualReply.safeParse(reply.body);
      if (reply.status >= 300 || !accrual.success)
        throw new ApiRefusal(`POST /v1/accruals (${order.order})`, reply);
      figures.receipts += 1;
      figures.replayed += reply.replayed ? 1 : 0;
      for (const award of accrual.data.awards)
        if (award.currency === 'points') figures.awarded += award.points;
      onReceipt(figures.receipts);
    }
  };
  await Promise.all(byTill(orders).map(ringUpTill));
  latenciesMs.sort((a, b) => a - b);
  const percentile = (share: number) => latenciesMs[Math.floor((latenciesMs.length - 1) * share)] ?? 0;
  return {
    ...figures,
    elapsedMs: performance.now() - startedAt,
    latencyMsP50: percentile(0.5),
    latencyMsP99: percentile(0.99),
  };
}

function byTill(orders: readonly SuperstoreOrder[]): SuperstoreOrder[][] {
  const tills = new Map<string, SuperstoreOrder[]>();
  for (const order of orders) {
    const till = tills.get(order.terminal) ?? [];
    till.push(order);
    tills.set(order.terminal, till);
  }
  return [...tills.values()];
}
