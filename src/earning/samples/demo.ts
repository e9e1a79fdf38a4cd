/** The sample program of a bare machine: one point for each whole 100 minor units, no expiry, no pending, debt allowed, poolable. */
import type { ProgramFileInput } from '../file/schema.ts';

export const demoFile: ProgramFileInput = {
  timeZone: 'UTC',
  currencies: [{ code: 'points', poolable: true }],
  rules: [{ name: 'spend', currency: 'points', earn: { by: 'amount', points: 1, perMinorUnits: 100 } }],
};

export const demoKeys = {
  pos: 'demo-pos',
  checkout: 'demo-checkout',
  care: 'demo-care',
  admin: 'demo-admin',
} as const;
