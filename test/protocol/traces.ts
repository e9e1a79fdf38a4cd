/**
 * The counter-examples, to read: a shortest way to go wrong without each guard, as the search finds it. The test compares
 * them, so a change of the protocol that changes one of them is seen. A step that the missing guard leaves empty still has its
 * line, and what is wrong may show only after a writer has gone on alone until nothing is left to do.
 */
import type { Guard } from './protocol.ts';

export const traces: Readonly<Record<Guard, string>> = {
  'position check': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. writer 0 reads the journal
6. writer 0 writes to the books
7. Redis comes back as the copy (a stale replica is promoted)
=> the balance of member 0 is not the sum of its operations
`.trim(),

  evictedThrough: `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 1 hears that member 0 is cold, and reads it in the books
3. API 0 installs what it has read
4. API 0 accrues for member 0, and acknowledges
5. writer 0 reads the journal
6. writer 0 writes to the books
7. API 0 evicts member 0
8. API 1 installs what it has read
=> the balance of member 0 is not the sum of its operations
`.trim(),

  fence: `
1. Redis loses everything (FLUSHALL)
2. writer 0 reads the journal
3. writer 0 begins a recovery: it reserves the number of the epoch
4. writer 0 appends the opening record
5. writer 0 drains the journal and decides whether members stay
6. writer 0 loads the scripts
7. writer 0 commits the epoch
8. API 0 hears that member 0 is cold, and reads it in the books
9. API 0 learns the newest epoch
10. API 0 installs what it has read
11. API 1 accrues for member 0, and acknowledges
12. API 0 hears that member 0 is cold, and reads it in the books
13. API 0 installs what it has read
=> the balance of member 0 is not the sum of its operations
`.trim(),

  'opening record': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. Redis restarts on its data
4. writer 0 begins a recovery: it reserves the number of the epoch
5. writer 0 appends the opening record
6. writer 0 drains the journal and decides whether members stay
7. writer 0 loads the scripts
8. writer 0 commits the epoch
9. API 0 learns the newest epoch
10. API 0 accrues for member 0, and acknowledges
=> operation 0 is acknowledged as written, and the books do not have it
`.trim(),

  'drained check': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. API 0 accrues for member 0, and acknowledges
4. API 0 evicts member 0
=> a member was evicted before its record was written: nobody can load it
`.trim(),

  'lease term': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. writer 1 takes the lease
4. a copy of Redis is made (a replica falls behind here)
5. API 0 accrues for member 0, and acknowledges
6. writer 0 reads the journal
7. Redis comes back as the copy (a stale replica is promoted)
8. writer 1 begins a recovery: it reserves the number of the epoch
9. writer 1 appends the opening record
10. writer 1 drains the journal and decides whether members stay
11. writer 0 writes to the books
=> the balance of member 0 is not the sum of its operations
`.trim(),

  'same epoch': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. API 0 accrues for member 0, and acknowledges
4. Redis comes back as the copy (a stale replica is promoted)
=> operation 0 is acknowledged as written, and the books never get it
`.trim(),

  'reserved number': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. Redis restarts on its data
6. writer 0 begins a recovery: it reserves the number of the epoch
7. writer 1 takes the lease
8. writer 1 begins a recovery: it reserves the number of the epoch
9. writer 1 appends the opening record
10. writer 1 drains the journal and decides whether members stay
11. writer 1 loads the scripts
12. writer 1 commits the epoch
13. Redis comes back as the copy (a stale replica is promoted)
14. writer 0 appends the opening record
=> the balance of member 0 is not the sum of its operations
`.trim(),

  'identity': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. Redis restarts on its data
4. writer 0 begins a recovery: it reserves the number of the epoch
5. a copy of Redis is made (a replica falls behind here)
6. writer 0 appends the opening record
7. writer 0 drains the journal and decides whether members stay
8. Redis comes back as the copy (a stale replica is promoted)
9. writer 0 loads the scripts
10. writer 0 commits the epoch
11. API 0 learns the newest epoch
12. API 0 accrues for member 0, and acknowledges
=> operation 0 is acknowledged as written, and the books do not have it
`.trim(),

  'lease at the commit': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. Redis restarts on its data
4. writer 0 begins a recovery: it reserves the number of the epoch
5. writer 0 appends the opening record
6. writer 0 drains the journal and decides whether members stay
7. writer 1 takes the lease
8. writer 0 loads the scripts
9. writer 1 begins a recovery: it reserves the number of the epoch
10. writer 1 appends the opening record
11. writer 1 drains the journal and decides whether members stay
12. writer 1 loads the scripts
13. writer 1 commits the epoch
14. API 0 learns the newest epoch
15. API 0 accrues for member 0, and acknowledges
16. writer 0 commits the epoch
=> the shard stops: its journal contradicts the books
`.trim(),
};

/** Nothing notices the older copy: the number of an operation that was written is given again. */
export const openHoleTrace = `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. Redis becomes the copy and keeps its scripts (demoted, resynchronised, promoted)
6. API 0 accrues for member 0, and acknowledges
=> operation 0 is acknowledged as written, and the books never get it
`.trim();
