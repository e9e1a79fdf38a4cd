/**
 * Where the Redis of a bare machine comes from: the PATH, or the packages of Debian and Ubuntu, fetched with apt and
 * unpacked into a folder of ours. Nothing of the system is written, not even apt's cache: that, and fresh package lists
 * when the machine's are empty or out of date, live in a draft folder that is thrown away. Redis 7.0 is the oldest that knows `XADD <epoch>-*`.
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Command, type Outcome, run, StartRefusal } from './processes.ts';

export interface RedisProgram {
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
}

const orGiveUrl = 'or start one elsewhere and give its REDIS_URL';

/** Finds a server of version 7.0 or newer, fetching it when that is possible without changing the system. */
export async function redisProgram(
  cacheDir: string,
  onProgress: (sentence: string) => void,
  abort?: AbortSignal,
): Promise<RedisProgram> {
  const tooOld: string[] = [];
  for (const file of ['redis-server', 'valkey-server']) {
    const version = await versionOf({ file, env: {} });
    if (version?.isNewEnough) return { file, env: {} };
    if (version !== undefined) tooOld.push(`${file} ${version.text} on the PATH is older than 7.0. `);
  }
  const unpacked = join(resolve(cacheDir), 'redis-server');
  const kept = await unpackedProgram(unpacked);
  if ((await versionOf(kept))?.isNewEnough) return kept;

  const apt = await run({ file: 'apt-get', args: ['--version'] }, 10_000);
  if (process.platform !== 'linux' || apt.code !== 0)
    throw new StartRefusal(tooOld.join('') + (await howToInstall()));
  onProgress("Fetching Redis from this distribution's packages (about 2 MB, only once) …");
  await fetchWithApt(resolve(cacheDir), unpacked, abort);
  const fetched = await unpackedProgram(unpacked);
  const version = await versionOf(fetched);
  if (version?.isNewEnough) return fetched;
  const found = version === undefined ? 'does not run here' : `is ${version.text}, older than 7.0`;
  throw new StartRefusal(
    `${tooOld.join('')}The Redis of this distribution ${found}: install Redis or Valkey 7.0 or newer so that it is on the ` +
      `PATH, ${orGiveUrl}.`,
  );
}

async function versionOf(program: RedisProgram): Promise<{ text: string; isNewEnough: boolean } | undefined> {
  const answer = await run({ file: program.file, args: ['--version'], env: program.env }, 10_000);
  const match = /\bv=(\d+)\.(\d+)\.(\d+)/.exec(answer.stdout);
  if (answer.code !== 0 || match === null) return undefined;
  return { text: match[0].slice(2), isNewEnough: Number(match[1]) >= 7 };
}

/** The unpacked program with its libraries: everything the packages brought below a folder like lib/x86_64-linux-gnu. */
async function unpackedProgram(folder: string): Promise<RedisProgram> {
  const libraries: string[] = [];
  for (const parent of [join(folder, 'usr', 'lib'), join(folder, 'lib')]) {
    const names = await readdir(parent).catch(() => []);
    libraries.push(...names.filter((name) => name.includes('-linux-')).map((name) => join(parent, name)));
  }
  const env: Record<string, string> = libraries.length > 0 ? { LD_LIBRARY_PATH: libraries.join(':') } : {};
  return { file: join(folder, 'usr', 'bin', 'redis-server'), env };
}

/** Unpacks into a draft and renames it when it is whole: of several starts at once the first one's stays. */
async function fetchWithApt(cacheDir: string, target: string, abort: AbortSignal | undefined): Promise<void> {
  await mkdir(cacheDir, { recursive: true });
  const draft = await mkdtemp(join(cacheDir, 'redis-server.new-'));
  try {
    const archives = await downloadPackages(draft, abort);
    const tree = join(draft, 'tree');
    for (const archive of archives) {
      const unpacking = await run({ file: 'dpkg', args: ['-x', archive, tree] }, 60_000, abort);
      if (unpacking.code !== 0) throw refusal(unpacking);
    }
    await rename(tree, target).catch(async () => {
      // There is one already: another start's, whole and usable, or one that no longer runs on this machine.
      if ((await versionOf(await unpackedProgram(target))) !== undefined) return;
      await rm(target, { recursive: true, force: true });
      await rename(tree, target);
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** First with the lists that the machine has; when they are empty or out of date, with fresh ones in the draft folder. */
async function downloadPackages(draft: string, abort: AbortSignal | undefined): Promise<string[]> {
  const debs = join(draft, 'packages');
  for (const part of ['packages', 'state/lists/partial', 'cache/archives/partial']) {
    await mkdir(join(draft, part), { recursive: true });
  }
  const withSystemLists = await writeAptSettings(draft, 'system');
  const first = await download(withSystemLists, debs, abort);
  if (first.code !== 0) {
    abort?.throwIfAborted();
    const withOwnLists = await writeAptSettings(draft, 'own');
    // Its exit code says little: one unreachable third-party source fails it while the distribution's lists are there.
    const update = await run(apt(withOwnLists, ['update'], draft), 180_000, abort);
    const second = await download(withOwnLists, debs, abort);
    abort?.throwIfAborted();
    if (second.code !== 0) throw refusal({ ...second, stderr: `${update.stderr}\n${second.stderr}` });
  }
  return (await readdir(debs)).filter((name) => name.endsWith('.deb')).map((name) => join(debs, name));
}

/** Asks apt what installing would bring, and downloads of that the programs and the libraries. */
async function download(settings: string, folder: string, abort: AbortSignal | undefined): Promise<Outcome> {
  const args = ['install', '--simulate', '--no-install-recommends', 'redis-server'];
  const plan = await run(apt(settings, args, folder), 60_000, abort);
  if (plan.code !== 0) return plan;
  const planned = [...plan.stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1]!);
  // The binary is in redis-tools, which a machine may have without redis-server, where it is a link.
  const wanted = new Set([
    'redis-server',
    'redis-tools',
    ...planned.filter((name) => /^(lib|lua)/.test(name)),
  ]);
  return run(apt(settings, ['download', ...wanted], folder), 180_000, abort);
}

function apt(settings: string, args: readonly string[], cwd: string): Command {
  return { file: 'apt-get', args: ['-q', '-y', '-c', settings, ...args], cwd };
}

/** The update hooks are cleared because a distribution's may write outside the draft folder. */
async function writeAptSettings(draft: string, lists: 'system' | 'own'): Promise<string> {
  const path = join(draft, `apt-${lists}.conf`);
  const lines = [
    `Dir::Cache "${join(draft, 'cache')}";`,
    ...(lists === 'own'
      ? [`Dir::State "${join(draft, 'state')}";`, 'Dir::State::status "/var/lib/dpkg/status";']
      : []),
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
    'Acquire::Retries "2";',
    'Acquire::http::Timeout "20";',
    'Acquire::https::Timeout "20";',
  ];
  await writeFile(path, `${lines.join('\n')}\n`);
  return path;
}

function refusal(failed: Outcome): StartRefusal {
  // The first failure is the cause, the last what apt made of it.
  const lines = failed.stderr.split('\n').filter((line) => /^(E:|W: Failed|Err:|dpkg)/.test(line));
  const said = [...new Set([lines[0], lines.at(-1)])].join(' ');
  return new StartRefusal(
    `Redis could not be fetched from this distribution's packages (${said || 'no answer in time'}): connect this machine ` +
      `to the network for the first start, install redis-server 7.0 or newer, ${orGiveUrl}.`,
  );
}

async function howToInstall(): Promise<string> {
  if (process.platform === 'darwin') return `No Redis here: run \`brew install redis\`, ${orGiveUrl}.`;
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const commands: [RegExp, string][] = [
    [/^ID(_LIKE)?=.*(fedora|rhel|centos)/m, 'dnf install redis'],
    [/^ID(_LIKE)?=.*alpine/m, 'apk add redis'],
    [/^ID(_LIKE)?=.*arch/m, 'pacman -S valkey'],
    [/^ID(_LIKE)?=.*suse/m, 'zypper install redis'],
  ];
  const command = commands.find(([pattern]) => pattern.test(release))?.[1];
  const how = command === undefined ? 'with your package manager' : `as root with \`${command}\``;
  return `No Redis here: install Redis or Valkey 7.0 or newer ${how}, ${orGiveUrl}.`;
}
