/** The architecture, enforced: who may import whom, what is pure, how long things are, what they may be called. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { errorTable } from '#src/errors.ts';
import { checkout } from './house/folders.ts';
import { codesForLater } from './house/later.ts';
import { blanked, filesIn, functionsOf, importsOf, type SourceFile } from './house/source.ts';

const source = filesIn(['src'], '.ts');
const workers = filesIn(['workers'], '.ts');
/** The scripts for k6 are JavaScript: they run in k6's own engine. */
const loadtests = [...filesIn(['loadtest'], '.ts'), ...filesIn(['loadtest'], '.js')];
const tests = filesIn(['test'], '.ts');
const scripts = filesIn(['src'], '.lua');
const everything = [...source, ...workers, ...loadtests, ...tests];
const manifest = JSON.parse(readFileSync(`${checkout}package.json`, 'utf8')) as {
  scripts: Record<string, string>;
};

/** Files that are started, not imported: those of npm scripts, the API process and the workers. */
function isEntry({ path }: SourceFile): boolean {
  return (
    path === 'src/main.ts' ||
    path.startsWith('workers/') ||
    Object.values(manifest.scripts).some((script) => script.includes(path))
  );
}

function folderOf(path: string): string {
  return path.split('/').slice(1, -1).join('/');
}

/** What everybody may know of: values and types without any behaviour that does I/O. */
const shared = ['src/values.ts', 'src/errors.ts', 'src/journal.ts'];
/** How a call looks and who makes it; every domain's routes speak of these. */
const calls = ['src/http/route.ts', 'src/http/faults.ts', 'src/http/problem.ts'];
const programs = ['src/earning/program.ts', 'src/earning/activity.ts'];
/** What is stored of programs. */
const programStore = ['src/earning/registry.ts', 'src/earning/versions.ts'];
/** Where the shards are. */
const redisNodes = ['src/platform/redis-nodes.ts', 'src/platform/redis-topology.ts'];
/** A day's hash tree, which both sides of the protocol make. */
const dayTree = ['src/partners/reconciliation/tree.ts', 'src/partners/reconciliation/movement.ts'];
const memberRef = 'src/members/member-ref.ts';
/** What rules know of a member: those who judge name the function that answers it. */
const judgedMember = 'src/members/judged-member.ts';

/** Files or folders that each folder may import beside itself and what is shared. Entry points may import anything. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  '': [
    'src/earning/',
    'src/partners/sealing.ts',
    'src/ledger/',
    'src/members/',
    'src/platform/',
    'src/wallet/',
    'src/redemption/',
    'src/config.ts',
  ],
  platform: [],
  'platform/local': ['src/platform/', 'src/config.ts'],
  wallet: [
    'src/platform/redis.ts',
    'src/platform/postgres.ts',
    ...redisNodes,
    'src/platform/clock.ts',
    'src/earning/rules/calendar.ts',
    ...programs,
    ...calls,
    memberRef,
  ],
  earning: [
    'src/wallet/',
    'src/earning/rules/',
    'src/earning/file/',
    'src/earning/backtest/counters.ts',
    'src/platform/command.ts',
    'src/platform/postgres.ts',
    ...calls,
    memberRef,
    judgedMember,
  ],
  'earning/file': [
    'src/earning/',
    'src/members/profile.ts',
    'src/http/faults.ts',
    'src/platform/postgres.ts',
    'src/platform/command.ts',
    'src/config.ts',
  ],
  'earning/rules': ['src/earning/file/'],
  'earning/gives': ['src/earning/', 'src/wallet/', 'src/platform/postgres.ts', ...calls],
  'earning/backtest': [
    'src/earning/',
    'src/wallet/',
    'src/platform/postgres.ts',
    'src/platform/command.ts',
    'src/platform/svg.ts',
  ],
  'earning/samples': ['src/earning/', 'src/http/keys.ts', 'src/http/route.ts', 'src/platform/postgres.ts'],
  'earning/import': ['src/config.ts'],
  'earning/demo': ['src/earning/import/', 'src/config.ts'],
  tiers: [
    'src/tiers/ladder/',
    'src/diary/measures.ts',
    'src/diary/reading.ts',
    'src/earning/',
    'src/ledger/events.ts',
    'src/members/',
    'src/wallet/',
    'src/platform/postgres.ts',
    'src/platform/command.ts',
    'src/platform/svg.ts',
    ...calls,
  ],
  'tiers/ladder': ['src/diary/measures.ts', 'src/earning/file/', 'src/earning/rules/calendar.ts'],
  redemption: [
    'src/wallet/',
    'src/earning/',
    'src/ledger/postings.ts',
    'src/platform/clock.ts',
    ...calls,
    memberRef,
    judgedMember,
  ],
  pools: [
    'src/wallet/',
    'src/earning/',
    'src/members/',
    'src/redemption/',
    'src/ledger/postings.ts',
    'src/platform/postgres.ts',
    ...calls,
  ],
  /** Who calls and whether it is so: secrets, signatures, nonces. */
  partners: [
    'src/platform/postgres.ts',
    'src/platform/clock.ts',
    'src/platform/telemetry.ts',
    'src/wallet/gathering.ts',
    ...calls,
  ],
  'partners/linking': ['src/partners/', 'src/members/', 'src/wallet/fields.ts', ...programs, ...calls],
  'partners/inbound': [
    'src/partners/',
    'src/platform/postgres.ts',
    'src/wallet/',
    'src/earning/',
    'src/members/',
    'src/ledger/postings.ts',
    'src/platform/telemetry.ts',
    ...calls,
  ],
  'partners/simulator': ['src/partners/protocol/', 'src/partners/signature.ts', ...dayTree],
  'partners/conformance': ['src/partners/protocol/', 'src/partners/signature.ts', ...dayTree],
  'partners/contracts': [
    'src/partners/protocol/schemas.ts',
    'src/earning/',
    'src/wallet/fields.ts',
    'src/wallet/lot-party.ts',
    'src/platform/postgres.ts',
    'src/platform/command.ts',
    'src/config.ts',
    ...calls,
  ],
  /** It follows the books as the diary does. */
  'partners/clearing': [
    'src/partners/contracts/',
    'src/diary/unread.ts',
    'src/diary/programs.ts',
    'src/earning/',
    'src/ledger/events.ts',
    'src/wallet/lot-party.ts',
    'src/platform/postgres.ts',
    'src/platform/telemetry.ts',
    'src/platform/command.ts',
    'src/config.ts',
    ...calls,
  ],
  /** The partners' language: it knows nobody, so that a simulator and another engine can speak it. */
  'partners/protocol': [],
  'partners/exchange': [
    'src/partners/',
    'src/earning/',
    'src/ledger/postings.ts',
    'src/ledger/events.ts',
    'src/members/',
    'src/wallet/',
    'src/platform/postgres.ts',
    'src/platform/command.ts',
    'src/platform/telemetry.ts',
    'src/config.ts',
    ...calls,
  ],
  'partners/reconciliation': [
    'src/partners/',
    'src/earning/program.ts',
    'src/earning/named.ts',
    'src/members/identity.ts',
    'src/members/identity-key.ts',
    'src/platform/postgres.ts',
    'src/platform/copying.ts',
    'src/platform/command.ts',
    'src/platform/telemetry.ts',
    'src/wallet/fields.ts',
    'src/config.ts',
    ...calls,
  ],
  members: [
    'src/earning/rules/calendar.ts',
    'src/wallet/',
    'src/tiers/',
    'src/earning/rules/types.ts',
    'src/segments/in-force.ts',
    'src/segments/reading.ts',
    'src/platform/postgres.ts',
    'src/config.ts',
    ...programs,
    ...calls,
    'src/pools/ids.ts',
    'src/partners/exchange/forgetting.ts',
  ],
  ledger: ['src/wallet/', 'src/platform/', ...programs, ...calls],
  http: [
    'src/platform/',
    'src/config.ts',
    'src/earning/file/',
    ...programs,
    ...programStore,
    'src/partners/secrets.ts',
    'src/partners/sealing.ts',
    'src/partners/door.ts',
    'src/partners/refusals.ts',
  ],
  'http/processes': ['src/app.ts', 'src/config.ts', 'src/http/', 'src/platform/'],
  segments: [
    'src/earning/',
    'src/diary/reading.ts',
    'src/ledger/events.ts',
    'src/platform/postgres.ts',
    'src/platform/command.ts',
    'src/platform/svg.ts',
    'src/wallet/lookup.ts',
    'src/wallet/operations.ts',
    'src/config.ts',
    ...calls,
  ],
  diary: [
    'src/earning/',
    'src/platform/postgres.ts',
    'src/platform/telemetry.ts',
    'src/platform/metrics.ts',
    'src/platform/command.ts',
    'src/config.ts',
  ],
  jobs: [
    'src/app.ts',
    'src/wallet/',
    'src/earning/',
    'src/redemption/',
    'src/members/',
    'src/diary/',
    'src/tiers/',
    'src/segments/',
    'src/pools/',
    'src/partners/',
    'src/ledger/',
    'src/platform/telemetry.ts',
    ...redisNodes,
  ],
};
/** The files that put everything, the API and a worker together. */
const assemblies = ['src/app.ts', 'src/http/api.ts', 'src/worker.ts'];

function matches(target: string, allowed: readonly string[]): boolean {
  return allowed.some((each) => (each.endsWith('/') ? target.startsWith(each) : target === each));
}

describe('imports', () => {
  test('go in the direction of the table, and every folder is in it', () => {
    const wrong: string[] = [];
    for (const file of source) {
      const folder = folderOf(file.path);
      if (isEntry(file) || assemblies.includes(file.path)) continue;
      const allowed = mayImport[folder];
      if (!allowed) wrong.push(`${file.path}: its folder is not in the table`);
      for (const { target } of importsOf(file)) {
        if (
          !target.startsWith('src/') ||
          folderOf(target) === folder ||
          matches(target, [...shared, ...(allowed ?? [])])
        )
          continue;
        wrong.push(`${file.path} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('values, errors and journal know nothing but zod and each other', () => {
    for (const file of source.filter(({ path }) => shared.includes(path))) {
      const others = importsOf(file).filter(
        ({ target }) => !['zod', 'node:crypto', ...shared].includes(target),
      );
      expect(others, file.path).toEqual([]);
    }
  });

  test('the composition root does not load the web, so that workers do not', () => {
    const app = source.find(({ path }) => path === 'src/app.ts')!;
    expect(
      importsOf(app).filter(({ target }) => target === 'express' || target.startsWith('src/http/')),
    ).toEqual([]);
  });

  test('Express is known to src/http alone, BullMQ to src/jobs alone', () => {
    const users = (name: string) =>
      source
        .filter((file) => importsOf(file).some(({ target }) => target === name))
        .map(({ path }) => folderOf(path));
    expect([...new Set(users('express'))]).toEqual(['http']);
    expect([...new Set(users('bullmq'))]).toEqual(['jobs']);
  });

  test('the hot path never imports Prisma', () => {
    const hot = source.filter(({ path }) =>
      /^src\/(wallet|earning|redemption|http|ledger|members)\//.test(path),
    );
    expect(hot.filter((file) => /@prisma|platform\/prisma/.test(file.text)).map(({ path }) => path)).toEqual(
      [],
    );
  });

  test('there are no barrels, and a folder is left by #src alone', () => {
    const wrong = source
      .filter((file) => file.path.endsWith('/index.ts') || /^export \*/m.test(file.text))
      .map(({ path }) => path);
    for (const file of source) {
      for (const match of file.text.matchAll(/from '(\.\.\/[^']+)'/g)) {
        const stays = file.path.split('/').length > 3 && !match[1]!.startsWith('../../');
        if (!stays) wrong.push(`${file.path} imports ${match[1]}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('the judge of a chaos run knows nothing of the engine', () => {
    const judges = loadtests.filter(({ path }) => path.startsWith('loadtest/chaos/judge/'));
    const allowed = (target: string) =>
      target.startsWith('loadtest/chaos/judge/') || target === 'pg' || target === 'node:crypto';
    const wrong = judges.flatMap((file) =>
      importsOf(file)
        .filter(({ target }) => !allowed(target))
        .map(({ target }) => `${file.path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
    expect(judges.length).toBeGreaterThan(0);
  });

  test('every file is used by somebody', () => {
    const used = new Set(everything.flatMap((file) => importsOf(file).map(({ target }) => target)));
    const mentions = (path: string) =>
      everything.some(
        (file) =>
          file.path !== path &&
          file.text.includes(path.replace(/^(src|loadtest\/chaos|loadtest|test)\//, '')),
      );
    const lost = [...source, ...workers, ...loadtests].filter(
      (file) => !isEntry(file) && !used.has(file.path) && !mentions(file.path),
    );
    expect(lost.map(({ path }) => path)).toEqual([]);
  });
});

describe('purity', () => {
  const pure = [...source, ...loadtests].filter(({ text }) =>
    /^(?:import[^\n]*\n|\s)*\/\*\*(?:\s|\*)*PURE\./.test(text),
  );

  test('there are pure files, the rules and the postings among them', () => {
    const paths = pure.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining(['src/earning/judge.ts', 'src/ledger/postings.ts', 'src/wallet/balances.ts']),
    );
  });

  test('a pure file does no I/O and reads neither clock nor chance', () => {
    const wrong: string[] = [];
    for (const file of pure) {
      for (const { target, typeOnly } of importsOf(file)) {
        if (typeOnly) continue;
        if (
          /^(ioredis|pg|bullmq|express|node:(fs|net|http|child_process|timers).*)$/.test(target) ||
          (target.startsWith('src/platform/') && !pure.some(({ path }) => path === target))
        )
          wrong.push(`${file.path} imports ${target}`);
      }
      const found =
        /\bDate\.now\(|new Date\(\)|Math\.random\(|performance\.now\(|random(?:UUID|Bytes|Fill)\b|\bawait\b/.exec(
          blanked(file.text),
        );
      if (found) wrong.push(`${file.path} uses ${found[0]}`);
    }
    expect(wrong).toEqual([]);
  });
});

describe('size', () => {
  test('a file has at most 400 lines, a test 600, a script 240', () => {
    const limit = ({ path }: SourceFile) =>
      path.endsWith('.test.ts') ? 600 : path.endsWith('.lua') ? 240 : 400;
    const long = [...everything, ...scripts].filter((file) => file.lines > limit(file));
    expect(long.map(({ path, lines }) => `${path}: ${lines}`)).toEqual([]);
  });

  test('a function has at most 60 lines of its own, a block of tests with its tables 80', () => {
    const long = everything.flatMap((file) =>
      functionsOf(file)
        .filter(({ ownLines }) => ownLines > (file.path.endsWith('.test.ts') ? 80 : 60))
        .map(({ line, ownLines }) => `${file.path}:${line}: ${ownLines}`),
    );
    expect(long).toEqual([]);
  });
});

describe('names and words', () => {
  test('nothing is called Service, Manager, Helper, Util, Common, Base, Impl or Data', () => {
    const declared =
      /\b(?:class|interface|type|function|const|let)\s+(\w*(?:Service|Manager|Helpers?|Utils?|Common|Base|Impl|[a-z]Data))\b/g;
    const wrong = everything.flatMap((file) =>
      [...file.text.matchAll(declared)].map((match) => `${file.path}: ${match[1]}`),
    );
    const files = everything.filter(({ path }) =>
      /(service|manager|helpers?|utils?|common|base|impl)\.[tj]s$/.test(path),
    );
    expect([...wrong, ...files.map(({ path }) => path)]).toEqual([]);
  });

  test('`transaction` alone names nothing: it means four things', () => {
    const declared =
      /\b(?:class|interface|type|function|const|let)\s+transactions?\b|\b(?:\(|, )transaction[:,)]/i;
    expect(everything.filter(({ text }) => declared.test(blanked(text))).map(({ path }) => path)).toEqual([]);
  });

  test('nothing is left to be done later without an issue', () => {
    const left = new RegExp(['TO', 'DO|FIX', 'ME|X', 'XX'].join('').replaceAll('|', '\\b|\\b'));
    expect([...everything, ...scripts].filter(({ text }) => left.test(text)).map(({ path }) => path)).toEqual(
      [],
    );
  });

  test('no two tests under one heading have one name', () => {
    const twice: string[] = [];
    for (const file of tests.filter(({ path }) => path.endsWith('.test.ts'))) {
      for (const heading of file.text.split(/^describe/m)) {
        const names = [...heading.matchAll(/\b(?:test|scenario)\(\s*'([^'\n]+)'/g)].map((match) => match[1]!);
        for (const name of names.filter((each, i) => names.indexOf(each) !== i))
          twice.push(`${file.path}: ${name}`);
      }
    }
    expect(twice).toEqual([]);
  });

  test('tests wait for conditions, never for time', () => {
    const allowed = ['test/house/waiting.ts', 'test/house/load.ts'];
    const sleepers = tests.filter(
      (file) =>
        !allowed.includes(file.path) &&
        importsOf(file).some(({ target }) => target === 'node:timers/promises'),
    );
    expect(sleepers.map(({ path }) => path)).toEqual([]);
  });
});

describe('one place for each thing', () => {
  test('the environment is read in config.ts alone, and passed on by processes.ts', () => {
    const readers = [...source, ...workers]
      .filter(({ text }) => /process\.env\b/.test(blanked(text)))
      .map(({ path }) => path);
    expect(readers.toSorted()).toEqual(['src/config.ts', 'src/platform/local/processes.ts']);
  });

  test('names of Redis keys are built in wallet/keys.ts alone', () => {
    const builders = [...source, ...workers].filter(
      ({ path, text }) =>
        path !== 'src/wallet/keys.ts' && /['"`]\{s|\}:(?:journal|evictedThrough|[moi]:)/.test(text),
    );
    expect(builders.map(({ path }) => path)).toEqual([]);
  });

  test('every script says what it does, what it is given and what it answers', () => {
    for (const { path, text } of scripts) {
      const header = /^(?:--[^\n]*\n)+/.exec(text)?.[0] ?? '';
      expect(header, path).toMatch(/^-- [A-Z]/);
      if (/part of every/.test(header)) continue;
      expect(header, path).toMatch(/^-- (?:input|ARGV|KEYS) /m);
      expect(header, path).toMatch(/^-- (?:answers|record) /m);
    }
  });

  test('the first write of an operation is its journal record: XADD stands in the prelude alone', () => {
    expect(scripts.filter(({ text }) => text.includes("'XADD'")).map(({ path }) => path)).toEqual([
      'src/wallet/scripts/prelude.lua',
    ]);
  });

  test('every error code of the table is answered somewhere, or waits for a reason', () => {
    const texts = [
      ...source.filter(({ path }) => !/errors\.ts|problem-advice\.ts/.test(path)),
      ...scripts,
    ].map(({ text }) => text);
    const unused = Object.keys(errorTable).filter(
      (code) => !texts.some((text) => text.includes(`'${code}'`) || text.includes(`${code} =`)),
    );
    expect(unused.toSorted()).toEqual(Object.keys(codesForLater).toSorted());
  });

  test('the top level holds what the design names', () => {
    const allowed = [
      'package.json',
      'package-lock.json',
      'tsconfig.json',
      'src',
      'prisma',
      'workers',
      'loadtest',
      'test',
    ];
    allowed.push(
      'docker-compose.yml',
      'Dockerfile',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'vitest.config.ts',
      'prisma.config.ts',
    );
    const strangers = readdirSync(checkout).filter(
      (name) => !name.startsWith('.') && name !== 'node_modules' && !allowed.includes(name),
    );
    expect(strangers).toEqual([]);
  });
});
