/** Which runs a promotion has and whose they are, against what the till would say of the same days and members. */
import { DateTime } from 'luxon';
import { describe, expect, test } from 'vitest';
import type { Window } from '#src/earning/file/basics-schema.ts';
import { programFileSchema } from '#src/earning/file/schema.ts';
import { givingDaysDue, type Whose, whoseDay } from '#src/earning/gives/days.ts';
import { referenceOfGift } from '#src/earning/gives/gift.ts';
import { createPace, type Pace } from '#src/earning/gives/pace.ts';
import { chunksOf } from '#src/earning/gives/plan.ts';
import type { Program, ProgramVersion } from '#src/earning/program.ts';
import { momentOf } from '#src/earning/rules/calendar.ts';
import { compileWindow } from '#src/earning/rules/schedule.ts';
import { birthDayOf } from '#src/members/profile.ts';
import type { MemberNumber } from '#src/values.ts';

const dayMs = 86_400_000;

function versionOf(
  timeZone: string,
  during: Window,
  give: { at?: string; points?: number } = {},
  { version = 1, effectiveFrom = Number.NEGATIVE_INFINITY } = {},
): ProgramVersion {
  const file = programFileSchema.parse({
    timeZone,
    currencies: [{ code: 'points' }],
    promotions: [{ name: 'gift', currency: 'points', during, give: { points: 10, ...give } }],
  });
  const numbers = { currencies: { points: 1 }, funders: { program: 0 }, counters: {}, budgets: {} };
  return { version, effectiveFrom, definition: { ...file, numbers } };
}

function programOf(
  timeZone: string,
  during: Window,
  give: { at?: string } = {},
): Pick<Program, 'versions' | 'timeZone'> {
  return { timeZone, versions: [versionOf(timeZone, during, give)] };
}

const at = (text: string, timeZone: string) => DateTime.fromISO(text, { zone: timeZone }).toMillis();

function means(whose: Whose, member: { birthday: string; joinedAt: number }): boolean {
  if (whose.who === 'everybody') return true;
  if (whose.who === 'born') return whose.days.includes(birthDayOf(member.birthday));
  return whose.spans.some(({ start, end }) => member.joinedAt >= start && member.joinedAt < end);
}

describe('the days on which a promotion gives', () => {
  const everyEighth = { repeat: 'FREQ=MONTHLY;BYMONTHDAY=8' };

  test('are due once, however often and in whatever pieces the time is looked at', () => {
    const program = programOf('Europe/Berlin', everyEighth, { at: '06:30' });
    const [from, to] = [at('2026-01-01', 'Europe/Berlin'), at('2027-01-01', 'Europe/Berlin')];
    const whole = givingDaysDue(program, from, to);
    expect(whole.map(({ occurrence }) => occurrence)).toEqual(
      Array.from({ length: 12 }, (_, month) => `2026-${String(month + 1).padStart(2, '0')}-08`),
    );
    const pieces: string[] = [];
    for (let begin = from; begin < to; begin += 5 * 3_600_000)
      for (const day of givingDaysDue(program, begin, Math.min(to, begin + 5 * 3_600_000)))
        pieces.push(day.occurrence);
    expect(pieces).toEqual(whole.map(({ occurrence }) => occurrence));
  });

  test.each([
    // The clocks jump over midnight.
    ['Africa/Cairo', '2026-04-24', '00:00', '2026-04-24T01:00:00.000+03:00'],
    ['America/Santiago', '2026-09-06', '00:00', '2026-09-06T01:00:00.000-03:00'],
    // Over the time at which it begins.
    ['Europe/Berlin', '2026-03-29', '02:30', '2026-03-29T03:00:00.000+02:00'],
    // They show the time twice: the first.
    ['Europe/Berlin', '2026-10-25', '02:30', '2026-10-25T02:30:00.000+02:00'],
    ['America/New_York', '2026-11-01', '01:15', '2026-11-01T01:15:00.000-04:00'],
    ['Australia/Lord_Howe', '2026-10-04', '02:10', '2026-10-04T02:30:00.000+11:00'],
  ])('in %s on %s at %s is at %s', (timeZone, date, time, due) => {
    const program = programOf(timeZone, { from: date, through: date }, { at: time });
    const days = givingDaysDue(program, at(date, timeZone) - 2 * dayMs, at(date, timeZone) + 2 * dayMs);
    expect(days.map(({ dueAt }) => DateTime.fromMillis(dueAt, { zone: timeZone }).toISO())).toEqual([due]);
  });

  test('belong to the version in force when they are due', () => {
    const timeZone = 'UTC';
    const changed = at('2026-05-08T00:00', timeZone);
    const versions = [
      versionOf(timeZone, everyEighth, { points: 10 }),
      versionOf(timeZone, everyEighth, { points: 20 }, { version: 2, effectiveFrom: changed }),
    ];
    const days = givingDaysDue(
      { timeZone, versions },
      at('2026-04-01', timeZone),
      at('2026-07-01', timeZone),
    );
    expect(days.map(({ version, promotion }) => [version, promotion.give.points])).toEqual([
      [1, 10],
      [2, 20],
      [2, 20],
    ]);
  });
});

describe('who is meant', () => {
  const members = [
    ...['1990-02-28', '1992-02-29', '1990-03-01', '--12-28', '1985-12-31', '2001-01-01', '1970-07-08'],
    ...['1999-07-31', '1988-01-31'],
  ].map((birthday, i) => ({
    birthday,
    joinedAt: at(['2024-02-29T23:30', '2023-12-31T00:10', '2020-07-08T12:00'][i % 3]!, 'Europe/Berlin'),
  }));
  const kinds = ['birthday', 'birthday_week', 'birthday_month', 'anniversary'] as const;
  const repeats = [undefined, 'FREQ=WEEKLY;BYDAY=WE', 'FREQ=MONTHLY;BYMONTHDAY=8', 'FREQ=DAILY;INTERVAL=3'];

  test.each(kinds.flatMap((member) => repeats.map((repeat) => [member, repeat] as const)))(
    "by %s and %s is whom the till would mean, once for each of the member's days",
    (member, repeat) => {
      const timeZone = 'Europe/Berlin';
      const during: Window = { member, ...(repeat === undefined ? {} : { repeat }) };
      const { versions } = programOf(timeZone, during);
      const window = compileWindow(during, timeZone);
      const [from, to] = [at('2026-12-01', timeZone), at('2029-01-15', timeZone)];
      const given: string[] = [];
      for (const day of givingDaysDue({ timeZone, versions }, from - 1, to)) {
        const whose = whoseDay(day, timeZone)!;
        for (const [i, each] of members.entries())
          if (means(whose, each)) given.push(`${i} ${day.occurrence}`);
      }
      const expected: string[] = [];
      const had = new Set<string>();
      // A month earlier, so that what began before is not taken for a beginning.
      for (
        let day = DateTime.fromISO('2026-11-01', { zone: timeZone });
        day.toMillis() <= to;
        day = day.plus({ days: 1 })
      ) {
        const moment = momentOf(day.plus({ hours: 12 }).toMillis(), timeZone);
        for (const [i, each] of members.entries()) {
          const occurrence = window.occurrenceOf(moment, each);
          if (occurrence === undefined || had.has(`${i} ${occurrence}`)) continue;
          had.add(`${i} ${occurrence}`);
          if (day.toMillis() >= from) expected.push(`${i} ${day.toISODate()}`);
        }
      }
      expect(given).toEqual(expected);
    },
  );

  test('everybody, where the promotion names no day of the member', () => {
    const program = programOf('UTC', { repeat: 'FREQ=WEEKLY;BYDAY=FR' });
    const [day] = givingDaysDue(program, at('2026-11-01', 'UTC'), at('2026-11-08', 'UTC'));
    expect(whoseDay(day!, 'UTC')).toEqual({ who: 'everybody' });
  });
});

describe('the pace', () => {
  /** Feeds records of one shard, all its own but every `otherEvery`th, a millisecond each. */
  function paceAfter(records: number, otherEvery: number): Pace {
    let nowMs = 0;
    const pace = createPace(() => nowMs);
    for (let seq = 1; seq <= records; seq += 1) {
      nowMs += 1;
      if (seq % otherEvery !== 0) pace.gave({ shard: 0, epoch: 1, seq });
    }
    return pace;
  }

  test('is careful until it has seen that nobody else moves points', () => {
    expect(paceAfter(100, Infinity).isShared()).toBe(true);
    expect(paceAfter(600, Infinity).isShared()).toBe(false);
    expect(paceAfter(600, 100).isShared()).toBe(false);
  });

  test('makes room where others do, in whatever epoch they began', () => {
    expect(paceAfter(2_000, 10).isShared()).toBe(true);
    let nowMs = 0;
    const pace = createPace(() => nowMs);
    for (const [epoch, seq] of [
      [1, 1],
      [2, 900],
      [2, 901],
      [3, 5],
    ] as const) {
      nowMs += 100;
      pace.gave({ shard: 0, epoch, seq });
    }
    expect(pace.isShared()).toBe(false);
  });

  test.each([
    { where: 'others move points', otherEvery: 10, together: 2 },
    { where: 'nobody else does', otherEvery: Infinity, together: 4 },
  ])('lets $together calls run at a time where $where, and the next ones in their order', async (given) => {
    const pace = paceAfter(1_000, given.otherEvery);
    const begun: number[] = [];
    let running = 0;
    let most = 0;
    const call = (number: number) => async () => {
      begun.push(number);
      running += 1;
      most = Math.max(most, running);
      await Promise.resolve();
      running -= 1;
      return number;
    };
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((number) => pace.take(call(number))));
    expect(answers).toEqual([1, 2, 3, 4, 5, 6]);
    expect(begun).toEqual(answers);
    expect(most).toBe(given.together);
    await expect(pace.take(() => Promise.reject(new Error('as thrown')))).rejects.toThrow('as thrown');
  });
});

describe('gifts and chunks', () => {
  test('the reference is another one for every program, promotion, day and member, and always the same for these', () => {
    const occasion = { program: 1, promotion: 'birthday', occurrence: '2026-11-08' };
    const member = 7 as MemberNumber;
    const variants = [
      referenceOfGift(occasion, member),
      referenceOfGift({ ...occasion, program: 2 }, member),
      referenceOfGift({ ...occasion, promotion: 'birthda' }, member),
      referenceOfGift({ ...occasion, occurrence: '2026-11-09' }, member),
      referenceOfGift(occasion, 8 as MemberNumber),
    ];
    expect(new Set(variants).size).toBe(variants.length);
    expect(referenceOfGift({ ...occasion }, member)).toBe(variants[0]);
    for (const reference of variants)
      expect(reference).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test('cohorts begin within the spread, and no chunk is larger than a worker takes at once', () => {
    for (const [members, minutes] of [
      [1, 60],
      [59, 60],
      [10_000, 60],
      [5_000_000, 90],
      [300, 1_380],
    ] as const) {
      const { size, everyMs } = chunksOf(members, minutes);
      const chunks = Math.ceil(members / size);
      expect(size).toBeLessThanOrEqual(4_096);
      expect(everyMs * (chunks - 1)).toBeLessThan(minutes * 60_000);
      expect(chunks).toBeGreaterThanOrEqual(Math.min(members, minutes, 100));
    }
    expect(chunksOf(9_000, 0)).toEqual({ size: 4_096, everyMs: 0 });
  });
});
