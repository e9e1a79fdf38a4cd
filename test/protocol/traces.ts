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
3. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
4. writer 0 appends the fence
5. writer 0 writes what the journal holds, and decides whether members stay
6. writer 0 appends the opening record and what is booked again
7. writer 0 commits the epoch
8. writer 0 writes what stands in the epoch
9. writer 0 loads the scripts
10. writer 0 serves
11. API 0 hears that member 0 is cold, and reads it in the books
12. API 0 learns the newest epoch
13. API 0 installs what it has read
14. API 1 accrues for member 0, and acknowledges
15. API 0 hears that member 0 is cold, and reads it in the books
16. API 0 installs what it has read
=> the balance of member 0 is not the sum of its operations
`.trim(),

  'fence record': `
1. Redis becomes the copy and keeps its scripts (demoted, resynchronised, promoted)
2. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
3. writer 0 appends the fence
4. writer 0 writes what the journal holds, and decides whether members stay
5. writer 0 appends the opening record and what is booked again
6. writer 0 commits the epoch
7. API 0 hears that member 0 is cold, and reads it in the books
8. API 0 learns the newest epoch
9. writer 0 writes what stands in the epoch
10. writer 1 takes the lease
11. writer 1 begins a recovery: it reserves the numbers of a fence and an epoch
12. writer 1 appends the fence
13. writer 1 writes what the journal holds, and decides whether members stay
14. writer 0 loads the scripts
15. API 0 installs what it has read
16. API 0 accrues for member 0, and acknowledges
=> operation 0 is lost, and no recovery named it
`.trim(),

  'opening record': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. Redis restarts on its data
4. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
5. writer 0 appends the fence
6. writer 0 writes what the journal holds, and decides whether members stay
7. writer 0 appends the opening record and what is booked again
8. writer 0 commits the epoch
9. writer 0 writes what stands in the epoch
10. writer 0 loads the scripts
11. writer 0 serves
12. API 0 learns the newest epoch
13. API 0 accrues for member 0, and acknowledges
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
8. writer 1 begins a recovery: it reserves the numbers of a fence and an epoch
9. writer 1 appends the fence
10. writer 1 writes what the journal holds, and decides whether members stay
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
5. writer 0 reads the journal
6. writer 0 writes to the books
7. Redis restarts on its data
8. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
9. writer 1 takes the lease
10. writer 1 begins a recovery: it reserves the numbers of a fence and an epoch
11. writer 1 appends the fence
12. writer 1 writes what the journal holds, and decides whether members stay
13. writer 1 appends the opening record and what is booked again
14. writer 1 commits the epoch
15. writer 1 writes what stands in the epoch
16. writer 1 loads the scripts
17. writer 1 serves
18. Redis comes back as the copy (a stale replica is promoted)
19. writer 0 appends the fence
20. writer 0 writes what the journal holds, and decides whether members stay
21. writer 0 appends the opening record and what is booked again
=> the balance of member 0 is not the sum of its operations
`.trim(),

  identity: `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. API 0 accrues for member 0, and acknowledges
4. Redis becomes the copy and keeps its scripts (demoted, resynchronised, promoted)
=> operation 0 is lost, and no recovery named it
`.trim(),

  history: `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. Redis becomes the copy and keeps its scripts (demoted, resynchronised, promoted)
6. API 0 accrues for member 0, and acknowledges
=> operation 0 is lost, and no recovery named it
`.trim(),

  'identity at the opening': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. Redis restarts on its data
6. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
7. writer 0 appends the fence
8. writer 0 writes what the journal holds, and decides whether members stay
9. Redis comes back as the copy (a stale replica is promoted)
=> the balance of member 0 is not the sum of its operations
`.trim(),

  'witness of an opening': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. Redis restarts on its data
6. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
7. writer 0 appends the fence
8. writer 0 writes what the journal holds, and decides whether members stay
9. Redis comes back as the copy (a stale replica is promoted)
=> the balance of member 0 is not the sum of its operations
`.trim(),

  'loads behind what is booked again': `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. writer 0 reads the journal
6. writer 0 writes to the books
7. the copy is loaded into the Redis that runs (DEBUG RELOAD)
8. API 0 accrues for member 0, and acknowledges
9. writer 0 reads the journal
10. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
11. writer 0 appends the fence
12. writer 0 writes what the journal holds, and decides whether members stay
13. writer 0 appends the opening record and what is booked again
14. writer 0 commits the epoch
15. API 0 learns the newest epoch
16. API 0 hears that member 0 is cold, and reads it in the books
17. writer 0 writes what stands in the epoch
18. writer 0 loads the scripts
19. API 0 installs what it has read
=> the balance of member 0 is not the sum of its operations
`.trim(),

  'lease at the commit': `
1. Redis restarts on its data
2. writer 0 begins a recovery: it reserves the numbers of a fence and an epoch
3. writer 0 appends the fence
4. writer 0 writes what the journal holds, and decides whether members stay
5. writer 1 takes the lease
6. writer 1 begins a recovery: it reserves the numbers of a fence and an epoch
7. writer 1 appends the fence
8. writer 1 writes what the journal holds, and decides whether members stay
9. writer 0 appends the opening record and what is booked again
10. writer 1 appends the opening record and what is booked again
11. writer 1 commits the epoch
12. writer 0 commits the epoch
=> the shard waits for a person: its journal seems newer than the books
`.trim(),
};

/** Recovery books the second one again, under a number of its own. */
export const reloadedTrace = `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. a copy of Redis is made (a replica falls behind here)
4. API 0 accrues for member 0, and acknowledges
5. writer 0 reads the journal
6. writer 0 writes to the books
7. the copy is loaded into the Redis that runs (DEBUG RELOAD)
8. API 0 accrues for member 0, and acknowledges
=> operation 1 is acknowledged as written, and the books do not have it
`.trim();

/** The first one was only in Redis, and its number is taken. */
export const unnamedTrace = `
1. API 0 hears that member 0 is cold, and reads it in the books
2. API 0 installs what it has read
3. API 0 accrues for member 0, and acknowledges
4. the copy is loaded into the Redis that runs (DEBUG RELOAD)
=> operation 0 is lost, and no recovery named it
`.trim();
