import { describe, expect, test } from 'vitest';
import { linked } from '#src/wallet/script-text.ts';

const part = `-- Part of every script.
local FIRST, SECOND = 1, 'two'

local unused = redis.call

local function deepest(number)
  return number
end

-- Adds one.
local function added(number)
  return deepest(number) + FIRST
end

local function everyday(number)
  return number
end

-- Where hardly anybody comes.
-- Rare.
local function rare(number)
  return added(everyday(number))
end
`;

describe("a script's text", () => {
  test('holds what it names and what that names, nothing else; constants stand where they are named', () => {
    const text = linked('-- Does it.\nreturn { added(SECOND), THIRD }\n', [part], { THIRD: "'@{epoch}'" });
    expect(text.split('\n')).toEqual([
      'local function deepest(number)',
      'return number',
      'end',
      'local function added(number)',
      'return deepest(number) + 1',
      'end',
      "return { added('two'), '@{epoch}' }",
      '',
    ]);
  });

  test('makes what only a rare function names inside that function, and what others name beside it', () => {
    expect(linked('return rare(everyday(1))\n', [part], { THIRD: '3' }).split('\n')).toEqual([
      'local function everyday(number)',
      'return number',
      'end',
      'local function rare(number)',
      'local function deepest(number)',
      'return number',
      'end',
      'local function added(number)',
      'return deepest(number) + 1',
      'end',
      'return added(everyday(number))',
      'end',
      'return rare(everyday(1))',
      '',
    ]);
  });

  test('is not made of a shared part that does something by itself', () => {
    expect(() => linked('return 1\n', ["redis.call('DEL', 'x')\n"], { THIRD: '3' })).toThrow(
      'more than definitions',
    );
  });

  test('does not take a word in quotes for a name', () => {
    expect(linked("return 'added'\n", [part], { THIRD: '3' })).toBe("return 'added'\n");
  });
});
