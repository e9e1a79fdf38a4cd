/** What keeps two versions apart or together without any server: formats of records, literals of scripts, migrations. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  effectSchema,
  legSchema,
  NewerRecord,
  parseRecord,
  recordFormat,
  UnreadableRecord,
} from '#src/journal.ts';
import { openingOf, readEntry, rebookedFields } from '#src/ledger/journal-entry.ts';
import { operationPrefix } from '#src/values.ts';
import { ownScripts, scriptsOf, unknownLiterals } from '#src/wallet/scripts.ts';
import { checkout } from './house/folders.ts';

const shardEpoch = { shard: 3, epoch: 7, coldBelow: 5, replicationId: 'abc' };
const columns = [
  ...['accrual', '5', '0'.repeat(32), '', '', '1', '1', '1', '', '', '1', '', '{}'],
  '{"legs":[],"balances":[]}',
];

describe('the format of journal records', () => {
  test('is raised whenever an older writer could not book a record: a kind, a column, an account or a part of the effect more', () => {
    const accounts = legSchema.options.flatMap((option) => {
      const [account] = option.def.items;
      if (account && 'values' in account) return [...(account.values as Set<string>)];
      return account && 'options' in account ? (account.options as string[]) : [];
    });
    const parts = Object.keys(effectSchema.shape);
    const kinds = Object.keys(operationPrefix);
    expect({ recordFormat, kinds, columns: columns.length, accounts, parts }).toEqual({
      recordFormat: 4,
      kinds: [
        ...['accrual', 'redemption', 'capture', 'hold', 'release', 'reversal', 'refund', 'return'],
        ...[
          'adjustment',
          'extension',
          'unlock',
          'transfer',
          'transfer_credit',
          'transfer_refusal',
          'transfer_return',
          'expiry',
        ],
        ...['status', 'recovery', 'correction', 'tier', 'exchange_out', 'exchange_in'],
      ],
      columns: 14,
      accounts: [
        ...['wallet', 'held', 'debt', 'issuance', 'redemption', 'breakage', 'adjustment', 'clearing'],
        ...['unclaimed', 'partner', 'suspense', 'recovered'],
      ],
      parts: [
        ...['legs', 'balances', 'shortfall', 'expired', 'counters', 'given', 'budgets', 'full', 'expiresAt'],
        ...['holds', 'status', 'frozen', 'facts', 'into'],
      ],
    });
    expect(parseRecord('7-1', ['record', columns.join('\t')])).toMatchObject({ kind: 'accrual', member: 5 });
  });

  test('above the own one is told from a record that nobody can read', () => {
    const newer = recordFormat + 1;
    const read = (word: string) => () => readEntry('7-1', [word, 'whatever it says']);
    for (const word of [`record.${newer}`, `rebooked.${newer}`, `kind.${newer}`])
      expect(read(word), word).toThrow(NewerRecord);
    expect(() => openingOf('7-0', [`kind.${newer}`, 'opened'])).toThrow(NewerRecord);
    for (const word of ['record', 'record.x', 'rebooked', 'note']) {
      expect(read(word), word).toThrow(UnreadableRecord);
      expect(read(word), word).not.toThrow(NewerRecord);
    }
  });

  test('of what recovery books again is in the name of its field too', () => {
    const { epoch, seq, ...record } = readEntry('7-1', ['record', columns.join('\t')]).record as ReturnType<
      typeof parseRecord
    > & { kind: 'accrual' };
    expect(readEntry('9-4', rebookedFields(record as never)).record).toEqual({ ...record, epoch: 9, seq: 4 });
    expect([epoch, seq]).toEqual([7, 1]);
  });
});

describe('the literals of a script', () => {
  test('are all put in: nothing of a template is left', () => {
    const scripts = Object.values(scriptsOf(shardEpoch));
    expect(scripts.filter(({ text }) => text.includes('@{'))).toEqual([]);
    for (const { text } of scripts)
      expect(text).not.toMatch(/\b(?:PREFIX|EPOCH|COLD_BELOW|NEXT_ID|HISTORY)\b/);
    expect(scriptsOf(shardEpoch).accrue.text).toContain(
      `'XADD', '{s03}:journal', 'NOMKSTREAM', '7-*', 'record.4',`,
    );
    expect(unknownLiterals(ownScripts)).toEqual([]);
  });

  test('that this version does not know are named, and no script is made of them', () => {
    const templates = { accrue: "return '@{epoch}'", spend: 'return @{planet} + @{epoch} + @{planet}' };
    expect(unknownLiterals({ templates })).toEqual(['planet']);
    expect(() => scriptsOf(shardEpoch, { templates })).toThrow(/literal planet/);
  });

  test('of another version may be fewer', () => {
    const { accrue } = scriptsOf<'accrue'>(shardEpoch, { templates: { accrue: 'return @{epoch}' } });
    expect(accrue.text).toBe('return 7');
  });
});

test('every migration says whether processes of the version before go on after it', () => {
  const folder = join(checkout, 'prisma/migrations');
  const since = '20261122060000';
  const names = readdirSync(folder).filter((name) => /^\d+_/.test(name) && name >= since);
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) {
    const sql = readFileSync(join(folder, name, 'migration.sql'), 'utf8');
    const isCompatible = sql.includes(`insert into compatible_migration (migration) values ('${name}')`);
    expect(isCompatible || /^-- Stops older versions: \S/m.test(sql), name).toBe(true);
  }
});
