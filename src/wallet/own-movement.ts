/** A movement that nobody asked for: what time has decided, and what is only weighed. It has no reference and nothing to keep. */
import type { Movement } from './wallet.ts';

type Said = 'script' | 'kind' | 'program' | 'member' | 'operation' | 'at' | 'judgedAt' | 'input';

export function ownMovement(said: Pick<Movement, Said>): Movement {
  return {
    ...said,
    client: 0,
    origins: [],
    order: '',
    referenceKey: '',
    fingerprint: '',
    occurredAt: said.at,
    lookedUpAt: said.judgedAt,
    isAwaited: false,
    request: '{}',
    factsVersion: undefined,
  };
}
