/* A token bucket; the contract is in limiter.h. */
#include "core/limiter.h"
#include "core/limits.h"
#include "core/ms.h"

static const int64_t one_call = 1000000;

_Static_assert((int64_t)RLK_LIMITER_BURST_MAX * 1000000 <= INT64_MAX / 2, "a full bucket fits");
_Static_assert((int64_t)RLK_LIMITER_PER_S_MAX * 1000 <= INT64_MAX / 2, "the gain fits");

rlk_err rlk_limiter_init(rlk_limiter *l, double per_s, int64_t burst) {
    /* written so that NaN fails too */
    if (!(per_s >= 0.001 && per_s <= RLK_LIMITER_PER_S_MAX)) return RLK_E_INVALID_OPTION;
    if (burst < 1 || burst > RLK_LIMITER_BURST_MAX) return RLK_E_INVALID_OPTION;
    const int64_t gain = (int64_t)(per_s * 1000 + 0.5); /* 10^6 millionths in 10^3 ms */
    *l = (rlk_limiter){
        .gain = gain,
        .level_max = burst * one_call,
        .level = burst * one_call,
        .paced_max = one_call + gain - 1, /* without the rest, parts of a ms would be lost */
        .paced = one_call,
        .last_ms = INT64_MIN,
        .blocked_ms = INT64_MIN,
    };
    return RLK_OK;
}

/* How long the bucket takes to gain this much, rounded up. */
static int64_t ms_to_gain(const rlk_limiter *l, int64_t millionths) {
    return (millionths + l->gain - 1) / l->gain;
}

static int64_t gained(const rlk_limiter *l, int64_t level, int64_t level_max, int64_t passed_ms) {
    /* compared before multiplying: a long sleep must not overflow */
    if (passed_ms >= ms_to_gain(l, level_max - level)) return level_max;
    return level + passed_ms * l->gain;
}

static void refill(rlk_limiter *l, int64_t now_ms) {
    const int64_t passed_ms = rlk_ms_sub(now_ms, l->last_ms);
    if (passed_ms <= 0) return;
    l->last_ms = now_ms;
    l->level = gained(l, l->level, l->level_max, passed_ms);
    l->paced = gained(l, l->paced, l->paced_max, passed_ms);
}

/* What the bucket still lacks before this call may be taken, in millionths. */
static int64_t lacking(const rlk_limiter *l, int64_t reserve) {
    if (reserve <= 0) return one_call - l->level;
    const int64_t half = l->level_max / one_call / 2;
    const int64_t needed = (1 + rlk_ms_min(reserve, half)) * one_call;
    return rlk_ms_max(needed - l->level, one_call - l->paced);
}

int64_t rlk_limiter_take(rlk_limiter *l, int64_t now_ms, int64_t reserve) {
    refill(l, now_ms);
    if (now_ms < l->blocked_ms) return rlk_ms_sub(l->blocked_ms, now_ms);
    const int64_t lack = lacking(l, reserve);
    if (lack > 0) return ms_to_gain(l, lack);
    l->level -= one_call;
    if (reserve > 0) l->paced -= one_call;
    return 0;
}

void rlk_limiter_observe(rlk_limiter *l, int64_t now_ms, int64_t remaining,
                         int64_t retry_after_ms) {
    refill(l, now_ms);
    if (remaining >= 0 && remaining < l->level / one_call) l->level = remaining * one_call;
    if (retry_after_ms < 0) return;
    const int64_t bounded_ms = rlk_ms_min(retry_after_ms, RLK_RETRY_AFTER_MS_MAX);
    l->blocked_ms = rlk_ms_max(l->blocked_ms, rlk_ms_add(now_ms, bounded_ms));
}
