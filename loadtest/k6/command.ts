/**
 * `npm run loadtest -- NAME`: k6 against an installation of its own or a running service. The run is over when the books hold
 * everything and the audit has compared it; the last line is one JSON object.
 *
 * The first Ctrl-C ends k6, lets the books drain and stops what was started; a second one does not wait for the books.
 */
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { apiClient } from '#src/earning/import/client.ts';
import { print, runCommand, typed } from '#src/platform/command.ts';
import { machine } from '../machine.ts';
import { cacheDir, checkout, logTails, makeRunFolder, removeFolder } from '../run-folder.ts';
import { findK6, type K6, runK6 } from './k6.ts';
import { enrolMembers, memberPrefix } from './members.ts';
import { help, type Options, optionsOf } from './options.ts';
import { figuresOf } from './summary.ts';
import { ownInstallation, runningApi, type Target } from './target.ts';
import { type Aftermath, exitCodeOf, type Run, reportLine, reportText } from './verdict.ts';

const loadtestFolder = fileURLToPath(new URL('../', import.meta.url));

interface Interrupts {
  /** Ctrl-C: the load ends. */
  readonly first: AbortSignal;
  /** Ctrl-C again: nothing is waited for. */
  readonly second: AbortSignal;
}

/** npm and the terminal may both pass one Ctrl-C on, so the second one is not counted within this time. */
const sameSignalMs = 1_000;

function watchInterrupts(): Interrupts {
  const first = new AbortController();
  const second = new AbortController();
  let firstAt = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!first.signal.aborted) {
        firstAt = performance.now();
        first.abort(new Error(`Ended by ${signal}.`));
      } else if (performance.now() - firstAt > sameSignalMs) second.abort(new Error(`Ended by ${signal}.`));
    });
  }
  return { first: first.signal, second: second.signal };
}

function settingsFor({ rate, seconds, members, p99MsMax, money }: Options, { access }: Target) {
  return {
    LOADTEST_URL: access.url,
    LOADTEST_KEY: access.key,
    LOADTEST_CHECKOUT_KEY: access.checkoutKey,
    LOADTEST_RATE: String(rate),
    LOADTEST_SECONDS: String(seconds),
    LOADTEST_MEMBERS: String(members),
    LOADTEST_MEMBER_PREFIX: memberPrefix,
    LOADTEST_MONEY: money,
    LOADTEST_P99_MS_MAX: String(p99MsMax),
  };
}

/** Loads a target with one script, waits for the books and judges. Answers the exit code. */
async function loadAndJudge(
  options: Options,
  k6: K6,
  target: Target,
  interrupts: Interrupts,
): Promise<number> {
  const { first, second } = interrupts;
  const client = apiClient(target.access);
  await enrolMembers(client, options.members, options.money, first);
  await target.drain(options.drainSecondsMax, first);
  first.throwIfAborted();
  const before = await target.booked();
  const loadBefore = loadavg()[0] ?? 0;
  const end = new Date(Date.now() + options.seconds * 1_000).toISOString().slice(11, 19);
  print(`${options.name}: ${options.rate} arrivals/s for ${options.seconds} s, until ${end} UTC`);
  const summary = await runK6(k6, {
    script: options.script,
    folder: loadtestFolder,
    env: settingsFor(options, target),
    seconds: options.seconds,
    interrupt: first,
  });
  const drain = await target.drain(options.drainSecondsMax, second);
  const booked = await target.booked();
  const figures = figuresOf(summary);
  const after: Aftermath = {
    drain,
    // The books may have more: what k6 had sent when it was ended.
    missing:
      before === undefined || booked === undefined
        ? undefined
        : Math.max(0, figures.movements - (booked - before)),
    audit: first.aborted ? 'not made' : await target.audit(first),
    unchecked:
      drain === 'not seen'
        ? [...target.unchecked, 'the lag of the books could not be seen']
        : target.unchecked,
    isInterrupted: first.aborted,
  };
  const run: Run = { options, figures, after, machine: machine(), loadBefore };
  print(`${reportText(run)}\n${reportLine(run)}`);
  return exitCodeOf(run);
}

async function main(args: readonly string[]): Promise<number> {
  const options = typed(() => optionsOf(args));
  if (options === 'help') {
    print(help);
    return 0;
  }
  const interrupts = watchInterrupts();
  const folder = await makeRunFolder('loadtest');
  const around = {
    folder,
    checkout,
    cacheDir,
    members: options.members,
    abort: interrupts.first,
    print,
  };
  let target: Target | undefined;
  try {
    const k6 = await findK6(around);
    print(k6.source);
    target = await (options.target ? runningApi(options.target) : ownInstallation(around));
    return await loadAndJudge(options, k6, target, interrupts);
  } catch (error) {
    if (interrupts.first.aborted) {
      print(String(interrupts.first.reason.message));
      return 130;
    }
    for (const tail of await logTails(folder)) print(tail);
    throw error;
  } finally {
    await target?.stop();
    await removeFolder(folder);
  }
}

await runCommand('loadtest', main, 2);
