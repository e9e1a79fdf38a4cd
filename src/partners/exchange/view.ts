/** An exchange as its callers see it. */
import type { Program } from '#src/earning/program.ts';
import { memberId } from '#src/values.ts';
import { type Exchange, exchangeId, type HistoryStep, publicStatus, type Quoted } from './types.ts';

function stepView({ at, endedAt, action, outcome, detail }: HistoryStep): Record<string, unknown> {
  return {
    at: new Date(at).toISOString(),
    ...(endedAt === undefined ? {} : { endedAt: new Date(endedAt).toISOString() }),
    action,
    outcome,
    ...(detail === undefined ? {} : { detail }),
  };
}

export function exchangeView(
  program: Program,
  partner: string,
  exchange: Quoted & Partial<Pick<Exchange, 'refusal'>> & Pick<Exchange, 'state'>,
  history: readonly HistoryStep[],
): Record<string, unknown> {
  const { terms, direction, state, refusal } = exchange;
  const own = program.currencyByNumber.get(exchange.currency)?.code ?? String(exchange.currency);
  const [given, received] =
    direction === 'out' ? [own, exchange.partnerCurrency] : [exchange.partnerCurrency, own];
  return {
    object: 'exchange',
    id: exchangeId(exchange.exchange),
    mode: program.mode,
    status: publicStatus[state],
    member: memberId(exchange.member),
    partner,
    direction,
    give: { points: terms.give, currency: given },
    receive: { points: terms.receive, currency: received, base: terms.base, bonus: terms.bonus },
    fee: terms.fee,
    rate: terms.rate,
    expiresAt: new Date(exchange.quoteExpiresAt).toISOString(),
    // Also one that a person wanted back may turn out to be done.
    ...(refusal && state !== 'completed' ? { refusal: { code: refusal.code, ...refusal.fields } } : {}),
    history: history.map(stepView),
  };
}
