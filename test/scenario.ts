/**
 * A table language for what happens to wallets, for people who run programs.
 *
 *   what      | who  | points | details       | answer   | balance afterwards
 *   accrue    | anna |    100 | r1            | accrued  | 100
 *   hold      | anna |     80 | h1            | held     | 20, held 80
 *   capture   |      |     30 | h1            | captured | 70
 *   clock     |      |        | day 31, 23:59 |          |
 *   look      | anna |        | lots 70 to day 31 |      | 70
 *
 * Every scenario runs in a test program of its own whose clock begins at noon of day 1. `details` begins with the name of
 * the movement, under which later rows mean it; `answer` is the status word of the reply or the code of the refusal.
 * The balance is what is available, then `pending`, `held` and `debt` where they are not 0; a name in front, such as
 * `ben 20`, speaks of somebody else. An empty balance is not looked at. `#` begins a remark.
 *
 * accrue   a receipt worth that many points: `r1`, `r1 order o1`, `r1 lines 60 40` (in money units, one line each)
 * grant    points without a receipt, which never expire
 * spend · hold · adjust   `s1`, `s1 order o1`, `h1 for 2 hours`
 * capture · release · refund · reverse   `h1` · `s1` · `r1`, `r1 line 1`, `r1 part 25.50 of line 1`
 * return   `order o1`, `order o1 line 2`
 * transfer · merge   `to ben`, `into ben`
 * suspend · resume · close · look   `look` may compare lots: `lots 70 to day 31, 20 for ever, 5 from day 15`
 * clock    `day 31, 23:59` in the program's time zone, or `+ 2 hours`
 * sweep    books what is due for members whom nobody touched
 */
import { DateTime } from 'luxon';
import { expect } from 'vitest';
import { bookDue } from '#src/jobs/due.ts';
import { type Answer, type Engine, type Figures, reference, type Shop, type ShopOptions } from './harness.ts';

export interface Row {
  readonly text: string;
  readonly what: string;
  readonly who: string;
  readonly points: number | undefined;
  readonly details: string;
  readonly answer: string;
  readonly balance: string;
}

/** Reads a table. Throws with the line that cannot be read. */
export function parseScenario(table: string): Row[] {
  const rows: Row[] = [];
  for (const line of table.split('\n')) {
    const text = line.replace(/#.*$/, '').trim();
    if (text === '' || /^what\s*\|/.test(text)) continue;
    const cells = text.split('|').map((cell) => cell.trim());
    if (cells.length < 2 || cells.length > 6) throw new Error(`a row has two to six columns: ${line}`);
    const [what = '', who = '', points = '', details = '', answer = '', balance = ''] = cells;
    if (points !== '' && !/^[+-]?\d+$/.test(points)) throw new Error(`points are a whole number: ${line}`);
    rows.push({
      text,
      what,
      who,
      points: points === '' ? undefined : Number(points),
      details,
      answer,
      balance,
    });
  }
  return rows;
}

/** `70, held 80` or `ben 20` as figures. */
function parseBalance(text: string, who: string): { member: string; figures: Figures } {
  const figures = { available: 0, pending: 0, held: 0, debt: 0 };
  let member = who;
  for (const part of text.split(',').map((each) => each.trim())) {
    const match = /^(?:([a-z]+)\s+)?(\d+)$/.exec(part);
    if (!match) throw new Error(`a balance is a number or a word and a number: ${part}`);
    const [, word, number] = match;
    if (word === undefined) figures.available = Number(number);
    else if (word === 'pending' || word === 'held' || word === 'debt') figures[word] = Number(number);
    else {
      member = word;
      figures.available = Number(number);
    }
  }
  return { member, figures };
}

interface Lot {
  readonly points: number;
  readonly from: string | undefined;
  readonly to: string | undefined;
}

interface Stage {
  readonly engine: Engine;
  readonly shop: Shop;
  /** The first day of the scenario in the program's zone. */
  readonly firstDay: DateTime;
  readonly members: Map<string, string>;
  readonly movements: Map<string, { readonly id: string; readonly who: string }>;
}

function dayOf(stage: Stage, day: number): string {
  return stage.firstDay.plus({ days: day - 1 }).toISODate() ?? '';
}

function parseLots(stage: Stage, text: string): Lot[] {
  return text.split(',').map((part) => {
    const match = /^(\d+)(?: from day (\d+))?(?: (?:to day (\d+)|for ever))?$/.exec(part.trim());
    if (!match) throw new Error(`a lot is such as "70 to day 31": ${part}`);
    const [, points, from, to] = match;
    const day = (number: string | undefined) =>
      number === undefined ? undefined : dayOf(stage, Number(number));
    return { points: Number(points), from: day(from), to: day(to) };
  });
}

async function memberOf(stage: Stage, who: string): Promise<string> {
  if (who === '') throw new Error('the row needs somebody');
  const known = stage.members.get(who) ?? (await stage.shop.enrol(who));
  stage.members.set(who, known);
  return known;
}

function movementOf(stage: Stage, name: string): { id: string; who: string } {
  const found = stage.movements.get(name);
  if (!found) throw new Error(`nothing is called ${name}`);
  return found;
}

const unitSeconds: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3_600, day: 86_400 };

function secondsOf(text: string): number {
  const match = /^(\d+) (second|minute|hour|day)s?$/.exec(text);
  if (!match) throw new Error(`a time is such as "2 hours": ${text}`);
  return Number(match[1]) * unitSeconds[match[2]!]!;
}

async function moveClock(stage: Stage, details: string): Promise<void> {
  if (details.startsWith('+')) return stage.shop.advance(secondsOf(details.slice(1).trim()));
  const match = /^day (\d+), (\d\d):(\d\d)$/.exec(details);
  if (!match) throw new Error(`the clock is set to such as "day 31, 23:59": ${details}`);
  const [, day, hour, minute] = match;
  const at = stage.firstDay
    .plus({ days: Number(day) - 1 })
    .set({ hour: Number(hour), minute: Number(minute) });
  return stage.shop.setClock(at.toMillis());
}

/** A purchase in EUR with one line for each amount. */
function purchaseOf(amounts: readonly number[], order: string | undefined): Record<string, unknown> {
  const lines = amounts.map((amount, index) => ({ line: index + 1, amount: Math.round(amount * 100) }));
  return { currency: 'EUR', lines, ...(order === undefined ? {} : { order }) };
}

/** `line 2` or `part 25.50 of line 1` as the lines of a request; nothing means everything. */
function linesOf(details: string): Record<string, unknown> {
  const part = /part ([\d.]+) of line (\d+)/.exec(details);
  if (part) return { lines: [{ line: Number(part[2]), amount: Math.round(Number(part[1]) * 100) }] };
  const whole = /line (\d+)/.exec(details);
  return whole ? { lines: [{ line: Number(whole[1]) }] } : {};
}

type Verb = (stage: Stage, row: Row) => Promise<Answer>;

const orderOf = (details: string): string | undefined => /order (\S+)/.exec(details)?.[1];

async function earn(stage: Stage, { who, points = 0, details }: Row): Promise<Answer> {
  const member = await memberOf(stage, who);
  const lines = /lines ([\d. ]+)/.exec(details)?.[1]?.trim().split(/\s+/).map(Number) ?? [points];
  const purchase = purchaseOf(lines, orderOf(details));
  return stage.shop.pos('POST', '/v1/accruals', stage.shop.receipt(member, points, { purchase }));
}

async function take(stage: Stage, path: string, { who, points, details }: Row): Promise<Answer> {
  const order = orderOf(details);
  const forText = /for (\d+ \w+)/.exec(details)?.[1];
  return stage.shop.pos('POST', path, {
    member: await memberOf(stage, who),
    reference: reference(),
    points,
    ...(order === undefined ? {} : { order }),
    ...(forText === undefined ? {} : { expiresInSeconds: secondsOf(forText) }),
  });
}

function followUp(path: (id: string) => string, withTime: boolean): Verb {
  return (stage, { points, details }) => {
    const { id } = movementOf(stage, details.split(' ')[0]!);
    return stage.shop.pos('POST', path(id), {
      reference: reference(),
      ...(points === undefined ? {} : { points }),
      ...(withTime ? { occurredAt: stage.shop.time(), ...linesOf(details) } : {}),
    });
  };
}

function lifeVerb(action: string): Verb {
  return async (stage, { who, details }) => {
    const member = encodeURIComponent(await memberOf(stage, who));
    const into = /into (\S+)/.exec(details)?.[1];
    return stage.shop.admin('POST', `/v1/members/${member}/${action}`, {
      reference: reference(),
      reason: 'as the scenario says',
      ...(into === undefined ? {} : { into: await memberOf(stage, into) }),
    });
  };
}

const verbs: Readonly<Record<string, Verb>> = {
  accrue: earn,
  spend: (stage, row) => take(stage, '/v1/redemptions', row),
  hold: (stage, row) => take(stage, '/v1/holds', row),
  async grant(stage, { who, points }) {
    const grant = { points, product: 'goodwill' };
    const { shop } = stage;
    const member = await memberOf(stage, who);
    return shop.pos('POST', '/v1/accruals', {
      member,
      reference: reference(),
      occurredAt: shop.time(),
      grant,
    });
  },
  capture: followUp((id) => `/v1/holds/${id}/capture`, false),
  release: followUp((id) => `/v1/holds/${id}/release`, false),
  refund: followUp((id) => `/v1/redemptions/${id}/refunds`, false),
  reverse: followUp((id) => `/v1/accruals/${id}/reversals`, true),
  return(stage, { details }) {
    const body = { reference: reference(), occurredAt: stage.shop.time(), order: orderOf(details) };
    return stage.shop.pos('POST', '/v1/returns', { ...body, ...linesOf(details) });
  },
  async adjust(stage, { who, points }) {
    const member = await memberOf(stage, who);
    return stage.shop.care('POST', '/v1/adjustments', {
      member,
      reference: reference(),
      points,
      reason: 'a correction',
    });
  },
  async transfer(stage, { who, points, details }) {
    const [from, to] = [await memberOf(stage, who), await memberOf(stage, details.split(' ').at(-1)!)];
    return stage.shop.admin('POST', '/v1/transfers', { from, to, reference: reference(), points });
  },
  suspend: lifeVerb('suspend'),
  resume: lifeVerb('resume'),
  close: lifeVerb('close'),
  merge: lifeVerb('merge'),
};

/** A capture makes a redemption, which can be refunded under the name `NAME redemption`. */
function remember(stage: Stage, row: Row, answer: Answer): void {
  const name = row.details.split(' ')[0] ?? '';
  if (answer.status >= 300 || name === '') return;
  if (['accrue', 'grant', 'spend', 'hold'].includes(row.what))
    stage.movements.set(name, { id: answer.id, who: row.who });
  if (row.what === 'capture') {
    const { who } = movementOf(stage, name);
    stage.movements.set(`${name}-captured`, { id: String(answer.at('redemption.id')), who });
  }
}

async function checkBalance(stage: Stage, row: Row): Promise<void> {
  if (row.balance === '') return;
  const about = row.who || stage.movements.get(row.details.split(' ')[0]!)?.who || '';
  const { member, figures } = parseBalance(row.balance, about);
  expect(await stage.shop.balances(await memberOf(stage, member)), row.text).toEqual(figures);
}

async function checkLots(stage: Stage, row: Row): Promise<void> {
  const member = encodeURIComponent(await memberOf(stage, row.who));
  const answer = await stage.shop.pos('GET', `/v1/members/${member}/balances`);
  const { lots, pendingLots } = answer.at('balances.points') as {
    lots: { points: number; expiresOn: string | null }[];
    pendingLots: { points: number; availableOn: string; expiresOn: string | null }[];
  };
  const found = [
    ...lots.map((lot) => ({ points: lot.points, from: undefined, to: lot.expiresOn ?? undefined })),
    ...pendingLots.map((lot) => ({
      points: lot.points,
      from: lot.availableOn,
      to: lot.expiresOn ?? undefined,
    })),
  ];
  expect(found, row.text).toEqual(parseLots(stage, row.details.replace(/^lots /, '')));
}

async function play(stage: Stage, row: Row): Promise<void> {
  if (row.what === 'clock') return moveClock(stage, row.details);
  if (row.what === 'sweep') {
    await stage.engine.drained();
    await bookDue(stage.engine.app);
  } else if (row.what === 'look') {
    if (row.details !== '') await checkLots(stage, row);
  } else {
    const verb = verbs[row.what];
    if (!verb) throw new Error(`no such word: ${row.what}`);
    const answer = await verb(stage, row);
    const word = answer.code || String(answer.body.status);
    expect(word, `${row.text}\n${JSON.stringify(answer.body)}`).toBe(row.answer);
    remember(stage, row, answer);
  }
  await checkBalance(stage, row);
}

/** Plays a table in a program of its own. */
export async function playScenario(engine: Engine, options: ShopOptions, table: string): Promise<void> {
  const shop = await engine.shop({ ...options, mode: 'test' });
  const zone = options.timeZone ?? 'UTC';
  const firstDay = DateTime.now().setZone(zone).plus({ days: 1 }).startOf('day');
  await shop.setClock(firstDay.set({ hour: 12 }).toMillis());
  const stage: Stage = { engine, shop, firstDay, members: new Map(), movements: new Map() };
  for (const row of parseScenario(table)) await play(stage, row);
}
