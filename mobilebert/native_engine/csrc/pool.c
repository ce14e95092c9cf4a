/* Threads that wait for work: they look for it for a while, then sleep. */

#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

/* Looks, each some ten nanoseconds apart: about the time that waking a sleeper takes. */
enum { LOOKS = 4000 };

struct mb_pool {
    int threads;
    pid_t process;
    pthread_t *started; /* [threads - 1] */
    pthread_mutex_t lock;
    pthread_cond_t work_is_there;
    void (*work)(void *, int);
    void *context;
    atomic_uint round;    /* counts the works; changed under the lock */
    atomic_int at_meeting; /* threads that have come to the meeting under way */
    atomic_uint meeting;   /* counts the meetings */
    int is_closing;
};

typedef struct {
    mb_pool *pool;
    int thread;
} Place;

void mb_pool_meet(mb_pool *pool) {
    unsigned meeting = atomic_load(&pool->meeting);
    if (atomic_fetch_add(&pool->at_meeting, 1) + 1 == pool->threads) {
        atomic_store(&pool->at_meeting, 0);
        atomic_fetch_add(&pool->meeting, 1);
        return;
    }
    /* A thread that another process keeps from its processor is worth giving up one's own for. */
    for (int look = 0; atomic_load(&pool->meeting) == meeting; look++)
        if (look < LOOKS)
            PAUSE();
        else
            sched_yield();
}

static void wait_for_work(mb_pool *pool, unsigned round) {
    for (int look = 0; look < LOOKS; look++) {
        if (atomic_load(&pool->round) != round) return;
        PAUSE();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->round) == round) pthread_cond_wait(&pool->work_is_there, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static void *be_worker(void *argument) {
    Place place = *(Place *)argument;
    free(argument);
    for (unsigned round = 0;; round++) {
        wait_for_work(place.pool, round);
        if (place.pool->is_closing) return NULL;
        place.pool->work(place.pool->context, place.thread);
        mb_pool_meet(place.pool);
    }
}

static void announce(mb_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->round, 1);
    pthread_cond_broadcast(&pool->work_is_there);
    pthread_mutex_unlock(&pool->lock);
}

void mb_pool_run(mb_pool *pool, void (*work)(void *, int), void *context) {
    pool->work = work, pool->context = context;
    if (pool->threads > 1) announce(pool);
    work(context, 0);
    mb_pool_meet(pool);
}

mb_pool *mb_pool_open(int threads) {
    mb_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->threads = 1;
    pool->process = getpid();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_is_there, NULL);
    pool->started = calloc((size_t)threads, sizeof *pool->started);
    for (int thread = 1; pool->started && thread < threads; thread++) {
        Place *place = malloc(sizeof *place);
        if (place) *place = (Place){pool, thread};
        if (!place || pthread_create(&pool->started[thread - 1], NULL, be_worker, place)) {
            free(place);
            break;
        }
        pool->threads++;
    }
    if (pool->threads == threads) return pool;
    mb_pool_close(pool);
    return NULL;
}

void mb_pool_close(mb_pool *pool) {
    if (!pool) return;
    if (mb_pool_is_here(pool)) { /* elsewhere the condition would be waited for until sleepers leave it that are not there */
        pool->is_closing = 1;
        announce(pool);
        for (int thread = 1; thread < pool->threads; thread++) pthread_join(pool->started[thread - 1], NULL);
        pthread_cond_destroy(&pool->work_is_there);
        pthread_mutex_destroy(&pool->lock);
    }
    free(pool->started);
    free(pool);
}

int mb_pool_threads(const mb_pool *pool) { return pool->threads; }

int mb_pool_is_here(const mb_pool *pool) { return pool->threads == 1 || pool->process == getpid(); }
