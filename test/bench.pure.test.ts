/** How the benchmark turns rounds into marks, a report and a chart. */
import { describe, expect, test } from 'vitest';
import { chartOf, colours } from '../loadtest/chart.ts';
import type { Contestant } from '../loadtest/contestant.ts';
import type { Machine, Syncs } from '../loadtest/machine.ts';
import { type Entry, marksOf, ratioMarks, ratiosOf, spread } from '../loadtest/marks.ts';
import { reportJson, reportText } from '../loadtest/report.ts';
import { bulkOf, holdAndCapture, memberName, only } from '../loadtest/requests.ts';
import type { Round } from '../loadtest/round.ts';
import { templateOf } from '../loadtest/wire.ts';

const machine: Machine = {
  date: '2026-11-22T16:00:00.000Z',
  node: 'v24.0.0',
  cores: 2,
  cpu: 'a processor',
  memoryGb: 8,
  platform: 'linux x64',
};
const syncs: Syncs[] = [{ perSecond: 5_000, p50Ms: 0.2, p99Ms: 0.4 }];

function round(perSecond: number, own: Partial<Round> = {}): Round {
  return {
    requests: perSecond * 6,
    seconds: 6,
    p50Ms: 1,
    p99Ms: 2,
    longestMs: 3,
    refused: 0,
    firstRefusal: undefined,
    accepted: perSecond * 8,
    cores: 0.3,
    perSecond,
    bookedPerSecond: undefined,
    cpuPerMillion: { api: 100, redis: 60 },
    lag: undefined,
    drainSeconds: undefined,
    missing: 0,
    ...own,
  };
}

function entry(name: string, speeds: readonly number[], own: Partial<Round> = {}): Entry {
  const contestant: Contestant = {
    name,
    title: `the ${name} & others`,
    durability: 'none',
    connections: 128,
    counted: { name: 'accruals', perRequest: 1 },
    isAccrual: true,
    traffic: only('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
  };
  return { contestant, chosen: 'nothing', rounds: speeds.map((speed) => round(speed, own)) };
}

describe('marks', () => {
  test('a ratio is of rounds with one number, and the median of those is judged', () => {
    const entries = [entry('service', [100, 300, 400]), entry('script-only', [200, 300, 1_000])];
    expect(ratiosOf(entries, 'service', 'script-only')).toEqual([0.5, 1, 0.4]);
    expect(marksOf(entries)).toEqual([
      expect.objectContaining({
        median: 0.5,
        smallest: 0.4,
        largest: 1,
        bound: 'at least 0.55',
        isMet: false,
      }),
    ]);
  });

  test('a mark is judged only when both sides ran', () => {
    expect(marksOf([entry('script-only', [100]), entry('prisma', [10])])).toEqual([]);
    const both = marksOf([entry('service', [100]), entry('prisma', [10])]);
    expect(both.map(({ measure, isMet }) => [measure, isMet])).toEqual([['service / prisma', true]]);
  });

  test('a mark aims higher than what it asks for', () => {
    for (const { of, beside, atLeast, aim } of ratioMarks)
      expect(aim, `${of} / ${beside}`).toBeGreaterThan(atLeast);
  });

  test('one round in which the books fell a second behind misses the mark of the lag', () => {
    const fast = entry('service', [100, 100], { lag: { records: 10, seconds: 0.2 } });
    const slow = entry('service', [100], { lag: { records: 90, seconds: 1.2 } });
    const lagOf = (each: Entry) => marksOf([each]).find(({ measure }) => measure.includes('lag'))!;
    expect(lagOf(fast)).toMatchObject({ median: 0.2, isMet: true });
    expect(lagOf({ ...fast, rounds: [...fast.rounds, ...slow.rounds] })).toMatchObject({
      largest: 1.2,
      isMet: false,
    });
  });

  test('the median of an even number of rounds lies between the two in the middle', () => {
    expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, smallest: 1, largest: 4 });
  });
});

describe('the report', () => {
  test('names accruals that the store does not have, refusals, and a generator at its limit', () => {
    const entries = [
      entry('service', [100], { missing: 2, refused: 1, firstRefusal: 'HTTP/1.1 503', cores: 0.97 }),
    ];
    const text = reportText(machine, syncs, entries);
    expect(text.match(/^Fault: .*/gm)).toEqual([
      'Fault: service, round 1: 1 replies were not 2xx, the first:',
      'Fault: service, round 1: 2 accepted accruals are not in the store',
      'Fault: service, round 1: the load generator used 0.97 of a core and may be the limit',
    ]);
    expect(reportText(machine, syncs, [entry('service', [100])])).not.toContain('Fault');
  });

  test('says CPU seconds a million by process and together', () => {
    expect(reportText(machine, syncs, [entry('service', [100])])).toContain(
      'service: api 100, redis 60; together 160',
    );
  });

  test('as data has the spread of every contestant, and every round', () => {
    const data = JSON.parse(JSON.stringify(reportJson(machine, syncs, [entry('service', [100, 300])])));
    expect(data.contestants[0]).toMatchObject({ name: 'service', perSecond: { median: 200 } });
    expect(data.contestants[0].rounds).toHaveLength(2);
  });
});

describe('the chart', () => {
  const entries = [
    entry('node-echo', [4_000]),
    entry('service', [500, 1_000, 1_500]),
    entry('<odd> "one"', [10]),
  ];
  const svg = chartOf(machine, entries);

  function lightness(hex: string): number {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const share = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }
  function contrast(one: string, other: string): number {
    const [low, high] = [lightness(one), lightness(other)].sort((a, b) => a - b) as [number, number];
    return (high + 0.05) / (low + 0.05);
  }

  test('is well-formed: every element that opens also closes, and no text of ours breaks it', () => {
    const open: string[] = [];
    for (const [, slash, name, , isEmpty] of svg.matchAll(
      /<(\/?)([a-z]+)((?:\s[\w:-]+="[^"<>]*")*)\s*(\/?)>/g,
    )) {
      if (slash) expect(open.pop()).toBe(name);
      else if (!isEmpty) open.push(name!);
    }
    expect(open).toEqual([]);
    expect(svg.match(/</g)!.length).toBe(
      [...svg.matchAll(/<\/?[a-z]+(?:\s[\w:-]+="[^"<>]*")*\s*\/?>/g)].length,
    );
    expect(svg).toContain('&lt;odd&gt; &quot;one&quot;');
    expect(svg.replace(/&(?:amp|lt|gt|quot);/g, '')).not.toContain('&');
  });

  test('draws bars as long as the figures: pale to the fastest round, solid to the slowest', () => {
    const bars = [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map((match) => Number(match[1]));
    const [echo, , fastest, slowest] = bars as [number, number, number, number];
    expect(bars).toHaveLength(6);
    expect(fastest / echo).toBeCloseTo(1_500 / 4_000, 2);
    expect(slowest / echo).toBeCloseTo(500 / 4_000, 2);
    expect(svg).toContain('>1,000 accruals/s<');
  });

  test('stays inside its frame', () => {
    const width = Number(/viewBox="0 0 (\d+)/.exec(svg)![1]);
    const ends = [...svg.matchAll(/<rect x="([\d.]+)"[^>]*? width="([\d.]+)"/g)].map(
      (match) => Number(match[1]) + Number(match[2]),
    );
    expect(Math.max(...ends)).toBeLessThan(width - 150);
  });

  test("is readable on GitHub's white and on its black", () => {
    for (const page of ['#ffffff', '#0d1117']) {
      expect(contrast(colours.text, page), page).toBeGreaterThan(4);
      expect(contrast(colours.service, page), page).toBeGreaterThan(3);
      expect(contrast(colours.other, page), page).toBeGreaterThan(3);
    }
  });

  test('asks the reader for no font, picture or script from elsewhere', () => {
    expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|url\(|<script|@import/);
  });
});

describe('requests', () => {
  const places = {
    member: () => memberName(7),
    reference: () => 'r'.repeat(36),
    order: () => 'o'.repeat(16),
    now: () => '2026-11-22T16:00:00.000Z',
    id: () => 'hold_1',
  };

  test('a bulk request of a thousand receipts is one body of its own length, with places in every receipt', () => {
    const { bytes, patches } = templateOf(bulkOf(1_000), places);
    const [head, body] = bytes.toString('latin1').split('\r\n\r\n') as [string, string];
    expect(Number(/Content-Length: (\d+)/.exec(head)![1])).toBe(body.length);
    expect((JSON.parse(body) as { items: unknown[] }).items).toHaveLength(1_000);
    expect(patches).toHaveLength(4_000);
  });

  test('a capture names the hold before it', () => {
    const { bytes } = templateOf(holdAndCapture[1], places);
    expect(bytes.toString('latin1')).toMatch(/^POST \/v1\/holds\/hold_1\/capture HTTP/);
  });
});
