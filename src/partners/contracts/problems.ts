/** PURE. How what a contract does not allow is said to a caller. */
import { Problem } from '#src/errors.ts';
import type { EpochMs } from '#src/values.ts';
import type { QuoteRefusal } from './arithmetic.ts';
import type { Judgement, Reason } from './limits.ts';

/** The refusal of a quote; of a cap with the end of its period, where the next one lets it through. */
export function problemOfQuote(refusal: QuoteRefusal, until?: EpochMs): Problem {
  const { word, detail, bound, value, left, period, isForThisPeriod } = refusal;
  const ends = isForThisPeriod && until !== undefined ? { until: new Date(until).toISOString() } : {};
  if (word === 'cap_reached')
    return new Problem('cap_reached', detail, { bound, value, left, period, ...ends });
  return new Problem('exchange_limit', detail, { limit: word, bound, value });
}

/** Limits that were reached, as callers are told of them. */
export function reasonsShown(reasons: readonly Reason[]) {
  return reasons.map(({ limit, detail, bound, value, until }) => ({
    limit,
    detail,
    bound,
    value,
    ...(until === undefined ? {} : { until: new Date(until).toISOString() }),
  }));
}

/** The refusal of an exchange that was judged; each reason names its limit. */
export function problemOfJudgement({ reasons }: Judgement): Problem {
  const against = reasons.filter(({ action }) => action === 'refuse');
  return new Problem('exchange_not_allowed', against[0]?.detail, { reasons: reasonsShown(against) });
}
