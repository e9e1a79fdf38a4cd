/**
 * How often a partner may try to validate one account: every try is counted before anything is compared, so that a hundred at
 * once are not more than a hundred one by one, and one that succeeds is taken off again. Unknown accounts count alike, or
 * counting would tell which are known.
 */
import type pg from 'pg';
import type { Program } from '#src/earning/program.ts';
import { Problem } from '#src/errors.ts';
import type { Identity } from '#src/members/identity.ts';

export const triesMax = 5;
export const coolingMinutes = 60;
/** Of a partner over all accounts: a list of accounts is not found out by trying one after the other. */
export const triesOfPartnerMax = 1_000;

export interface Attempt {
  /** It was right, so it does not count. */
  succeeded(): Promise<void>;
}

const countQuery = `
  insert into partner_attempt as a (client, subject, tries) select $1, s, 1 from unnest($2::bytea[]) s order by s
  on conflict (client, subject) do update
    set tries = case when a.since < now() - $3 * interval '1 minute' then 1 else a.tries + 1 end,
      since = case when a.since < now() - $3 * interval '1 minute' then now() else a.since end
  returning encode(subject, 'hex') as subject, tries`;

/** Counts a try. Throws `attempts_exceeded` where there were too many in the last hour. */
export async function countAttempt(
  pool: pg.Pool,
  identity: Identity,
  program: Program,
  client: number,
  account: string,
): Promise<Attempt> {
  const subjectOf = (type: string, value: string) =>
    Buffer.from(identity.keyOf(program.number, { type, value })?.hash ?? '', 'hex');
  const own = subjectOf('partner-attempt', account);
  const all = subjectOf('partner-attempts', String(client));
  const subjects = [own, all];
  const counted = await pool.query<{ subject: string; tries: number }>(countQuery, [
    client,
    subjects,
    coolingMinutes,
  ]);
  const triesOf = (subject: Buffer) =>
    counted.rows.find((row) => row.subject === subject.toString('hex'))?.tries ?? 0;
  if (triesOf(own) > triesMax || triesOf(all) > triesOfPartnerMax)
    throw new Problem('attempts_exceeded', `At most ${triesMax} tries in ${coolingMinutes} minutes.`);
  return {
    async succeeded() {
      await pool.query(
        'update partner_attempt set tries = greatest(tries - 1, 0) where client = $1 and subject = any($2::bytea[])',
        [client, subjects],
      );
    },
  };
}
