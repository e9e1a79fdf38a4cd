/** PURE. What the hold of an exchange says of it, so that the exchange can be made again where its row is lost. */
import { z } from 'zod';
import type { Exchange } from './types.ts';

const points = z.int().min(1);

export const restorable = z.object({
  partnerCurrency: z.string(),
  partnerPoints: points,
  terms: z.looseObject({ give: points, receive: points, fee: z.unknown() }),
  quotedAt: z.int(),
  day: z.iso.date(),
  occurredAt: z.int(),
  client: z.int(),
  referenceKey: z.string(),
  fingerprint: z.string(),
});
export type Restorable = z.output<typeof restorable>;

export function restorableOf(exchange: Exchange): Partial<Restorable> {
  const { partnerCurrency, partnerPoints, terms, quotedAt, day, occurredAt, asked } = exchange;
  const { client, referenceKey, fingerprint } = asked ?? {};
  return {
    ...{ partnerCurrency, partnerPoints, terms, quotedAt, day, occurredAt },
    ...(asked ? { client: client!, referenceKey: referenceKey!, fingerprint: fingerprint! } : {}),
  };
}
