/* How long an access token lives; the contract is in token.h. */
#include "core/token.h"
#include "core/codec.h"
#include "core/limits.h"
#include "core/ms.h"

#include <math.h>

_Static_assert(RLK_TOKEN_LIFETIME_S_MIN <= RLK_TOKEN_LIFETIME_S_DEFAULT &&
                   RLK_TOKEN_LIFETIME_S_DEFAULT <= RLK_TOKEN_LIFETIME_S_MAX,
               "the default lies in the bounds");
_Static_assert(RLK_OVERDUE_DAYS_STEP < RLK_OVERDUE_DAYS_DAILY &&
                   RLK_OVERDUE_DAYS_DAILY < RLK_REFRESH_LIFETIME_DAYS,
               "the warnings come before the end");

static double believed_s(double s) {
    if (isnan(s)) return RLK_TOKEN_LIFETIME_S_DEFAULT;
    if (s < 1) return RLK_TOKEN_LIFETIME_S_MIN;
    if (s > RLK_TOKEN_LIFETIME_S_MAX) return RLK_TOKEN_LIFETIME_S_MAX;
    return s;
}

rlk_token_times rlk_token_times_from(double expires_in_s, int64_t now_ms) {
    const double lifetime_s = believed_s(expires_in_s);
    return (rlk_token_times){
        .obtained_ms = now_ms,
        .expires_ms = rlk_ms_add(now_ms, (int64_t)(lifetime_s * 1000)),
        .doubtful = lifetime_s != expires_in_s, /* true for NaN too */
    };
}

/* Adds up digits from *i on; stops at the first other character. A double cannot overflow on
 * them but to infinity, which is judged like any number too large. */
static double read_digits(rlk_span text, size_t *i) {
    double value = 0;
    for (; *i < text.len && rlk_is_digit(text.ptr[*i]); (*i)++)
        value = value * 10 + (text.ptr[*i] - '0');
    return value;
}

double rlk_token_seconds_parse(rlk_span text) {
    size_t i = 0;
    const bool negative = text.len > 0 && text.ptr[0] == '-';
    if (negative) i = 1;
    const size_t first = i;
    const double value = read_digits(text, &i);
    if (i == first) return NAN;
    if (i < text.len && text.ptr[i] == '.') {
        const size_t point = i++;
        (void)read_digits(text, &i); /* parts of a second do not matter, but must be digits */
        if (i == point + 1) return NAN;
    }
    if (i != text.len) return NAN;
    return negative ? -value : value;
}

static int64_t early_window_ms(int64_t obtained_ms, int64_t expires_ms, int64_t early_ms) {
    const int64_t lifetime_ms = rlk_ms_max(0, rlk_ms_sub(expires_ms, obtained_ms));
    return rlk_ms_min(rlk_ms_max(0, early_ms), lifetime_ms / 4);
}

int64_t rlk_token_early_from(int64_t obtained_ms, int64_t expires_ms, int64_t early_ms) {
    return rlk_ms_sub(expires_ms, early_window_ms(obtained_ms, expires_ms, early_ms));
}

rlk_token_verdict rlk_token_judge(int64_t obtained_ms, int64_t expires_ms, int64_t now_ms,
                                  int64_t early_ms, int64_t skew_ms) {
    if (now_ms < rlk_ms_sub(obtained_ms, skew_ms)) return RLK_TOKEN_MANDATORY;
    const int64_t advisory_ms = early_window_ms(obtained_ms, expires_ms, early_ms);
    const int64_t mandatory_ms = rlk_ms_min(RLK_TOKEN_MANDATORY_MS, advisory_ms);
    const int64_t left_ms = rlk_ms_sub(expires_ms, now_ms);
    if (left_ms <= mandatory_ms) return RLK_TOKEN_MANDATORY;
    return left_ms <= advisory_ms ? RLK_TOKEN_ADVISORY : RLK_TOKEN_FRESH;
}

const char *rlk_token_verdict_name(rlk_token_verdict v) {
    switch (v) {
    case RLK_TOKEN_FRESH:
        return "fresh";
    case RLK_TOKEN_ADVISORY:
        return "advisory";
    case RLK_TOKEN_MANDATORY:
        return "mandatory";
    }
    return "mandatory";
}

int64_t rlk_token_overdue_stage(int64_t refreshed_ms, int64_t now_ms) {
    const int64_t days = rlk_ms_max(0, rlk_ms_sub(now_ms, refreshed_ms)) / RLK_DAY_MS;
    if (days < RLK_OVERDUE_DAYS_DAILY) return days / RLK_OVERDUE_DAYS_STEP;
    const int64_t steps = (RLK_OVERDUE_DAYS_DAILY - 1) / RLK_OVERDUE_DAYS_STEP;
    return steps + 1 + days - RLK_OVERDUE_DAYS_DAILY;
}

int64_t rlk_token_lapses_ms(int64_t refreshed_ms) {
    return rlk_ms_add(refreshed_ms, RLK_REFRESH_LIFETIME_DAYS * RLK_DAY_MS);
}

int64_t rlk_token_days_left(int64_t refreshed_ms, int64_t now_ms) {
    const int64_t left_ms = rlk_ms_sub(rlk_token_lapses_ms(refreshed_ms), now_ms);
    return rlk_ms_max(0, left_ms) / RLK_DAY_MS;
}
