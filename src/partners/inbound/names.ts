/**
 * PURE. Whether a name that a partner sends is that of the member. Tickets write `LI/XIAOMING MR`, banks `Xiao Ming Li`, members
 * `李小明`; none of these is wrong.
 *
 * - Latin names fit in any order of family and given names, however the syllables of given names are joined, without titles,
 *   accents, hyphens and apostrophes, and with `ü` as `ue`, `ß` as `ss`, `ø` as `oe`. A given name may be its initial.
 * - Chinese names fit by their characters, simplified or traditional as far as family names go, without spaces and titles.
 * - A Chinese name and a Latin one are not compared: which characters a spelling means cannot be known (`Li` is 李, 黎, 利, …).
 *   A program that keeps both spellings of its members (`name` and `latinName`) can compare either.
 */

export type Comparison = 'full' | 'initials' | 'not_compared' | 'differs';

const titles = new Set([
  'mr',
  'mrs',
  'ms',
  'miss',
  'mstr',
  'master',
  'dr',
  'prof',
  'sir',
  'herr',
  'frau',
  'mme',
  'mlle',
]);
const chineseTitles = /(?:先生|女士|小姐|太太|博士|教授)$/u;
/** More parts than any name has; it bounds the work. */
const partsMax = 8;

/** Letters whose usual spelling without them is more than one letter. */
const spelledOut: Readonly<Record<string, string>> = {
  ä: 'ae',
  ö: 'oe',
  ü: 'ue',
  ß: 'ss',
  æ: 'ae',
  œ: 'oe',
  ø: 'oe',
  å: 'aa',
  þ: 'th',
  ð: 'd',
  ł: 'l',
  đ: 'd',
  ı: 'i',
};

/** Traditional family names with another simplified form, by that form. */
const simplified: Readonly<Record<string, string>> = Object.fromEntries(
  [
    ...'張张陳陈劉刘趙赵黃黄吳吴孫孙馬马葉叶許许鄧邓馮冯蕭萧鄭郑謝谢羅罗韓韩盧卢鍾钟蔣蒋賈贾魯鲁呂吕蘇苏湯汤龔龚範范萬万錢钱嚴严龍龙華华閻阎賴赖譚谭鄒邹關关陸陆顧顾莊庄歐欧陽阳楊杨國国偉伟麗丽強强軍军傑杰濤涛輝辉鳳凤蘭兰慶庆東东紅红榮荣寶宝貴贵艷艳鵬鹏學学曉晓',
  ].reduce<[string, string][]>((pairs, character, i, all) => {
    if (i % 2 === 0) pairs.push([character, all[i + 1]!]);
    return pairs;
  }, []),
);

const isHan = (text: string) => /\p{Script=Han}/u.test(text);

/** The characters of a Chinese name. */
function hanOf(text: string): string {
  const characters = text
    .normalize('NFKC')
    .replaceAll(/[^\p{Script=Han}]/gu, '')
    .replace(chineseTitles, '');
  return [...characters].map((character) => simplified[character] ?? character).join('');
}

const withoutMarks = (text: string) => text.normalize('NFD').replaceAll(/\p{M}/gu, '');

/** Parts of a Latin name; `spell` turns special letters into plain ones. */
function partsOf(text: string, spell: (text: string) => string): string[] {
  const plain = spell(
    text
      .normalize('NFKC')
      .toLowerCase()
      .replaceAll(/[’'‘`´.]/g, ''),
  );
  const parts = plain.split(/[^\p{L}]+/u).filter((part) => part !== '');
  // Airlines write the title behind the given name without a blank: `XIAOMINGMR` cannot be told apart, `MR` alone can.
  const named = parts.filter((part) => !titles.has(part));
  return (named.length > 0 ? named : parts).slice(0, partsMax);
}

const umlauts = (text: string) =>
  withoutMarks([...text].map((letter) => spelledOut[letter] ?? letter).join(''));
const bare = (text: string) =>
  withoutMarks(text).replaceAll(/[ßæœøåþðłđı]/g, (letter) => spelledOut[letter]!.slice(0, 1));

/** Both ways to write a name without special letters: `mueller` and `muller`. */
function spellingsOf(text: string): string[][] {
  return [partsOf(text, umlauts), partsOf(text, bare)];
}

function sorted(parts: readonly string[]): string {
  return parts.toSorted().join(' ');
}

/** A name read from each of its parts on, without blanks: `xiaomingli`, `mingLixiao`, `lixiaoming`. */
function turnsOf(parts: readonly string[]): string[] {
  return parts.map((_, i) => [...parts.slice(i), ...parts.slice(0, i)].join(''));
}

function fitsFully(a: readonly string[], b: readonly string[]): boolean {
  if (a.length === 0 || b.length === 0) return false;
  if (sorted(a) === sorted(b)) return true;
  const turns = new Set(turnsOf(a));
  return turnsOf(b).some((turn) => turns.has(turn));
}

/** One whole part alike, and all others alike or the initial of one another, each once. */
function fitsByInitials(a: readonly string[], b: readonly string[]): boolean {
  const [short, long] = a.length <= b.length ? [a, b] : [b, a];
  const left = [...long];
  let whole = 0;
  const byLength = short.toSorted((x, y) => y.length - x.length);
  for (const part of byLength) {
    const same = left.indexOf(part);
    const at =
      same >= 0
        ? same
        : left.findIndex((other) => (part.length === 1 || other.length === 1) && part[0] === other[0]);
    if (at < 0) return false;
    if (same >= 0 && part.length > 1) whole += 1;
    left.splice(at, 1);
  }
  // What is left over are further given names that one side does not write.
  return whole > 0 && short.length >= 2;
}

function compareLatin(sent: string, kept: string): Comparison {
  const [ours, theirs] = [spellingsOf(kept), spellingsOf(sent)];
  const some = (fits: (a: readonly string[], b: readonly string[]) => boolean) =>
    ours.some((a) => theirs.some((b) => fits(a, b)));
  if (some(fitsFully)) return 'full';
  return some(fitsByInitials) ? 'initials' : 'differs';
}

function compareOne(sent: string, kept: string): Comparison {
  if (isHan(sent) !== isHan(kept)) return 'not_compared';
  if (!isHan(sent)) return compareLatin(sent, kept);
  const [a, b] = [hanOf(sent), hanOf(kept)];
  return a !== '' && a === b ? 'full' : 'differs';
}

const ranks: readonly Comparison[] = ['full', 'initials', 'differs', 'not_compared'];

/** How a name stands to all spellings that are kept: as the one that fits best. */
export function compareNames(sent: string, kept: readonly string[]): Comparison {
  const found = new Set(kept.map((each) => compareOne(sent, each)));
  return ranks.find((rank) => found.has(rank)) ?? 'not_compared';
}

/** The spellings of a member's name among its attributes. */
export function namesIn(attributes: Readonly<Record<string, unknown>> | undefined): string[] {
  const text = (name: string) => {
    const value = attributes?.[name];
    return typeof value === 'string' && value.trim() !== '' ? value : undefined;
  };
  const joined = (family: string, given: string) => {
    const [first, second] = [text(family), text(given)];
    return first === undefined && second === undefined
      ? undefined
      : [first, second].filter(Boolean).join(' ');
  };
  return [
    text('name'),
    text('latinName'),
    joined('familyName', 'givenName'),
    joined('lastName', 'firstName'),
  ].filter((each) => each !== undefined);
}
