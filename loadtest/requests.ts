/** PURE. The requests that the load generator sends, the same receipt of two lines for every contestant, and whom they are about. */

/**
 * A part of a load: so many of a hundred requests begin these steps, which one connection sends one after the other. A
 * later step may name the id in the reply before as `{{id}}`.
 */
export interface Share {
  readonly percent: number;
  readonly steps: readonly string[];
}

/** A load of one kind of request. */
export function only(...steps: readonly string[]): Share[] {
  return [{ percent: 100, steps }];
}

/** The n-th member of a benchmark, from 0; seven digits, so that a request's length does not change. */
export function memberName(index: number): string {
  return `m-${String(index).padStart(7, '0')}`;
}

export function request(method: string, path: string, key: string, body: string): string {
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

const accrualItem = `{"member":"{{member}}","reference":"{{reference}}",${receipt}}`;
export const accrual = request('POST', '/v1/accruals', 'demo-pos', accrualItem);
export const accrualByReceipt = request(
  'POST',
  '/v1/accruals',
  'demo-pos',
  `{"member":"{{member}}","reference":"{{natural}}",${receipt}}`,
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
export const exchange = request(
  'POST',
  '/v1/exchanges',
  'demo-checkout',
  '{"member":"{{member}}","reference":"{{reference}}","partner":"air","direction":"out","points":220}',
);
export const balances = request('GET', '/v1/members/{{member}}/balances', 'demo-pos', '');
/** Two steps: a hold, and the capture of what it holds. */
export const holdAndCapture = [
  request(
    'POST',
    '/v1/holds',
    'demo-checkout',
    '{"member":"{{member}}","reference":"{{reference}}","order":"{{order}}","points":1}',
  ),
  request('POST', '/v1/holds/{{id}}/capture', 'demo-checkout', '{"reference":"{{reference}}"}'),
] as const;
/** So many receipts in one call. */
export function bulkOf(items: number): string {
  const list = Array.from({ length: items }, () => accrualItem).join(',');
  return request('POST', '/v1/accruals/bulk', 'demo-pos', `{"items":[${list}]}`);
}
