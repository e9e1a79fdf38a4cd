/** Names as tickets, banks and members write them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareNames, namesIn } from '#src/partners/inbound/names.ts';

describe('a name that a partner sends', () => {
  test.each([
    ['LI/XIAOMING MR', 'Li Xiaoming', 'full'],
    ['Xiao Ming Li', 'Li Xiaoming', 'full'],
    ['XIAOMING LI', 'Li, Xiao-Ming', 'full'],
    ['Müller, Jürgen', 'Juergen Mueller', 'full'],
    ['MULLER/JURGEN MR', 'Jürgen Müller', 'full'],
    ['Strauss Anna', 'Anna Strauß', 'full'],
    ["O'Brien Conor", 'Conor O’Brien', 'full'],
    ['Dr. José María García', 'GARCIA JOSE MARIA', 'full'],
    ['ＬＩ　ＸＩＡＯＭＩＮＧ', 'Li Xiaoming', 'full'],
    ['J. Smith', 'John Smith', 'initials'],
    ['Smith John', 'John Quincy Smith', 'initials'],
    ['Smith', 'John Smith', 'differs'],
    ['J. S.', 'John Smith', 'differs'],
    ['Jane Smith', 'John Smith', 'differs'],
    ['Li Xiaohong', 'Li Xiaoming', 'differs'],
    ['王小明', '王小明', 'full'],
    ['張小明', '张小明', 'full'],
    ['王 小明 先生', '王小明', 'full'],
    ['王小红', '王小明', 'differs'],
    ['Wang Xiaoming', '王小明', 'not_compared'],
    ['王小明', 'Wang Xiaoming', 'not_compared'],
    ['...', 'Li Xiaoming', 'differs'],
  ])('%s against %s: %s', (sent, kept, expected) => {
    expect(compareNames(sent, [kept])).toBe(expected);
  });

  test('fits when it fits one of the spellings that are kept', () => {
    expect(compareNames('WANG/XIAOMING MS', ['王小明', 'Wang Xiaoming'])).toBe('full');
    expect(compareNames('王小明', ['王小明', 'Wang Xiaoming'])).toBe('full');
    expect(compareNames('LI/XIAOMING', ['王小明', 'Wang Xiaoming'])).toBe('differs');
  });

  test('is not compared with nothing', () => {
    expect(compareNames('Li Xiaoming', [])).toBe('not_compared');
    expect(compareNames('Li Xiaoming', namesIn({ shoeSize: 42, name: ' ' }))).toBe('not_compared');
  });

  test('is read from the attributes of members', () => {
    expect(namesIn({ name: '王小明', latinName: 'Wang Xiaoming' })).toEqual(['王小明', 'Wang Xiaoming']);
    expect(namesIn({ familyName: 'Smith', givenName: 'John' })).toEqual(['Smith John']);
  });

  test('fits itself, in any order of its parts and in capitals', () => {
    const part = fc.stringMatching(/^[a-z]{2,8}$/);
    fc.assert(
      fc.property(fc.uniqueArray(part, { minLength: 2, maxLength: 4 }), (parts) => {
        const kept = parts.join(' ');
        expect(compareNames([...parts].reverse().join('/').toUpperCase(), [kept])).toBe('full');
      }),
    );
  });

  test('never takes long, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 128, unit: 'binary' }),
        fc.string({ maxLength: 128, unit: 'binary' }),
        (a, b) => {
          expect(['full', 'initials', 'not_compared', 'differs']).toContain(compareNames(a, [b]));
        },
      ),
    );
  });
});
