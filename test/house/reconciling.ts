/** Files of partners in tests: what a partner would write about its movements, and how finance hands it in. */
import { createFileWriter } from '#src/partners/reconciliation/format.ts';
import type { Movement, Period } from '#src/partners/reconciliation/movement.ts';
import type { Answer, Http } from './client.ts';
import type { Shop } from './shop.ts';

/** The day of now, in UTC, and the one after it. */
export function today(): Period & { readonly name: string } {
  const name = new Date().toISOString().slice(0, 10);
  const from = Date.parse(`${name}T00:00:00Z`) / 1_000;
  // A test that runs at midnight has movements of both.
  return { name, from, until: from + 2 * 86_400 };
}

export interface FileDraft extends Period {
  /** The partner, by the name that the program knows it by. */
  readonly sender: string;
  readonly sequence: number;
  /** `madeBy` as the sender has it: what it made is `us`. */
  readonly movements: readonly Movement[];
}

export function fileText({ sender, sequence, from, until, movements }: FileDraft): string {
  const writer = createFileWriter();
  const header = writer.header({ sender, sequence, from, until, createdAt: until });
  return header + writer.details(movements) + writer.trailer().text;
}

/** `POST /v1/reconciliations` with a key of finance. */
export function handIn(http: Http, shop: Shop, file: string | Uint8Array): Promise<Answer> {
  const headers = { 'content-type': 'text/csv' };
  return http('POST', '/v1/reconciliations', Buffer.from(file), {
    key: shop.tokens.finance,
    headers,
    timeoutMs: 60_000,
  });
}

interface Line {
  readonly difference: string;
  readonly line: number | null;
  readonly reference: string;
  readonly ours: { readonly points: number } | null;
  readonly theirs: { readonly points: number } | null;
}

/** The lines that differ. */
export async function linesOf(shop: Shop, id: string, query = ''): Promise<Line[]> {
  const answer = await shop.finance('GET', `/v1/reconciliations/${id}/lines${query}`);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body.data as Line[];
}
