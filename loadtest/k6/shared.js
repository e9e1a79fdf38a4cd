/**
 * What the scripts for k6 share: whom they call, the calls themselves, what is counted, and which thresholds hold.
 *
 * Arrivals are open: a call begins when its time has come, whether or not the ones before it were answered, so a service that
 * falls behind is seen as latency, or as arrivals that were dropped because all virtual users were waiting. Every movement
 * has a reference of its own and is sent once. `npm run loadtest` gives the settings as environment variables.
 */
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

function setting(name) {
  const value = __ENV[name];
  if (!value) throw new Error(`${name} is not set: start this script with npm run loadtest -- NAME`);
  return value;
}

export const rate = Number(setting('LOADTEST_RATE'));
export const seconds = Number(setting('LOADTEST_SECONDS'));
const url = setting('LOADTEST_URL');
const members = Number(setting('LOADTEST_MEMBERS'));
const memberPrefix = setting('LOADTEST_MEMBER_PREFIX');
const money = setting('LOADTEST_MONEY');
const p99MsMax = Number(setting('LOADTEST_P99_MS_MAX'));
const till = headers(setting('LOADTEST_KEY'));
const checkout = headers(setting('LOADTEST_CHECKOUT_KEY'));

/** From the wish to send until the last byte of the reply, connecting included. */
const latency = new Trend('latency', true);
const accepted = new Counter('accepted');
/** Those of them that moved points: the books must have as many. */
const movements = new Counter('movements');
const errors = new Rate('errors');
/** Movements that asked for the books and were answered before they had them (202). */
const booksLate = new Counter('books_late');

function headers(key) {
  return { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' };
}

function hex(digits) {
  return Math.floor(Math.random() * 16 ** digits)
    .toString(16)
    .padStart(digits, '0');
}

function uuidV7() {
  const time = Date.now().toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(3)}-8${hex(3)}-${hex(12)}`;
}

function anyMember() {
  return `${memberPrefix}${Math.floor(Math.random() * members)}`;
}

let hasShownError = false;

/** Makes a call and counts it; answers the reply. Of the errors each of the first users shows one. */
function send(kind, part, method, path, who, body) {
  const reply = http.request(method, url + path, body && JSON.stringify(body), {
    headers: who,
    timeout: '20s',
  });
  const { blocked, connecting, tls_handshaking: securing, duration } = reply.timings;
  const isAccepted = reply.status >= 200 && reply.status < 300;
  latency.add(blocked + connecting + securing + duration, { kind, part });
  errors.add(!isAccepted);
  if (isAccepted) accepted.add(1, { kind, part });
  if (isAccepted && method === 'POST') movements.add(1);
  if (reply.status === 202) booksLate.add(1);
  if (!isAccepted && !hasShownError && __VU <= 10) {
    hasShownError = true;
    console.warn(`${kind}: ${reply.status} ${reply.body || reply.error}`);
  }
  return reply;
}

/** A receipt of two lines, acknowledged at `journal`. */
export function accrue(part = 'all') {
  send('accrual', part, 'POST', '/v1/accruals', till, {
    member: anyMember(),
    reference: uuidV7(),
    occurredAt: new Date().toISOString(),
    purchase: {
      order: uuidV7(),
      store: 's-12',
      terminal: 't-3',
      currency: money,
      lines: [
        { line: 1, sku: '4006381333931', quantity: '1', amount: 1299 },
        { line: 2, sku: '4006381333948', quantity: '2', amount: 2350 },
      ],
    },
  });
}

/** One point, acknowledged when the books have it. */
export function redeem(part = 'all') {
  const body = { member: anyMember(), reference: uuidV7(), order: uuidV7(), points: 1 };
  send('redemption', part, 'POST', '/v1/redemptions', checkout, body);
}

/** A checkout in two steps: two points are held, one is captured and the other released with it. */
export function holdAndCapture(part = 'all') {
  const body = { member: anyMember(), reference: uuidV7(), order: uuidV7(), points: 2 };
  const held = send('hold', part, 'POST', '/v1/holds', checkout, body);
  if (held.status !== 201 && held.status !== 202) return;
  const capture = { reference: uuidV7(), points: 1 };
  send('capture', part, 'POST', `/v1/holds/${held.json('id')}/capture`, checkout, capture);
}

export function readBalances(part = 'all') {
  send('balances', part, 'GET', `/v1/members/${anyMember()}/balances`, till);
}

/** What a shop does: 80 receipts, 15 looks at a balance, 5 redemptions of a hundred calls. */
export const mix = { accrual: 0.8, balances: 0.15, redemption: 0.05 };

export function anyOfMix(part) {
  const chance = Math.random();
  if (chance < mix.accrual) accrue(part);
  else if (chance < mix.accrual + mix.balances) readBalances(part);
  else redeem(part);
}

/** Reads the page of metrics, which is no part of the load. */
export function readMetrics() {
  return http.get(`${url}/metrics`, { timeout: '20s' });
}

/**
 * Users for so many arrivals a second: as many as wait when every call takes half a second. All are there from the start: k6
 * starts others one by one, too slowly for a spike, and drops arrivals meanwhile.
 */
export function users(perSecond) {
  return { preAllocatedVUs: Math.min(1_000, Math.max(20, Math.ceil(perSecond / 2))) };
}

/** A scenario of `share` of the rate, evenly over the whole duration; each arrival makes so many calls in a row. */
export function constant(exec, share = 1, calls = 1) {
  const perSecond = Math.max(1, Math.round(rate * share));
  return {
    executor: 'constant-arrival-rate',
    exec,
    rate: perSecond,
    timeUnit: '1s',
    duration: `${seconds}s`,
    gracefulStop: '20s',
    ...users(perSecond * calls),
  };
}

let selected = [];

/**
 * Options for these scenarios. `selections` are the kinds or parts whose figures are wanted one by one: k6 shows those that
 * have a threshold. It evaluates every threshold each two seconds and sorts what came since, so an hour's run has none over
 * everything (`isLong`).
 */
export function optionsOf({ scenarios, selections, arrivals, isLong = false, others = {} }) {
  selected = selections;
  const limit = [`p(99)<${p99MsMax}`];
  const thresholds = { errors: ['rate<0.001'], dropped_iterations: [`count<=${Math.ceil(arrivals / 1000)}`] };
  if (!isLong) thresholds.latency = limit;
  for (const selection of selections) {
    thresholds[`latency{${selection}}`] = limit;
    thresholds[`accepted{${selection}}`] = ['count>0'];
  }
  return {
    scenarios,
    thresholds: { ...thresholds, ...others },
    summaryTrendStats: ['med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
    // Each tag of each sample costs; the built-in ones are not looked at.
    systemTags: ['scenario'],
  };
}

/** Hands the figures to `npm run loadtest`. */
export function handleSummary(summary) {
  return { stdout: JSON.stringify({ ...summary, selections: selected }) };
}
