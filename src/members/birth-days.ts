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

/** Reads birthdays of a program's profiles that have not been read; false where some are left after so many rounds. */
export async function readBirthDays(
  pool: pg.Pool,
  identity: Identity,
  program: number,
  roundsMax: number,
): Promise<boolean> {
  for (let round = 0; round < roundsMax; round += 1) {
    const { rows } = await pool.query<Unread>(
      `select number, profile from member where program = $1 and birth_day is null and profile is not null order by number limit $2`,
      [program, perRound],
    );
    if (rows.length === 0) return true;
    const days = rows.map(({ number, profile }) =>
      birthDayOf(profileOf(identity.decrypt(program, number, profile)).birthday),
    );
    await pool.query(
      `update member m set birth_day = k.day from unnest($1::bigint[], $2::smallint[], $3::bytea[]) as k(number, day, profile)
       where m.number = k.number and m.profile = k.profile`,
      [rows.map((row) => row.number), days, rows.map((row) => row.profile)],
    );
  }
  return false;
}
