/**
 * The day of the birthday beside the encrypted profile (`member.birth_day`): written with every profile, and read out of
 * profiles that older versions wrote. Where another process changes the profile meanwhile, the row is left to the next round.
 */
import type pg from 'pg';
import type { MemberNumber } from '#src/values.ts';
import type { Identity } from './identity.ts';
import { birthDayOf, profileOf } from './profile.ts';

const perRound = 1_000;

interface Unread {
  readonly number: MemberNumber;
  readonly profile: Buffer;
}

export interface BirthDaysRead {
  /** Nothing was left unread. */
  readonly isComplete: boolean;
  /** Profiles under another key, or damaged ones. One of them must not keep a program's gifts from everybody. */
  readonly unreadable: number;
}

/** Reads birthdays of a program's profiles that have not been read, so many rounds at most. */
export async function readBirthDays(
  pool: pg.Pool,
  identity: Identity,
  program: number,
  roundsMax: number,
): Promise<BirthDaysRead> {
  let unreadable = 0;
  const dayOf = ({ number, profile }: Unread): number => {
    try {
      return birthDayOf(profileOf(identity.decrypt(program, number, profile)).birthday);
    } catch {
      unreadable += 1;
      return 0;
    }
  };
  for (let round = 0; round < roundsMax; round += 1) {
    const { rows } = await pool.query<Unread>(
      `select number, profile from member where program = $1 and birth_day is null and profile is not null order by number limit $2`,
      [program, perRound],
    );
    if (rows.length === 0) return { isComplete: true, unreadable };
    const days = rows.map(dayOf);
    await pool.query(
      `update member m set birth_day = k.day from unnest($1::bigint[], $2::smallint[], $3::bytea[]) as k(number, day, profile)
       where m.number = k.number and m.profile = k.profile`,
      [rows.map((row) => row.number), days, rows.map((row) => row.profile)],
    );
  }
  return { isComplete: false, unreadable };
}
