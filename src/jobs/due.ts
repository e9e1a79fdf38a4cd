/** Books what time has decided for members whom nobody touched. Balances were right without it. */
import type { App } from '#src/app.ts';
import { endsAfter } from '#src/earning/activity.ts';
import { type Program, programNow } from '#src/earning/program.ts';
import { type MemberNumber, newOperation } from '#src/values.ts';
import { ownMovement } from '#src/wallet/own-movement.ts';

/** Lots and holds that fall due are few and indexed by their time, whoever's they are. */
const dueOfLive = `
  select number from (
    select l.member as number from lot l join member m on m.number = l.member
      where m.program = $1 and l.is_open and l.expires_at > 0 and l.expires_at <= $2
    union
    select h.member from hold h join member m on m.number = h.member
      where m.program = $1 and h.status = 'held' and h.expires_at <= $2) due
  limit $3`;

/** A test program's clock may stand years ahead: by time all lots of live programs would be due, so its members lead. */
const dueOfTest = `
  select m.number from member m where m.program = $1 and (
    exists (select from lot l where l.member = m.number and l.is_open and l.expires_at > 0 and l.expires_at <= $2)
    or exists (select from hold h where h.member = m.number and h.status = 'held' and h.expires_at <= $2))
  limit $3`;

const membersPerRunMax = 20_000;
const together = 256;

/** Books what is due for one member; false when nothing is. */
export async function bookMember(app: App, program: Program, member: MemberNumber): Promise<boolean> {
  const { wallet } = app.operations;
  const now = Date.now();
  const at = programNow(program, now);
  const { unchanged } = endsAfter(program, 'expiry', at);
  const ends = unchanged.length > 0 ? await app.operations.endsInBooks(member, unchanged) : undefined;
  const outcome = await wallet.execute(
    ownMovement({
      script: 'expire',
      kind: 'expiry',
      program: program.number,
      member,
      operation: newOperation(wallet.shardOf(member), now),
      at,
      judgedAt: now,
      input: JSON.stringify({ ends }),
    }),
  );
  return outcome.status === 'done';
}

/** Books what is due in every program; answers for how many members something was booked. */
export async function bookDue(app: App): Promise<number> {
  let booked = 0;
  for (const program of app.programs.all()) {
    const at = programNow(program);
    const due = await app.pool.query<{ number: MemberNumber }>(
      program.mode === 'test' ? dueOfTest : dueOfLive,
      [program.number, at, membersPerRunMax],
    );
    for (let from = 0; from < due.rows.length; from += together) {
      const chunk = due.rows.slice(from, from + together);
      const results = await Promise.allSettled(chunk.map((row) => bookMember(app, program, row.number)));
      booked += results.filter((result) => result.status === 'fulfilled' && result.value).length;
      const failed = results.find((result) => result.status === 'rejected');
      // The next run finds them again; a shard that recovers must not hold up the others.
      if (failed)
        app.telemetry.log.warn(
          { err: failed.reason as unknown },
          'what is due could not be booked for some members',
        );
    }
  }
  return booked;
}
