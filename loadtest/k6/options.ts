/** What can be typed after `npm run loadtest --`, and what each scenario does when nothing is. */
import { parseArgs } from 'node:util';
import { UsageFault } from '#src/platform/command.ts';

interface Scenario {
  readonly script: string;
  readonly title: string;
  /** Arrivals a second; of a member day before and after its spike. */
  readonly rate: number;
  readonly seconds: number;
  readonly p99MsMax: number;
}

/** Rates that two cores carry with k6 on the same two. */
const scenarios = {
  accrual: {
    script: 'k6/accrual.js',
    title: 'receipts from tills, at `journal`',
    rate: 1_000,
    seconds: 60,
    p99MsMax: 250,
  },
  redemption: {
    script: 'k6/redemption.js',
    title: 'half redemptions, half hold and capture, at `ledger`',
    rate: 200,
    seconds: 60,
    p99MsMax: 500,
  },
  mixed: {
    script: 'k6/mixed.js',
    title: '80 % receipts, 15 % balances, 5 % redemptions, each at its own rate',
    rate: 800,
    seconds: 60,
    p99MsMax: 500,
  },
  'member-day': {
    script: 'k6/member-day.js',
    title: 'the mix from 09:00 to 12:00, pressed into the duration; ten times the rate at 10:00',
    rate: 100,
    seconds: 180,
    p99MsMax: 500,
  },
  soak: {
    script: 'k6/soak.js',
    title: 'the mix for an hour; neither latency nor lag may grow',
    rate: 200,
    seconds: 3_600,
    p99MsMax: 500,
  },
} as const satisfies Record<string, Scenario>;

type ScenarioName = keyof typeof scenarios;

/** An API and the keys that it knows. */
export interface Access {
  readonly url: string;
  readonly key: string;
  readonly checkoutKey: string;
}

export interface Options {
  readonly name: ScenarioName;
  readonly script: string;
  readonly rate: number;
  readonly seconds: number;
  readonly members: number;
  readonly p99MsMax: number;
  readonly drainSecondsMax: number;
  /** The currency of the receipts. */
  readonly money: string;
  /** Undefined: an installation of its own is started. */
  readonly target: Access | undefined;
}

const list = Object.entries(scenarios).map(
  ([name, { title, rate, seconds, p99MsMax }]) =>
    `  ${name.padEnd(11)} ${title}\n${' '.repeat(14)}${rate}/s for ${seconds} s, p99 below ${p99MsMax} ms`,
);

export const help = `npm run loadtest -- NAME [--rate N] [--duration 90s|10m|1h] [--p99-max MS] [--members N]
                        [--url URL --key KEY [--checkout-key KEY] [--money EUR]]

${list.join('\n')}

  --rate N            arrivals a second, open: they do not wait for one another
  --duration TIME     how long k6 runs
  --p99-max MS        the threshold on latency; others: errors below 0.1 %, at most 0.1 % of the arrivals dropped
  --members N         so many members (default 10000)
  --drain-max TIME    how long the books may take to catch up (default 2m)
  --url, --key        a running service in place of one of its own, and a key of role pos; it enrols the members
                      loadtest-0 and on and books real points: take a program of its own for that
  --checkout-key KEY  a key of role checkout for redemptions (default: --key)
  --money CODE        the currency of the receipts (default EUR)

The run ends when the books hold everything and the audit has compared it. The last line is one JSON object. Exit 1 when a
threshold, the drain or the audit fails, 2 when it could not run, 130 after Ctrl-C (k6 ends, the books drain, all stops).
`;

const flags = {
  rate: { type: 'string' },
  duration: { type: 'string' },
  'p99-max': { type: 'string' },
  members: { type: 'string' },
  'drain-max': { type: 'string' },
  url: { type: 'string' },
  key: { type: 'string' },
  'checkout-key': { type: 'string' },
  money: { type: 'string' },
  help: { type: 'boolean' },
} as const;

function wholeOf(text: string | undefined, otherwise: number, name: string, max: number): number {
  const value = text === undefined ? otherwise : /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= max) return value;
  throw new UsageFault(`--${name} takes a whole number from 1 to ${max}`);
}

const secondsPerUnit: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };
const secondsMax = 24 * 3_600;

function secondsOf(text: string | undefined, otherwise: number, name: string): number {
  if (text === undefined) return otherwise;
  const [, digits, unit = 's'] = /^(\d{1,6})([smh])?$/.exec(text) ?? [];
  const value = Number(digits) * secondsPerUnit[unit]!;
  if (value >= 1 && value <= secondsMax) return value;
  throw new UsageFault(`--${name} takes a time such as 90s, 10m or 1h, a day at most`);
}

function targetOf(
  url: string | undefined,
  key: string | undefined,
  checkoutKey: string | undefined,
): Access | undefined {
  if (url === undefined) {
    if (key === undefined && checkoutKey === undefined) return undefined;
    throw new UsageFault(
      '--key and --checkout-key need --url: an installation of its own has keys of its own',
    );
  }
  if (!/^https?:\/\/[^/]/.test(url)) throw new UsageFault('--url takes http://host:port or https://host');
  if (key === undefined) throw new UsageFault('--url needs --key');
  return { url: url.replace(/\/+$/, ''), key, checkoutKey: checkoutKey ?? key };
}

/** What was typed, with defaults; `help` when that was asked for. Throws `UsageFault`, or `parseArgs`'s own TypeError. */
export function optionsOf(args: readonly string[]): Options | 'help' {
  const { values, positionals } = parseArgs({ args: [...args], options: flags, allowPositionals: true });
  if (values.help) return 'help';
  const name = positionals[0];
  if (positionals.length !== 1 || name === undefined || !Object.hasOwn(scenarios, name))
    throw new UsageFault(`needs one of ${Object.keys(scenarios).join(', ')}`);
  const scenario: Scenario = scenarios[name as ScenarioName];
  const money = values.money ?? 'EUR';
  if (!/^[A-Z]{3}$/.test(money)) throw new UsageFault('--money takes a code such as EUR');
  return {
    name: name as ScenarioName,
    script: scenario.script,
    rate: wholeOf(values.rate, scenario.rate, 'rate', name === 'member-day' ? 2_000 : 20_000),
    seconds: secondsOf(values.duration, scenario.seconds, 'duration'),
    members: wholeOf(values.members, 10_000, 'members', 1_000_000),
    p99MsMax: wholeOf(values['p99-max'], scenario.p99MsMax, 'p99-max', 60_000),
    drainSecondsMax: secondsOf(values['drain-max'], 120, 'drain-max'),
    money,
    target: targetOf(values.url, values.key, values['checkout-key']),
  };
}
