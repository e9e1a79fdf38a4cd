/** Puts exchanges together; once a process, because breakers and calls at once are counted there. */
import { createCalls } from './calling.ts';
import type { ExchangeSurroundings } from './context.ts';
import { createEndpoints } from './endpoints.ts';
import type { Exchanging } from './exchanges.ts';
import { counting, createGathered } from './gathered.ts';
import { type Patience, usualPatience } from './policy.ts';
import { createSaga } from './saga.ts';

export function createExchanging(
  surroundings: ExchangeSurroundings,
  changed: Partial<Patience> = {},
): Exchanging {
  const patience = { ...usualPatience, ...changed };
  const { pool, identity, telemetry } = surroundings;
  const context = {
    ...surroundings,
    patience,
    endpoints: createEndpoints(pool, identity),
    calls: createCalls(patience, telemetry.metrics),
    gathered: counting(createGathered(surroundings.keyedPool, identity), ({ action, outcome }) =>
      telemetry.metrics.exchangeSteps.inc({ action, outcome }),
    ),
  };
  return { ...context, saga: createSaga(context) };
}
