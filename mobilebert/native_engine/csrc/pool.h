/* Threads that wait for work. */

#ifndef MB_POOL_H
#define MB_POOL_H

typedef struct mb_pool mb_pool;

/* `threads` in all, the caller's included; NULL where the system gives no more. */
mb_pool *mb_pool_open(int threads);
void mb_pool_close(mb_pool *pool);
int mb_pool_threads(const mb_pool *pool);

/* Whether this process has the threads: a child of fork() has not. */
int mb_pool_is_here(const mb_pool *pool);

/* Calls work(context, thread) on every thread, and returns when all of them have. One caller at a time. */
void mb_pool_run(mb_pool *pool, void (*work)(void *context, int thread), void *context);

/* Within work: waits until every thread has come here. */
void mb_pool_meet(mb_pool *pool);

#endif
