/**
 * k6 itself: found on the PATH, else built once by Go into the checkout's cache, else taken from its container, else one
 * sentence for each system on how to get it.
 */
import { spawn } from 'node:child_process';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { endProcess, environmentWith, run } from '#src/platform/local/processes.ts';
import type { Surroundings } from '../contestant.ts';

/** The version that is built or pulled; one that is on the PATH is taken as it is. */
const k6Version = '1.8.1';
const askMsMax = 20_000;
/** k6 compiles some 1,500 packages: three minutes on two quiet cores, more than ten on busy ones. */
const buildMsMax = 30 * 60_000;
const pullMsMax = 10 * 60_000;

/** How k6 is called. */
export interface K6 {
  /** Where it comes from, for people. */
  readonly source: string;
  readonly file: string;
  /** What stands before k6's own arguments; the scripts are in `folder`, the settings in variables of these names. */
  prefix(folder: string, names: readonly string[]): readonly string[];
  /** The path of a script in `folder` as k6 sees it. */
  scriptPath(folder: string, script: string): string;
}

type Around = Pick<Surroundings, 'cacheDir' | 'abort' | 'print'>;

async function answers(file: string, args: readonly string[]): Promise<string | undefined> {
  const { code, stdout } = await run({ file, args }, askMsMax);
  return code === 0 ? stdout.trim() : undefined;
}

async function ofFile(file: string): Promise<K6 | undefined> {
  const version = await answers(file, ['version']);
  if (version === undefined) return undefined;
  const source = `${version.split('\n')[0]!.replace(/ \(.*$/, '')} (${file})`;
  return { source, file, prefix: () => [], scriptPath: (folder, script) => join(folder, script) };
}

function builtPath(cacheDir: string): string {
  return join(cacheDir, `k6-${k6Version}`, 'k6');
}

/** The k6 that is there already: on the PATH, or built by an earlier run. */
export async function presentK6(cacheDir: string): Promise<K6 | undefined> {
  return (await ofFile('k6')) ?? (await ofFile(builtPath(cacheDir)));
}

async function builtByGo({ cacheDir, abort, print }: Around): Promise<K6 | undefined> {
  // The second is where Go's own installer puts it, which not every shell has on its PATH.
  for (const go of ['go', '/usr/local/go/bin/go']) {
    if ((await answers(go, ['version'])) === undefined) continue;
    const path = builtPath(cacheDir);
    const unfinished = `${dirname(path)}.unfinished`;
    print(`Building k6 ${k6Version} with Go, once; it takes some minutes …`);
    await mkdir(unfinished, { recursive: true });
    const build = await run(
      { file: go, args: ['install', `go.k6.io/k6@v${k6Version}`], env: { GOBIN: unfinished } },
      buildMsMax,
      abort,
    );
    abort.throwIfAborted();
    if (build.code === 0) {
      await rm(dirname(path), { recursive: true, force: true });
      await rename(unfinished, dirname(path));
      return ofFile(path);
    }
    print(`Go could not build k6: ${build.stderr.trim().split('\n').at(-1)}`);
    return undefined;
  }
  return undefined;
}

async function inContainer({ abort, print }: Around): Promise<K6 | undefined> {
  if ((await answers('docker', ['version', '--format', '{{.Server.Version}}'])) === undefined)
    return undefined;
  const image = `grafana/k6:${k6Version}`;
  const pull = await run({ file: 'docker', args: ['pull', '--quiet', image] }, pullMsMax, abort);
  abort.throwIfAborted();
  if (pull.code !== 0) {
    print(`The container ${image} could not be pulled: ${pull.stderr.trim().split('\n').at(-1)}`);
    return undefined;
  }
  return {
    source: `container ${image}`,
    file: 'docker',
    // The network of the host, because an installation of its own listens on 127.0.0.1 only.
    prefix: (folder, names) => [
      ...['run', '--rm', '--network', 'host', '--volume', `${folder}:/k6:ro`],
      ...names.flatMap((name) => ['--env', name]),
      image,
    ],
    scriptPath: (_, script) => `/k6/${script}`,
  };
}

const howToGet = `k6 is not here, and neither Go nor Docker is there to get it with.
  macOS           brew install k6
  Debian, Ubuntu  add k6's package source (https://grafana.com/docs/k6/latest/set-up/install-k6/), then apt-get install k6
  Fedora          dnf install https://dl.k6.io/rpm/repo.rpm && dnf install k6
  Windows         winget install k6 --source winget
  anywhere        start Docker, or install Go from https://go.dev/dl/, and run this again`;

/** Finds or fetches k6; throws a sentence that says how to get it. */
export async function findK6(around: Around): Promise<K6> {
  const found =
    (await presentK6(around.cacheDir)) ?? (await builtByGo(around)) ?? (await inContainer(around));
  if (!found) throw new Error(howToGet);
  return found;
}

interface K6Run {
  readonly script: string;
  /** Folder of the scripts. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly seconds: number;
  /** Ends k6 early, and gracefully: it still tells its figures. */
  readonly interrupt: AbortSignal;
}

/** Beyond the duration: compiling, starting users, 20 s for calls under way, figures. */
const graceMs = 120_000;
const stopSteps = [
  { signal: 'SIGINT' as const, waitMs: 40_000 },
  { signal: 'SIGKILL' as const, waitMs: 5_000 },
];
const thresholdsFailed = 99;
const endedFromOutside = 105;

/** Runs a script and answers its summary. Warnings and errors of k6 go to standard error. */
export async function runK6(k6: K6, { script, folder, env, seconds, interrupt }: K6Run): Promise<string> {
  const args = [
    ...k6.prefix(folder, Object.keys(env)),
    ...['run', '--quiet', '--no-color', '--no-usage-report', '--address', ''],
    k6.scriptPath(folder, script),
  ];
  // A session of its own: Ctrl-C reaches this process only, and k6 then gets one signal, since two end it without figures.
  const child = spawn(k6.file, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environmentWith(env),
  });
  const exited = Promise.withResolvers<number | null>();
  let hasExited = false;
  const note = (code: number | null): void => {
    hasExited = true;
    exited.resolve(code);
  };
  child.once('error', () => note(null));
  child.once('close', (code) => note(code));
  let summary = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (summary.length < 4_000_000) summary += text;
  });
  const end = (): void => {
    if (child.pid !== undefined) endProcess(child.pid, () => hasExited, stopSteps).catch(() => undefined);
  };
  const late = setTimeout(end, seconds * 1_000 + graceMs);
  interrupt.addEventListener('abort', end);
  try {
    if (interrupt.aborted) end();
    const code = await exited.promise;
    const isExpected =
      code === 0 || code === thresholdsFailed || (code === endedFromOutside && interrupt.aborted);
    if (isExpected && summary !== '') return summary;
    throw new Error(`k6 ended without figures (exit code ${code})`);
  } finally {
    clearTimeout(late);
    interrupt.removeEventListener('abort', end);
  }
}
