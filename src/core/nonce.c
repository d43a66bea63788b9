/* The nonce of an Account Link redirect; the contract is in nonce.h. */
#include "core/nonce.h"
#include "core/codec.h"
#include "core/ms.h"

_Static_assert(RLK_BASE64URL_CHARS(RLK_HMAC_BYTES) == RLK_NONCE_BYTES, "a nonce is one HMAC");

static bool is_time_text(rlk_span time) {
    if (time.len == 0 || time.len > RLK_TIME_DIGITS_MAX) return false;
    for (size_t i = 0; i < time.len; i++)
        if (!rlk_is_digit(time.ptr[i])) return false;
    return true;
}

static bool is_account_id(rlk_span id) {
    return id.len > 0 && id.len <= RLK_ACCOUNT_ID_BYTES_MAX;
}

rlk_err rlk_nonce_compute(rlk_hmac *key, rlk_span time, rlk_span account_id,
                          char out[RLK_NONCE_BYTES]) {
    if (!is_time_text(time) || !is_account_id(account_id)) return RLK_E_INVALID_REQUEST;
    const rlk_span parts[] = {time, {":", 1}, account_id};
    uint8_t mac[RLK_HMAC_BYTES];
    const rlk_err e = rlk_hmac_compute(key, parts, sizeof parts / sizeof parts[0], mac);
    if (e != RLK_OK) return e;
    rlk_base64url_encode((rlk_span){(const char *)mac, sizeof mac}, out);
    return RLK_OK;
}

bool rlk_nonce_matches(const rlk_keyring *ring, rlk_span nonce, rlk_span time,
                       rlk_span account_id) {
    if (nonce.len != RLK_NONCE_BYTES) return false;
    bool matched = false;
    for (size_t i = 0; i < ring->count; i++) {
        char expected[RLK_NONCE_BYTES];
        if (rlk_nonce_compute(ring->keys[i], time, account_id, expected) != RLK_OK) continue;
        matched |= rlk_same(expected, nonce.ptr, sizeof expected);
    }
    return matched;
}

rlk_err rlk_nonce_time_parse(rlk_span time, int64_t *time_ms) {
    if (!is_time_text(time)) return RLK_E_INVALID_REQUEST;
    int64_t value = 0;
    for (size_t i = 0; i < time.len; i++) {
        const int64_t digit = time.ptr[i] - '0';
        if (value > (INT64_MAX - digit) / 10)
            value = INT64_MAX;
        else
            value = value * 10 + digit;
    }
    *time_ms = value;
    return RLK_OK;
}

rlk_err rlk_nonce_freshness(int64_t time_ms, int64_t now_ms, int64_t window_ms, int64_t skew_ms,
                            int64_t *delta_ms) {
    *delta_ms = rlk_ms_sub(now_ms, time_ms);
    if (*delta_ms > window_ms) return RLK_E_LINK_EXPIRED;
    if (rlk_ms_add(*delta_ms, skew_ms) < 0) return RLK_E_LINK_IN_FUTURE;
    return RLK_OK;
}
