/** PURE. How what a contract does not allow is said to a caller. */
import { Problem } from '#src/errors.ts';
import type { QuoteRefusal } from './arithmetic.ts';
import type { Judgement } from './limits.ts';

/** The refusal of a quote. */
export function problemOfQuote({ word, detail, bound, left, period }: QuoteRefusal): Problem {
  if (word === 'cap_reached') return new Problem('cap_reached', detail, { bound, left, period });
  return new Problem('exchange_limit', detail, { limit: word, bound });
}

/** The refusal of an exchange that was judged; each reason names its limit. */
export function problemOfJudgement({ reasons }: Judgement): Problem {
  const against = reasons.filter(({ action }) => action === 'refuse');
  const shown = against.map(({ limit, detail, bound, value, until }) => ({
    limit,
    detail,
    bound,
    value,
    ...(until === undefined ? {} : { until: new Date(until).toISOString() }),
  }));
  return new Problem('exchange_not_allowed', against[0]?.detail, { reasons: shown });
}
