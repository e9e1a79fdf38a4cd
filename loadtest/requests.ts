/** The requests that the load generator sends, the same receipt of two lines for every contestant, and whom they are about. */

/** The n-th member of a benchmark, from 0; five digits, so that a request's length does not change. */
export function memberName(index: number): string {
  return `m-${String(index).padStart(5, '0')}`;
}

function request(method: string, path: string, key: string, body: string): string {
  const head = [
    `${method} ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    `Authorization: Bearer ${key}`,
    'Content-Type: application/json',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

const receipt =
  '"occurredAt":"{{now}}","purchase":{"order":"{{order}}","store":"s-12","terminal":"t-3","currency":"EUR","lines":[' +
  '{"line":1,"sku":"4006381333931","quantity":"1","amount":1299},{"line":2,"sku":"4006381333948","quantity":"2","amount":2350}]}';

export const accrual = request(
  'POST',
  '/v1/accruals',
  'demo-pos',
  `{"member":"{{member}}","reference":"{{reference}}",${receipt}}`,
);
export const accrualInBooks = request(
  'POST',
  '/v1/accruals',
  'demo-pos',
  `{"member":"{{member}}","reference":"{{reference}}","durability":"ledger",${receipt}}`,
);
export const redemption = request(
  'POST',
  '/v1/redemptions',
  'demo-checkout',
  '{"member":"{{member}}","reference":"{{reference}}","order":"{{order}}","points":1}',
);
export const balances = request('GET', '/v1/members/{{member}}/balances', 'demo-pos', '');
