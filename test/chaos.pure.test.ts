/** The judge of a chaos run can find things: sound books pass, and each kind of damage is named for what it is. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import type { Charge, Evidence } from '../loadtest/chaos/judge/evidence.ts';
import { judge, type Verdict } from '../loadtest/chaos/judge/judge.ts';
import { startProxy } from '../loadtest/chaos/proxy.ts';
import { exitCodeOf, type FaultRun, lastLine, shareInside } from '../loadtest/chaos/report.ts';
import { scheduleOf } from '../loadtest/chaos/schedule.ts';
import { anna, type Loose, nowMs, operationOf, soundEvidence } from './house/ledger-books.ts';

type Loosened = Loose<Evidence>;

function verdictAfter(damage: (evidence: Loosened) => void): Verdict {
  const evidence = soundEvidence();
  damage(evidence);
  return judge(evidence as Evidence);
}

function chargesAfter(damage: (evidence: Loosened) => void): Charge[] {
  const { counts } = verdictAfter(damage);
  return (Object.keys(counts) as Charge[]).filter((charge) => counts[charge] > 0);
}

/** The last record is gone and the books say that this is their end; its caller was told of it. */
function cutLast({ books }: Loosened): void {
  books.records.pop();
  books.positions[0]!.seq -= 1;
  books.lots.pop();
  for (const account of books.accounts) {
    if (account.account === 'wallet') account.points -= 10n;
    if (account.account === 'issuance') account.points += 10n;
  }
}

/** Recovery opened another epoch and names what it knows to be lost. */
function nameLoss({ books, shown }: Loosened, lostFrom: number | null, lostTo: number | null): void {
  books.epochs.push({
    shard: 0,
    epoch: 2,
    openedAtMs: nowMs + 500,
    previousEpoch: 1,
    previousLastSeq: 5,
    lostFrom,
    lostTo,
  });
  books.positions[0] = { shard: 0, epoch: 2, seq: 0 };
  shown[1]!.figures.available = 0;
}

describe('the judge', () => {
  test('finds nothing in sound books', () => {
    const { findings, acknowledged, unknown, forfeited } = verdictAfter(() => undefined);
    expect({ findings, acknowledged, unknown, forfeited }).toEqual({
      findings: [],
      acknowledged: 6,
      unknown: 0,
      forfeited: 0,
    });
  });

  test('an entry that is missing leaves its record unbalanced and the balances adrift', () => {
    expect(chargesAfter(({ books }) => void books.records[0]!.entries.pop())).toEqual([
      'drift',
      'unbalanced',
    ]);
  });

  test('an entry that stands twice leaves its record unbalanced', () => {
    const charges = chargesAfter(({ books }) => {
      const { entries } = books.records[5]!;
      entries.push({ ...entries[0]! });
    });
    expect(charges).toContain('unbalanced');
  });

  test('a record that is missing is lost, and its number a hole that nobody named', () => {
    const charges = chargesAfter(({ books }) => void books.records.splice(1, 1));
    expect(charges).toEqual(expect.arrayContaining(['lost', 'unnamed']));
  });

  test('a reference that stands twice is doubled', () => {
    const charges = chargesAfter(({ books }) => {
      books.records.push({ ...books.records[5]!, seq: 7, operation: operationOf(7) });
      books.positions[0]!.seq = 7;
    });
    expect(charges).toEqual(expect.arrayContaining(['duplicated', 'drift']));
  });

  test('a record that nobody asked for is found', () => {
    expect(verdictAfter(({ attempts }) => void attempts.pop()).counts.duplicated).toBe(1);
  });

  test('a balance below zero is named at the record that made it', () => {
    const { findings } = verdictAfter(({ books }) => {
      const record = books.records[1]!;
      record.entries[0]!.points = -130;
      record.entries[1]!.points = 130;
    });
    expect(findings).toContainEqual({
      charge: 'negative',
      detail: expect.stringContaining('redemption 0.1.2'),
    });
  });

  test('a redemption that was refunded beyond its points is below zero', () => {
    const { counts } = verdictAfter(({ books }) => {
      books.records[4]!.request.undone = [[operationOf(2), '', [[1, 31]]]];
    });
    expect(counts.negative).toBe(1);
  });

  test('a hold that is settled twice is below zero', () => {
    const { counts } = verdictAfter(({ books }) => {
      books.records.push({ ...books.records[3]!, seq: 7, operation: operationOf(7) });
    });
    expect(counts.negative).toBeGreaterThan(0);
  });

  test('a receipt that earned something else than its rule says is adrift', () => {
    const { counts } = verdictAfter(({ books }) => {
      books.records[0]!.request.body!.purchase!.lines[0]!.amount = 9_900;
    });
    expect(counts).toMatchObject({ lost: 0, drift: 1 });
  });

  test('points of an older lot may not stay when a younger one is used', () => {
    const { counts } = verdictAfter(({ books }) => {
      const [accrual] = books.records;
      accrual!.effect.legs.splice(1, 0, ['wallet', 1, 5, 0, 0, 0, 0]);
      accrual!.entries.splice(1, 0, { ...accrual!.entries[0]!, points: 5, lot: 0 });
    });
    expect(counts.drift).toBeGreaterThan(0);
  });

  test.each([
    [
      'a lot',
      ({ books }: Loosened) => {
        books.lots[0]!.points += 1;
      },
    ],
    ['a debt', ({ books }: Loosened) => void books.debts.push({ member: anna, currency: 1, points: 3 })],
    [
      'a hold',
      ({ books }: Loosened) => {
        books.holds[0]!.status = 'held';
      },
    ],
    [
      'an account',
      ({ books }: Loosened) => {
        books.accounts[2]!.points += 1n;
      },
    ],
    [
      'what is shown',
      ({ shown }: Loosened) => {
        shown[0]!.figures.available += 1;
      },
    ],
    [
      'what a record says of itself',
      ({ books }: Loosened) => {
        books.records[5]!.effect.balances[0]![1] = 11;
      },
    ],
  ])('%s that differs from the replay is drift', (_what, damage) => {
    expect(chargesAfter(damage)).toContain('drift');
  });

  test('a hold that has ended counts as released, although nobody has booked that yet', () => {
    const { findings } = verdictAfter(({ books, shown, attempts }) => {
      books.records.splice(3, 3);
      attempts.splice(3, 3);
      books.records[2]!.effect.expiresAt = nowMs + 1_000;
      books.positions[0]!.seq = 3;
      books.holds[0]!.status = 'held';
      books.lots = [{ member: anna, currency: 1, lot: 1, points: 50 }];
      books.accounts = [
        { account: 'wallet', currency: 1, party: 0, points: 50n },
        { account: 'held', currency: 1, party: 0, points: 20n },
        { account: 'issuance', currency: 1, party: 0, points: -100n },
        { account: 'redemption', currency: 1, party: 0, points: 30n },
      ];
      const ended = { fromMs: nowMs + 2_000, toMs: nowMs + 2_000 };
      shown.splice(0, 2, {
        ...shown[0]!,
        ...ended,
        figures: { available: 70, pending: 0, held: 0, debt: 0 },
      });
    });
    expect(findings).toEqual([]);
  });

  test('what was shown before the last records were booked is right for then', () => {
    const { findings } = verdictAfter(({ books, shown }) => {
      for (const record of books.records.slice(3)) record.atMs += 5_000;
      const then = { fromMs: nowMs + 1_000, toMs: nowMs + 1_000 };
      shown[0] = { ...shown[0]!, ...then, figures: { available: 50, pending: 0, held: 20, debt: 0 } };
    });
    expect(findings).toEqual([]);
  });

  test('a transfer that never arrived leaves the books unbalanced', () => {
    const { counts } = verdictAfter(({ books }) => {
      const record = books.records[1]!;
      record.kind = 'transfer';
      record.effect.legs[1]![0] = 'clearing';
      record.entries[1]!.account = 'clearing';
      books.transfers.push({ transfer: record.operation, state: 'debited' });
    });
    expect(counts.unbalanced).toBe(2);
  });

  test('an epoch that says that the one before ended later than the books do is a hole that nobody named', () => {
    const { counts } = verdictAfter((evidence) => {
      cutLast(evidence);
      nameLoss(evidence, null, null);
      evidence.books.epochs[1]!.previousLastSeq = 9;
    });
    expect(counts.unnamed).toBe(1);
  });
});

describe('what a caller was told', () => {
  test.each([
    [
      'another operation',
      (told: Loosened['attempts'][number]['told'][number]) => {
        told.operation = operationOf(9);
      },
    ],
    [
      'another position',
      (told: Loosened['attempts'][number]['told'][number]) => {
        told.position = '0.1.9';
      },
    ],
    [
      'another member',
      (told: Loosened['attempts'][number]['told'][number]) => {
        told.member = 99;
      },
    ],
    [
      'another balance',
      (told: Loosened['attempts'][number]['told'][number]) => {
        told.balances!.available = 1;
      },
    ],
    [
      'other points',
      (told: Loosened['attempts'][number]['told'][number]) => {
        told.points = 1;
      },
    ],
  ])('%s than the books have is not what was acknowledged', (_what, damage) => {
    expect(chargesAfter(({ attempts }) => damage(attempts[5]!.told[0]!))).toEqual(['lost']);
  });

  test('a position that recovery changed, and said so, is no loss', () => {
    const { counts, decidedStale } = verdictAfter(({ books, attempts }) => {
      books.records[5]!.decidedStale = true;
      attempts[5]!.told[0]!.position = '0.0.77';
    });
    expect([counts.lost, decidedStale]).toEqual([0, 1]);
  });

  test('a refusal of something that was done is a loss', () => {
    const { counts } = verdictAfter(({ attempts }) => {
      attempts[5]!.told = [];
      attempts[5]!.refused.push({ atMs: nowMs, status: 409, code: 'insufficient_points' });
    });
    expect(counts.lost).toBe(1);
  });

  test('an attempt without any definite answer is unknown, whether it was done or not', () => {
    const { counts, unknown } = verdictAfter(({ attempts }) => {
      attempts[5]!.told = [];
      attempts.push({ ...attempts[5]!, reference: 'till/never', told: [], refused: [] });
    });
    expect([unknown, counts.lost]).toEqual([2, 0]);
  });

  const destroyed = { fromMs: nowMs, toMs: nowMs + 1_000 };
  const atJournal = ({ attempts }: Loosened) => {
    attempts[5]!.told[0]!.reached = 'journal';
  };

  test('an answer at `journal` is forfeited inside a range that recovery named after a disk was destroyed', () => {
    const { counts, forfeited } = verdictAfter((evidence) => {
      cutLast(evidence);
      nameLoss(evidence, 6, 6);
      atJournal(evidence);
      evidence.destructions.push(destroyed);
    });
    expect([counts.lost, counts.unnamed, forfeited]).toEqual([0, 0, 1]);
  });

  test.each([
    { where: 'at `ledger`', range: [6, 6], reached: 'ledger', destructions: [destroyed] },
    { where: 'outside the range', range: [7, 8], reached: 'journal', destructions: [destroyed] },
    { where: 'in no range', range: [null, null], reached: 'journal', destructions: [destroyed] },
    { where: 'without a destroyed disk', range: [6, 6], reached: 'journal', destructions: [] },
  ] as const)('an answer $where is lost', ({ range, reached, destructions }) => {
    const { counts, forfeited } = verdictAfter((evidence) => {
      cutLast(evidence);
      nameLoss(evidence, range[0], range[1]);
      evidence.attempts[5]!.told[0]!.reached = reached;
      evidence.destructions.push(...destructions);
    });
    expect([counts.lost, forfeited]).toEqual([1, 0]);
  });
});

describe('the proxy', () => {
  test('delivers late what it delays, and in the order in which it came, also while the delay changes', async () => {
    const echo = createServer((socket) => socket.pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const proxy = await startProxy('test', (echo.address() as AddressInfo).port);
    const client = connect(proxy.port, '127.0.0.1');
    await once(client, 'connect');
    client.setNoDelay(true);
    const heard = new Promise<string>((resolve) => {
      let text = '';
      client.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.endsWith('end;')) resolve(text);
      });
    });
    const words = Array.from({ length: 300 }, (_, i) => `${i};`);
    for (const [i, word] of words.entries()) {
      proxy.delay([0, 3, 1.5, 20, 0.4][i % 5]!);
      await new Promise((resolve) => client.write(word, resolve));
    }
    client.write('end;');
    expect(await heard).toBe(`${words.join('')}end;`);
    expect(proxy.held()).toBeGreaterThan(0);
    client.destroy();
    await proxy.close();
    echo.close();
  });
});

describe('a run', () => {
  const moments = (seed: number) => {
    const schedule = scheduleOf(seed, ['a', 'b', 'c', 'd', 'e']);
    return Array.from({ length: 15 }, () => {
      const { fault, pauseMs, random } = schedule.next().value;
      return { fault, pauseMs, chance: random.next() };
    });
  };

  test('is decided by its seed alone', () => {
    expect(moments(4)).toEqual(moments(4));
    expect(moments(4)).not.toEqual(moments(5));
  });

  test('has every fault once before any comes twice', () => {
    const order = moments(1).map(({ fault }) => fault);
    for (const from of [0, 5, 10]) {
      expect(order.slice(from, from + 5).toSorted()).toEqual(['a', 'b', 'c', 'd', 'e']);
    }
  });

  const runs: FaultRun[] = [
    { name: 'kill-api', fromMs: 10, toMs: 20, recoverySeconds: 1.234 },
    { name: 'kill-api', fromMs: 30, toMs: 35, recoverySeconds: 0.5 },
  ];

  test('ends with one line of JSON that has the promised fields and no others', () => {
    const result = {
      seed: 9,
      verdict: judge(soundEvidence() as Evidence),
      runs,
      acknowledgedAtMs: [],
      troubles: [],
    };
    expect(JSON.parse(lastLine(result))).toEqual({
      acknowledged: 6,
      unknown: 0,
      lost: 0,
      duplicated: 0,
      negative: 0,
      drift: 0,
      unbalanced: 0,
      unnamed: 0,
      forfeited: 0,
      decidedStale: 0,
      faults: { 'kill-api': 2 },
      recoverySecondsMax: 1.23,
      seed: 9,
    });
    expect(exitCodeOf(result)).toBe(0);
    expect(exitCodeOf({ ...result, troubles: ['a shard stopped'] })).toBe(1);
  });

  test('with anything found ends with exit code 1', () => {
    const verdict = verdictAfter(({ shown }) => {
      shown[0]!.figures.held = 1;
    });
    expect(exitCodeOf({ seed: 9, verdict, runs, acknowledgedAtMs: [], troubles: [] })).toBe(1);
  });

  test('counts what was acknowledged inside fault windows', () => {
    expect(shareInside([5, 10, 15, 25, 32, 40], runs)).toBe(0.5);
  });
});
