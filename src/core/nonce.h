/* The nonce of an Account Link redirect: computed, matched, judged for freshness (contract 6).
 *
 * nonce = base64url_nopad(HMAC-SHA256(hmac_key, time ":" account_id)), where time is the redirect's
 * text as received, never reformatted. Everything here takes bytes from the wire: malformed input
 * is an answer, not an accident. */
#ifndef RLK_NONCE_H
#define RLK_NONCE_H

#include "core/keyring.h"

#include <stdint.h>

/* RLK_E_INVALID_REQUEST unless time is 1 to RLK_TIME_DIGITS_MAX digits and account_id has 1 to
 * RLK_ACCOUNT_ID_BYTES_MAX bytes; RLK_E_NO_MEMORY. No NUL is written. */
rlk_err rlk_nonce_compute(rlk_hmac *key, rlk_span time, rlk_span account_id,
                          char out[RLK_NONCE_BYTES]);

/* True when one of the keys makes this nonce. All keys are tried, each in constant time, so that
 * the time taken tells nothing about how much was right. Malformed input matches nothing. */
bool rlk_nonce_matches(const rlk_keyring *ring, rlk_span nonce, rlk_span time, rlk_span account_id);

/* Milliseconds from the redirect's text; what does not fit saturates to INT64_MAX, the far future.
 * RLK_E_INVALID_REQUEST unless it is 1 to RLK_TIME_DIGITS_MAX ASCII digits. */
rlk_err rlk_nonce_time_parse(rlk_span time, int64_t *time_ms);

/* Whether a redirect of this time may be used at now: RLK_OK, RLK_E_LINK_EXPIRED (older than
 * window_ms), RLK_E_LINK_IN_FUTURE (more than skew_ms ahead). *delta_ms = now - time, saturated. */
rlk_err rlk_nonce_freshness(int64_t time_ms, int64_t now_ms, int64_t window_ms, int64_t skew_ms,
                            int64_t *delta_ms);

#endif
