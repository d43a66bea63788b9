/* Arithmetic on milliseconds that saturates instead of overflowing.
 *
 * Stored rows and the wire bring any 64-bit number; a sum of two must be far away rather than
 * wrapped around to the other side. */
#ifndef RLK_MS_H
#define RLK_MS_H

#include <stdint.h>

static inline int64_t rlk_ms_add(int64_t a, int64_t b) {
    int64_t sum = 0;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

static inline int64_t rlk_ms_sub(int64_t a, int64_t b) {
    int64_t difference = 0;
    if (!__builtin_sub_overflow(a, b, &difference)) return difference;
    return b < 0 ? INT64_MAX : INT64_MIN;
}

static inline int64_t rlk_ms_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t rlk_ms_max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

#endif
