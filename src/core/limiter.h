/* A token bucket that keeps one client under the server's limit (contract 8) and listens to it.
 *
 * Pure: monotonic milliseconds come in. Whole numbers only, so that nothing drifts: the level
 * counts millionths of a call. A time that goes back counts as no time passed. The server's word
 * only ever lowers what may be sent, never raises it: answers arrive out of order.
 * Calls nobody waits for leave a reserve to those somebody does wait for, and are paced: however
 * full the bucket is, they never go faster than it refills. */
#ifndef RLK_LIMITER_H
#define RLK_LIMITER_H

#include "core/err.h"

#include <stdint.h>

typedef struct rlk_limiter {
    int64_t gain;       /* millionths of a call for each millisecond */
    int64_t level_max;  /* millionths */
    int64_t level;      /* 0..level_max */
    int64_t paced_max;  /* one call, and what a millisecond may bring beyond it */
    int64_t paced;      /* 0..paced_max: what calls that leave a reserve may take by now */
    int64_t last_ms;    /* when the level was brought up to date */
    int64_t blocked_ms; /* nothing is let through before this */
} rlk_limiter;

enum { RLK_LIMITER_UNTOLD = -1 };

/* A full bucket of `burst` calls that refills by per_s calls a second, at least a thousandth.
 * RLK_E_INVALID_OPTION outside of 0.001..RLK_LIMITER_PER_S_MAX, 1..RLK_LIMITER_BURST_MAX. */
rlk_err rlk_limiter_init(rlk_limiter *l, double per_s, int64_t burst);

/* 0: one call was taken from the bucket. Else nothing was, and this many ms are to pass before
 * asking again. With a reserve above 0 the call is paced, and is taken only when more than that
 * many calls are left; half of the bucket can be reserved at most, so that its turn does come. */
int64_t rlk_limiter_take(rlk_limiter *l, int64_t now_ms, int64_t reserve);

/* What an answer said: X-RateLimit-Remaining in calls, Retry-After in ms; RLK_LIMITER_UNTOLD (or
 * any negative number) when it said nothing. Retry-After is bounded to RLK_RETRY_AFTER_MS_MAX. */
void rlk_limiter_observe(rlk_limiter *l, int64_t now_ms, int64_t remaining, int64_t retry_after_ms);

#endif
