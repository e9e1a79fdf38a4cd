/** The sample program of a bare machine: one point for each whole 100 minor units, no expiry, no pending, debt allowed. */
import type { z } from 'zod';
import type { definitionSchema } from '../program.ts';

export const demoDefinition: z.input<typeof definitionSchema> = {
  version: 1,
  currencies: [{ number: 1, code: 'points' }],
  rules: [{ name: 'spend', currency: 'points', points: 1, perMinorUnits: 100 }],
};

export const demoKeys = {
  pos: 'demo-pos',
  checkout: 'demo-checkout',
  care: 'demo-care',
  admin: 'demo-admin',
} as const;
