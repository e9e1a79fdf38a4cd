/** PURE. An example in a program file: given this receipt and this member, expect these awards. `test` runs them. */
import { z } from 'zod';
import { birthdaySchema } from '#src/members/profile.ts';
import { activitySchema, flightSchema, purchaseSchema } from '../schemas.ts';
import { nameField } from './basics-schema.ts';

export const exampleMemberSchema = z.strictObject({
  tier: nameField.optional(),
  segments: z.array(nameField).max(100).optional(),
  birthday: birthdaySchema.optional(),
  joinedAt: z.iso.datetime({ offset: true }).optional(),
  attributes: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  codes: z.array(z.string().min(1).max(64)).max(100).optional(),
});

export const exampleSchema = z.strictObject({
  name: z.string().min(1).max(200),
  occurredAt: z.iso.datetime({ offset: true }),
  member: exampleMemberSchema.optional(),
  /** How many purchases the member had made before; nothing else was counted. */
  purchasesBefore: z.int().min(0).optional(),
  purchase: purchaseSchema.optional(),
  flight: flightSchema.optional(),
  activity: activitySchema.optional(),
  expect: z.array(
    z.strictObject({
      rule: nameField,
      points: z.int().min(1),
      currency: nameField.optional(),
      expiresOn: z.iso.date().optional(),
      availableOn: z.iso.date().optional(),
    }),
  ),
});
export type Example = z.infer<typeof exampleSchema>;
