/**
 * Questions to PostgreSQL that go together: those of one turn of the event loop go into one query, and what is asked while
 * `queriesMax` are under way waits for the first of them. A query costs PostgreSQL some 120 µs and each key of it 5, so
 * under load this is most of the cost; an idle process asks at once.
 */

export interface GatheringBounds {
  readonly queriesMax: number;
  readonly questionsPerQueryMax: number;
  /** Between the beginnings of two queries at least so long: whoever asks within it waits and goes together; an idle process asks at once. */
  readonly apartMs?: number;
}

/** Of look-ups. A second query, so that a key on a cold page does not hold up everybody. */
const lookUpBounds: GatheringBounds = { queriesMax: 2, questionsPerQueryMax: 2_000 };

interface Waiting<Question, Answer> {
  readonly question: Question;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** `ask` answers its questions in their order, at most `questionsPerQueryMax`; where it fails, all of them fail. */
export function gathering<Question, Answer>(
  ask: (questions: readonly Question[]) => Promise<readonly Answer[]>,
  { queriesMax, questionsPerQueryMax, apartMs = 0 }: GatheringBounds = lookUpBounds,
): (question: Question) => Promise<Answer> {
  let queue: Waiting<Question, Answer>[] = [];
  let underWay = 0;
  let beganMs = Number.NEGATIVE_INFINITY;
  let isTimed = false;

  async function answer(waiting: readonly Waiting<Question, Answer>[]): Promise<void> {
    underWay += 1;
    try {
      const answers = await ask(waiting.map(({ question }) => question));
      for (const [i, { resolve }] of waiting.entries()) resolve(answers[i]!);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
    underWay -= 1;
    drain();
  }

  /** Whether it is too early for another query; then a timer drains. */
  function isEarly(): boolean {
    if (apartMs === 0) return false;
    const leftMs = beganMs + apartMs - performance.now();
    if (leftMs <= 0) return false;
    if (!isTimed) {
      isTimed = true;
      setTimeout(() => {
        isTimed = false;
        drain();
      }, leftMs);
    }
    return true;
  }

  function drain(): void {
    while (queue.length > 0 && underWay < queriesMax && !isEarly()) {
      beganMs = performance.now();
      const waiting = queue.slice(0, questionsPerQueryMax);
      queue = queue.slice(questionsPerQueryMax);
      void answer(waiting);
    }
  }

  return (question) =>
    new Promise((resolve, reject) => {
      if (queue.push({ question, resolve, reject }) === 1) setImmediate(drain);
    });
}
