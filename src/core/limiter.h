/* A token bucket that keeps one client under the server's limit (contract 8) and listens to it.
 *
 * Pure: monotonic milliseconds come in. Whole numbers only, so that nothing drifts: the level
 * counts millionths of a call. A time that goes back counts as no time passed. The server's word
 * only ever lowers what may be sent, never raises it: answers arrive out of order. */
#ifndef RLK_LIMITER_H
#define RLK_LIMITER_H

#include "core/err.h"

#include <stdint.h>

typedef struct rlk_limiter {
    int64_t gain;       /* millionths of a call for each millisecond */
    int64_t level_max;  /* millionths */
    int64_t level;      /* 0..level_max */
    int64_t last_ms;    /* when the level was brought up to date */
    int64_t blocked_ms; /* nothing is let through before this */
} rlk_limiter;

enum { RLK_LIMITER_UNTOLD = -1 };

/* A full bucket of `burst` calls that refills by per_s calls a second, at least a thousandth.
 * RLK_E_INVALID_OPTION outside of 0.001..RLK_LIMITER_PER_S_MAX, 1..RLK_LIMITER_BURST_MAX. */
rlk_err rlk_limiter_init(rlk_limiter *l, double per_s, int64_t burst);

/* 0: one call was taken from the bucket. Else nothing was, and this many ms are to pass before
 * asking again. */
int64_t rlk_limiter_take(rlk_limiter *l, int64_t now_ms);

/* What an answer said: X-RateLimit-Remaining in calls, Retry-After in ms; RLK_LIMITER_UNTOLD (or
 * any negative number) when it said nothing. Retry-After is bounded to RLK_RETRY_AFTER_MS_MAX. */
void rlk_limiter_observe(rlk_limiter *l, int64_t now_ms, int64_t remaining, int64_t retry_after_ms);

#endif
