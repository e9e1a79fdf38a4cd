/** What `npm start` prints when the service answers. */
import { randomBytes } from 'node:crypto';

export interface Listening {
  readonly port: number;
  readonly dataDir: string;
  readonly hasDemo: boolean;
  /** Undefined for a server that was given. */
  readonly postgresPort: number | undefined;
  readonly redisPort: number | undefined;
}

export const demoKeys = ['demo-pos', 'demo-checkout', 'demo-care', 'demo-admin'] as const;

export function welcome(at: Listening, now: Date): string {
  const address = `http://127.0.0.1:${at.port}`;
  const where = (port: number | undefined, name: string, record: string): string =>
    port === undefined
      ? `as given in ${name}`
      : `127.0.0.1:${port}, URL with password in ${at.dataDir}/${record}`;
  const lines = [
    '',
    `The points engine answers on ${address}`,
    '',
    `  documentation   ${address}/docs`,
    `  OpenAPI         ${address}/openapi.json`,
    `  health, metrics ${address}/readyz  ${address}/metrics`,
    `  PostgreSQL      ${where(at.postgresPort, 'DATABASE_URL', 'postgres.json')}`,
    `  Redis           ${where(at.redisPort, 'REDIS_URL', 'redis.json')}`,
    `  logs            ${at.dataDir}/logs`,
  ];
  return [
    ...lines,
    ...(at.hasDemo ? demo(address, now) : withoutDemo),
    '',
    'Ctrl-C stops everything.',
    '',
  ].join('\n');
}

const withoutDemo = [
  '',
  'The database is not one of this machine, so no demo keys were put into it. Create a key: npm run keys -- create',
];

/** One receipt of 125.50, its balance and a redemption; the references are new at every start, as a till's are. */
function demo(address: string, now: Date): string[] {
  const receipt = `${now.toISOString().slice(0, 10)}/${randomBytes(3).toString('hex')}`;
  const accrual = {
    member: 'anna',
    enrol: true,
    reference: `store-1/till-1/${receipt}`,
    occurredAt: now.toISOString(),
    purchase: { order: receipt, currency: 'EUR', lines: [{ line: 1, sku: 'COFFEE-1KG', amount: 12_550 }] },
  };
  const redemption = { member: 'anna', reference: `web/${receipt}`, points: 100 };
  return [
    '',
    `Keys of the sample program (1 point for each whole 1.00 spent): ${demoKeys.join('  ')}`,
    '',
    'Award points for a receipt of 125.50 to a member who is enrolled on the way, look at the balance, spend 100 points:',
    '',
    post(`${address}/v1/accruals`, 'demo-pos', accrual),
    `curl -s ${address}/v1/members/anna/balances -H 'Authorization: Bearer demo-pos'`,
    post(`${address}/v1/redemptions`, 'demo-checkout', redemption),
  ];
}

function post(url: string, key: string, body: object): string {
  const headers = `-H 'Authorization: Bearer ${key}' -H 'Content-Type: application/json'`;
  return `curl -s ${url} ${headers} -d '${JSON.stringify(body)}'`;
}
