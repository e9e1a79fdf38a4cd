/** Files of partners in tests: what a partner would write about its movements, and how finance hands it in. */
import { createFileWriter } from '#src/partners/reconciliation/format.ts';
import type { Movement, Period } from '#src/partners/reconciliation/movement.ts';
import type { Answer, Http } from './client.ts';
import type { Shop } from './shop.ts';
import { waitFor } from './waiting.ts';

/** The next whole second, once it has come: whatever was booked before this call is booked before it. */
export async function secondOver(): Promise<number> {
  const next = Math.floor(Date.now() / 1_000) + 1;
  return waitFor('the second is over', () => Promise.resolve(Date.now() >= next * 1_000 && next), 5_000);
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
export function handIn(http: Http, shop: Shop, file: string | Uint8Array, query = ''): Promise<Answer> {
  const headers = { 'content-type': 'text/csv' };
  return http('POST', `/v1/reconciliations${query}`, Buffer.from(file), {
    key: shop.tokens.finance,
    headers,
    timeoutMs: 60_000,
  });
}

/** The files that a partner gives us, one after the other: each begins where the one before has ended. */
export class FileSeries {
  readonly sender: string;
  sequence = 0;
  from: number;

  constructor(sender: string, from: number) {
    this.sender = sender;
    this.from = from;
  }

  /** The next file, of a period that ends now or then. */
  async next(movements: readonly Movement[], until?: number): Promise<FileDraft> {
    const { sender, sequence, from } = this;
    return { sender, sequence: sequence + 1, from, until: until ?? (await secondOver()), movements };
  }

  /** It was taken. */
  passed({ sequence, until }: FileDraft): void {
    this.sequence = sequence;
    this.from = until;
  }
}

export interface ReportedLine {
  readonly number: number;
  readonly difference: string;
  readonly line: number | null;
  readonly reference: string;
  readonly ours: { readonly points: number } | null;
  readonly theirs: { readonly points: number } | null;
  readonly matchedBy: string | null;
}

/** The lines that differ. */
export async function linesOf(shop: Shop, id: string, query = ''): Promise<ReportedLine[]> {
  const answer = await shop.finance('GET', `/v1/reconciliations/${id}/lines${query}`);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body.data as ReportedLine[];
}
