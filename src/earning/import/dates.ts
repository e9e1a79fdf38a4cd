// Dates of a file to RFC 3339 with an offset.
//
// A value without a time of day stands for 12:00 in the zone. Noon exists exactly once on every day of every zone
// (midnight does not where clocks change at midnight: Beirut, Santiago, Havana), and it stays on the same calendar
// date when the offset of the zone was guessed wrong by up to half a day. A local time that a clock change skips
// moves forward by the gap; one that occurs twice is the first of the two.
import { DateTime } from 'luxon';

export type DateReading = { occurredAt: string } | { fault: string };
export type DateReader = (text: string) => DateReading;

/** Distinct date strings that are remembered. Till files repeat them by the thousand, and luxon costs ~20 µs each. */
const remembered = 20_000;

/**
 * Makes a reader for one format: `iso`, `unix` (seconds), `unix-ms` or luxon tokens ("yyyyMMdd", "dd.MM.yyyy HH:mm").
 * A value with its own offset keeps it; all others are local to `zone`.
 */
export function dateReader(format: string, zone: string): DateReader {
  const answers = new Map<string, DateReading>();
  return (text) => {
    const known = answers.get(text);
    if (known !== undefined) return known;
    const reading = readDate(text, format, zone);
    if (answers.size >= remembered) answers.clear();
    answers.set(text, reading);
    return reading;
  };
}

function readDate(text: string, format: string, zone: string): DateReading {
  if (text === '') return { fault: 'no date' };
  const moment = parseMoment(text, format, zone);
  const occurredAt = moment?.isValid
    ? moment.toISO({ suppressMilliseconds: true, extendedZone: false })
    : null;
  if (occurredAt === null || occurredAt === undefined) {
    return { fault: `"${text.slice(0, 40)}" is not a date of the format ${format}` };
  }
  return { occurredAt };
}

function parseMoment(text: string, format: string, zone: string): DateTime | undefined {
  if (format === 'unix' || format === 'unix-ms') {
    if (!/^\d{1,15}(\.\d{1,3})?$/.test(text)) return undefined;
    const millis = format === 'unix' ? Math.round(Number(text) * 1000) : Number(text);
    return DateTime.fromMillis(millis, { zone });
  }
  if (format === 'iso') {
    const isoText = text.replace(/^(\d{4}-\d\d-\d\d) (?=\d)/, '$1T');
    // "10:30" and "2024" are ISO too, but luxon fills what is missing from today's date.
    if (!/^\d{4}-?(\d\d-?\d\d|\d{3})($|T)/.test(isoText)) return undefined;
    const moment = DateTime.fromISO(isoText, { zone, setZone: hasOffset(isoText) });
    return isoText.includes('T') ? moment : atNoon(moment);
  }
  const moment = DateTime.fromFormat(text, format, {
    zone,
    locale: 'en',
    setZone: zoneTokens.test(bare(format)),
  });
  return timeTokens.test(bare(format)) ? moment : atNoon(moment);
}

function atNoon(moment: DateTime): DateTime {
  return moment.set({ hour: 12, minute: 0, second: 0, millisecond: 0 });
}

function hasOffset(isoText: string): boolean {
  return /(?:Z|[+-]\d\d(?::?\d\d)?)$/i.test(isoText.slice(isoText.indexOf('T') + 1)) && isoText.includes('T');
}

/** A format without its quoted literals. */
function bare(format: string): string {
  return format.replace(/'[^']*'/g, '');
}

const timeTokens = /[HhtTfF]/;
const zoneTokens = /[Zz]/;

/** Says what is wrong with a date format, if anything: it must name a whole day, or the rest would come from the clock. */
export function dateFormatFault(format: string): string | undefined {
  if (['iso', 'unix', 'unix-ms'].includes(format)) return undefined;
  const tokens = bare(format);
  const macro = /[DfF]/.test(tokens);
  const day = /o/.test(tokens) || (/[ML]/.test(tokens) && /d/.test(tokens));
  if (macro || (/y/.test(tokens) && day)) return undefined;
  return `the date format ${format} does not name year, month and day (luxon tokens, e.g. yyyyMMdd or dd.MM.yyyy HH:mm)`;
}

/** Whether the name is an IANA time zone this machine knows. */
export function isTimeZone(zone: string): boolean {
  return DateTime.fromMillis(0, { zone }).isValid;
}
