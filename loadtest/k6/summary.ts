/** PURE. The figures of k6's summary: what was accepted, refused and dropped, how long it took, which thresholds failed. */
import { z } from 'zod';

const metric = z.looseObject({
  values: z.record(z.string(), z.number()),
  thresholds: z.record(z.string(), z.looseObject({ ok: z.boolean() })).optional(),
});
const summarySchema = z.looseObject({
  state: z.looseObject({ testRunDurationMs: z.number() }),
  metrics: z.record(z.string(), metric),
  /** Added by our scripts: `kind:accrual`, `part:spike`, in the order in which they are to be shown. */
  selections: z.array(z.string()),
});

/** Figures of one kind of call (`kind:accrual`) or one part of the run (`part:spike`). */
interface Selection {
  readonly name: string;
  readonly accepted: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Where the lag was read: nine of ten readings were below. */
  readonly lagSecondsP90: number | undefined;
}

export interface Figures {
  readonly seconds: number;
  readonly accepted: number;
  /** Those accepted that moved points; looking at a balance does not. */
  readonly movements: number;
  readonly errors: number;
  /** Arrivals for which no virtual user was free. */
  readonly dropped: number;
  /** Answered before the books had it (202). */
  readonly booksLate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly longestMs: number;
  readonly selections: readonly Selection[];
  /** Such as `latency{kind:accrual} p(99)<250`. */
  readonly failedThresholds: readonly string[];
}

/** Reads what `handleSummary` printed. Throws where it is no summary of k6. */
export function figuresOf(text: string): Figures {
  const { state, metrics, selections } = summarySchema.parse(JSON.parse(text));
  const value = (name: string, stat: string): number => metrics[name]?.values[stat] ?? 0;
  const failedThresholds = Object.entries(metrics).flatMap(([name, { thresholds = {} }]) =>
    Object.entries(thresholds).flatMap(([expression, { ok }]) => (ok ? [] : [`${name} ${expression}`])),
  );
  return {
    seconds: state.testRunDurationMs / 1_000,
    accepted: value('accepted', 'count'),
    movements: value('movements', 'count'),
    // Of a rate k6 calls `passes` what was true: here, the errors.
    errors: value('errors', 'passes'),
    dropped: value('dropped_iterations', 'count'),
    booksLate: value('books_late', 'count'),
    p50Ms: value('latency', 'med'),
    p99Ms: value('latency', 'p(99)'),
    p999Ms: value('latency', 'p(99.9)'),
    longestMs: value('latency', 'max'),
    selections: selections.map((selected) => ({
      name: selected.replace(/^\w+:/, ''),
      accepted: value(`accepted{${selected}}`, 'count'),
      p50Ms: value(`latency{${selected}}`, 'med'),
      p99Ms: value(`latency{${selected}}`, 'p(99)'),
      lagSecondsP90: metrics[`lag_seconds{${selected}}`]?.values['p(90)'],
    })),
    // k6 gives its metrics in no order.
    failedThresholds: failedThresholds.toSorted(),
  };
}
