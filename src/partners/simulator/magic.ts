/**
 * PURE. How the simulator treats a movement, decided by its points alone, so that a test or a person chooses it by the amount.
 * The numbers are those of a well-known hub's sandbox where it has them. A thousand times the number means the same, for
 * exchanges that move in steps of a thousand.
 */

export const behaviours = {
  88: [
    'late_copy_refused',
    'the first send gets no answer and arrives late, after --slow-ms; what is sent again meanwhile is refused, so that it has to be voided',
  ],
  89: [
    'late_copy',
    'the first send gets no answer and arrives late, after --slow-ms, behind what was sent again or voided meanwhile',
  ],
  90: [
    'never_tells',
    'answers 500 to every send and inquiry and books nothing: only a person can resolve it',
  ],
  91: ['fails_unbooked', 'answers 500 to the first send and books nothing; the second send succeeds'],
  92: ['fails_booked', 'books it and answers 500; an inquiry or the same send again tells that it succeeded'],
  93: [
    'arrives_twice',
    'the call arrives twice: it is booked once, and the second answer is what the caller gets',
  ],
  94: ['pending', 'stays pending'],
  95: ['pending_success', 'is pending, then succeeds'],
  96: ['pending_failure', 'is pending, then fails'],
  97: ['drops_reply', 'books it and closes the connection without an answer'],
  98: ['slow', 'waits, then books and answers: callers have given up by then'],
  99: ['refuses', 'refuses for good with `member_not_active`'],
} as const;

export type Behaviour = (typeof behaviours)[keyof typeof behaviours][0] | 'plain';

export function behaviourOf(points: number | undefined): Behaviour {
  if (points === undefined) return 'plain';
  const number = points % 1_000 === 0 ? points / 1_000 : points;
  return behaviours[number as keyof typeof behaviours]?.[0] ?? 'plain';
}
