/** What calls about exchanges accept and answer. */
import { z } from 'zod';
import { memberRefSchema } from '#src/members/member-ref.ts';
import { directions } from '#src/partners/contracts/types.ts';
import { currencyField, metadataField, pointsField, referenceField, textOf } from '#src/wallet/fields.ts';

const partnerField = textOf(64).meta({ description: "The partner's name in the program." });
const directionField = z
  .enum(directions)
  .meta({ description: '`out`: points of this program become the partner’s; `in`: the other way.' });
const givenField = pointsField.meta({
  description: 'Points that are given: of the program that they leave.',
});

const subject = {
  member: memberRefSchema,
  partner: partnerField,
  direction: directionField,
  points: givenField,
  currency: currencyField
    .optional()
    .meta({ description: "The program's own currency, given or received; its main one where absent." }),
};

export const exchangeQuoteSchema = z.strictObject(subject).meta({ id: 'ExchangeQuoteRequest' });
export type ExchangeQuoteBody = z.output<typeof exchangeQuoteSchema>;

const movement = {
  reference: referenceField.optional(),
  metadata: metadataField.optional(),
  terminal: textOf(64).optional(),
};
export const exchangeSchema = z
  .union([
    z.strictObject({
      quote: z.string().meta({ description: 'Id of a quote; its rate holds until `expiresAt`.' }),
      ...movement,
    }),
    z.strictObject({ ...subject, ...movement }),
  ])
  .meta({ id: 'ExchangeRequest' });
export type ExchangeBody = z.output<typeof exchangeSchema>;

export const cancelSchema = z
  .strictObject({ reason: textOf(200).optional() })
  .default({})
  .meta({ id: 'ExchangeCancelRequest' });
export type CancelBody = z.output<typeof cancelSchema>;

const side = z.object({ points: z.int(), currency: z.string() });
export const exchangeReply = z
  .object({
    object: z.literal('exchange'),
    id: z.string(),
    mode: z.enum(['live', 'test']),
    status: z.enum(['quoted', 'pending', 'completed', 'refused', 'reversed', 'in_review']).meta({
      description:
        '`refused`: by the wallet or the partner; `reversed`: cancelled or taken back; `in_review`: the outcome is unknown, and a person looks into it.',
    }),
    member: z.string(),
    partner: z.string(),
    direction: z.enum(directions),
    give: side,
    receive: side.extend({ base: z.int(), bonus: z.int() }),
    fee: z.object({ amount: z.int(), currency: z.string() }).nullable(),
    rate: z.object({ numerator: z.int(), denominator: z.int(), version: z.int() }),
    expiresAt: z.string().meta({ description: 'Until when the quoted rate holds.' }),
    refusal: z.looseObject({ code: z.string() }).optional(),
    history: z.array(
      z.object({
        at: z.string(),
        endedAt: z.string().optional(),
        action: z.string(),
        outcome: z.string(),
        detail: z.looseObject({}).optional(),
      }),
    ),
  })
  .meta({ id: 'Exchange' });
