// The ninety biggest customers use their points: holds that are captured whole, in part or released, redemptions and
// refunds, and orders brought back. Every reference is made from the customer or the order, so a second run replays.
import { z } from 'zod';
import { type ApiClient, ApiRefusal, readProblem } from '#src/earning/import/client.ts';
import type { DateReader } from '#src/earning/import/dates.ts';
import type { SuperstoreOrder } from './superstore.ts';

export type CheckoutFigures = {
  holds: number;
  captured: number;
  released: number;
  redemptions: number;
  redeemed: number;
  refunds: number;
  refunded: number;
  returns: number;
  takenBack: number;
  movements: number;
  replayed: number;
};

type Customer = { customer: string; orders: readonly SuperstoreOrder[] };
type Clients = { checkout: ApiClient; till: ApiClient };

const sumOfPoints = z
  .array(z.looseObject({ points: z.int() }))
  .transform((parts) => parts.reduce((sum, part) => sum + part.points, 0));
const movement = z.object({ id: z.string(), points: z.int() });
const resolution = z.object({ points: z.int(), released: z.int().optional() });
const returned = z.object({ reversed: sumOfPoints, refunded: sumOfPoints });

/** Lets the customers hold, redeem and return; `customers` are the biggest first. */
export async function useAndReturn(clients: Clients, customers: readonly Customer[], readDate: DateReader) {
  const figures: CheckoutFigures = {
    ...{ holds: 0, captured: 0, released: 0, redemptions: 0, redeemed: 0, refunds: 0, refunded: 0 },
    ...{ returns: 0, takenBack: 0, movements: 0, replayed: 0 },
  };
  const visits = customers.slice(0, 90).map((customer, place) => async () => {
    if (place < 30) await holdPoints(clients.checkout, customer, place, figures);
    else if (place < 60) await redeemPoints(clients.checkout, customer, place, figures);
    // Places 50 to 59 redeemed on an order and bring that one back: what it earned and what it cost go back together.
    if (place >= 50) await bringBack(clients.till, customer, place, readDate, figures);
  });
  await atOnce(visits, 8);
  return figures;
}

async function holdPoints(client: ApiClient, customer: Customer, place: number, figures: CheckoutFigures) {
  const of = customer.customer;
  const hold = await move(
    client,
    '/v1/holds',
    `hold/${of}`,
    { member: of, points: 500, expiresInSeconds: 86_400 },
    figures,
  );
  const { id } = movement.parse(hold);
  figures.holds += 1;
  const release = place >= 20;
  const path = `/v1/holds/${id}/${release ? 'release' : 'capture'}`;
  const part = place >= 10 && !release ? { points: 300 } : {};
  const resolved = await move(
    client,
    path,
    `${release ? 'release' : 'capture'}/${of}`,
    part,
    figures,
    holdIsOver,
  );
  if (resolved === undefined) return;
  const { points, released } = resolution.parse(resolved);
  figures.captured += release ? 0 : points;
  figures.released += released ?? (release ? 500 : 500 - points);
}

/** A first run that was stopped between hold and capture: by now the hold has lapsed, which is right. */
const holdIsOver = ['hold_expired', 'hold_already_resolved'];

async function redeemPoints(client: ApiClient, customer: Customer, place: number, figures: CheckoutFigures) {
  const of = customer.customer;
  const order = place >= 50 ? { order: customer.orders[0]?.order } : {};
  const redeemed = await move(
    client,
    '/v1/redemptions',
    `redeem/${of}`,
    { member: of, points: 400, ...order },
    figures,
  );
  const redemption = movement.parse(redeemed);
  figures.redemptions += 1;
  figures.redeemed += redemption.points;
  if (place >= 45) return;
  const path = `/v1/redemptions/${redemption.id}/refunds`;
  const refund = movement.parse(await move(client, path, `refund/${of}`, { points: 150 }, figures));
  figures.refunds += 1;
  figures.refunded += refund.points;
}

async function bringBack(
  client: ApiClient,
  customer: Customer,
  place: number,
  readDate: DateReader,
  figures: CheckoutFigures,
) {
  const [order] = customer.orders;
  if (order === undefined) return;
  const date = readDate(fortnightLater(order.date));
  if ('fault' in date) throw new Error(`superstore.csv: ${date.fault}`);
  const lines = place >= 75 && order.lines.length > 1 ? { lines: [{ line: 1 }] } : {};
  const body = { order: order.order, occurredAt: date.occurredAt, ...lines };
  const reply = returned.parse(await move(client, '/v1/returns', `return/${order.order}`, body, figures));
  figures.returns += 1;
  figures.takenBack += reply.reversed;
  figures.refunded += reply.refunded;
}

function fortnightLater(date: string): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + 14 * 86_400_000).toISOString().slice(0, 10);
}

/** Sends one movement. Undefined when it was refused with a code that the caller expects. */
async function move(
  client: ApiClient,
  path: string,
  reference: string,
  body: object,
  figures: CheckoutFigures,
  expectedCodes: readonly string[] = [],
): Promise<unknown> {
  const reply = await client.post(path, JSON.stringify({ reference: `superstore/${reference}`, ...body }));
  if (reply.status === 409 && expectedCodes.includes(readProblem(reply.body).code ?? '')) return undefined;
  if (reply.status >= 300) throw new ApiRefusal(`POST ${path} (superstore/${reference})`, reply);
  figures.movements += 1;
  figures.replayed += reply.replayed ? 1 : 0;
  return reply.body;
}

/** Runs the visits, at most `atOnceMax` at a time. */
async function atOnce(visits: readonly (() => Promise<void>)[], atOnceMax: number): Promise<void> {
  const waiting = visits.values();
  const work = async () => {
    for (const visit of waiting) await visit();
  };
  await Promise.all(Array.from({ length: atOnceMax }, work));
}
