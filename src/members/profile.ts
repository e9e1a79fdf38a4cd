/** PURE. What a program keeps of a person beside identifiers: birthday and attributes, stored as one encrypted text. */
import { z } from 'zod';

const daysInMonth = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

function isBirthday(text: string): boolean {
  const [year, month, day] = text.startsWith('--')
    ? ['', text.slice(2, 4), text.slice(5, 7)]
    : [text.slice(0, 4), text.slice(5, 7), text.slice(8, 10)];
  const days = daysInMonth[Number(month) - 1];
  if (days === undefined || Number(day) < 1 || Number(day) > days) return false;
  if (year === '') return true;
  const leap = new Date(Date.UTC(Number(year), 1, 29)).getUTCDate() === 29;
  return Number(year) >= 1850 && (month !== '02' || day !== '29' || leap);
}

export const birthdaySchema = z
  .string()
  .regex(/^(\d{4}-\d{2}-\d{2}|--\d{2}-\d{2})$/, 'is a date such as 1990-05-17 or --05-17')
  .refine(isBirthday, 'is not a day of the calendar');

const attributesMax = 50;
const attributeName = z.string().regex(/^[A-Za-z][A-Za-z0-9_.-]{0,63}$/);
const attributeValue = z.union([z.string().max(500), z.number(), z.boolean()]);
const tooMany = `are at most ${attributesMax}`;

export const attributesSchema = z
  .record(attributeName, attributeValue)
  .refine((attributes) => Object.keys(attributes).length <= attributesMax, tooMany);
/** A change of attributes: null removes one. */
export const attributesPatchSchema = z
  .record(attributeName, attributeValue.nullable())
  .refine((attributes) => Object.keys(attributes).length <= attributesMax, tooMany);

export type Attributes = z.output<typeof attributesSchema>;
export type AttributesPatch = z.output<typeof attributesPatchSchema>;

export interface Profile {
  readonly birthday?: string | undefined;
  readonly attributes?: Attributes | undefined;
}

export const emptyProfile: Profile = {};

/** Month * 100 + day of a birthday, 0 where there is none: what may stand beside the encrypted profile. */
export function birthDayOf(birthday: string | undefined): number {
  if (birthday === undefined) return 0;
  const [month, day] = birthday.slice(-5).split('-');
  return Number(month) * 100 + Number(day);
}

/** The text that is encrypted; undefined where there is nothing to keep. */
export function profileText(profile: Profile): string | undefined {
  const attributes = Object.keys(profile.attributes ?? {}).length > 0 ? profile.attributes : undefined;
  if (profile.birthday === undefined && attributes === undefined) return undefined;
  return JSON.stringify({ birthday: profile.birthday, attributes });
}

export function profileOf(text: string): Profile {
  return JSON.parse(text) as Profile;
}

/** The JSON pointer of the first thing that was sent and is stored differently; undefined where all is the same. */
export function profileDifference(sent: Profile, stored: Profile): string | undefined {
  if (sent.birthday !== undefined && sent.birthday !== stored.birthday) return '/birthday';
  for (const [name, value] of Object.entries(sent.attributes ?? {})) {
    if (stored.attributes?.[name] !== value) return `/attributes/${name}`;
  }
  return undefined;
}

export interface ProfilePatch {
  readonly birthday?: string | null | undefined;
  readonly attributes?: AttributesPatch | undefined;
}

/** A profile with a change applied; undefined where it would have too many attributes. */
export function patchedProfile(stored: Profile, patch: ProfilePatch): Profile | undefined {
  const attributes: Attributes = { ...stored.attributes };
  for (const [name, value] of Object.entries(patch.attributes ?? {})) {
    if (value === null) delete attributes[name];
    else attributes[name] = value;
  }
  if (Object.keys(attributes).length > attributesMax) return undefined;
  const birthday = patch.birthday === undefined ? stored.birthday : (patch.birthday ?? undefined);
  return { birthday, attributes };
}
