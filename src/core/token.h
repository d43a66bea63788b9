/* How long an access token lives, and whether it should be renewed now (contract 4).
 *
 * Pure: wall-clock times in ms come in. The absolute expiry is computed once, when the token
 * arrives, and stored. Any 64-bit number is a legal time here: rows may be damaged, and the worst
 * that follows is one refresh too many. Never says "fresh" of what may have expired. */
#ifndef RLK_TOKEN_H
#define RLK_TOKEN_H

#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct rlk_token_times {
    int64_t obtained_ms;
    int64_t expires_ms;
    bool doubtful; /* the answer's expires_in was not believed; a safe value stands in */
} rlk_token_times;

/* From expires_in as a number of seconds, NaN when there was none. Not believed: no number
 * (RLK_TOKEN_LIFETIME_S_DEFAULT), below one second (.._MIN), more than .._MAX (that). A short but
 * positive lifetime is the server's right and kept. now_ms is 0 to RLK_TIME_MS_MAX. */
rlk_token_times rlk_token_times_from(double expires_in_s, int64_t now_ms);

/* The number in a text such as "14400", "14400.0" or "-5"; NaN for anything else. Locale, exponent,
 * hexadecimal and surrounding space are not accepted. */
double rlk_token_seconds_parse(rlk_span text);

typedef enum rlk_token_verdict {
    RLK_TOKEN_FRESH,
    RLK_TOKEN_ADVISORY, /* one caller renews; the others go on, and a failure is tolerated */
    RLK_TOKEN_MANDATORY /* all wait for the new one, errors surface */
} rlk_token_verdict;

/* The early window is early_ms, but at most a quarter of the lifetime, or a short-lived token would
 * be renewed for ever; the mandatory window lies inside it. A clock more than skew_ms behind
 * obtained_ms means that it stepped back: renew, never extend. */
rlk_token_verdict rlk_token_judge(int64_t obtained_ms, int64_t expires_ms, int64_t now_ms,
                                  int64_t early_ms, int64_t skew_ms);

/* When that early window begins. */
int64_t rlk_token_early_from(int64_t obtained_ms, int64_t expires_ms, int64_t early_ms);

/* "fresh", "advisory", "mandatory". */
const char *rlk_token_verdict_name(rlk_token_verdict v);

/* How far a refresh token that is not renewed has come towards its end: 0 at first, then a number
 * that grows by one at 7, 14, 21 and 25 days and with every further day. For warnings alone: how
 * long a refresh token lives is Ring's to say, by refusing it. */
int64_t rlk_token_overdue_stage(int64_t refreshed_ms, int64_t now_ms);

/* When a refresh token obtained then is expected to lapse. */
int64_t rlk_token_lapses_ms(int64_t refreshed_ms);

/* Whole days until then, 0 once it has come. */
int64_t rlk_token_days_left(int64_t refreshed_ms, int64_t now_ms);

#endif
