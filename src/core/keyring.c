/* The HMAC keys in rotation; the contract is in keyring.h. */
#include "core/keyring.h"

rlk_err rlk_keyring_add(rlk_keyring *ring, const rlk_alloc *a, rlk_span key) {
    if (ring->count == RLK_KEY_COUNT_MAX) return RLK_E_INVALID_OPTION;
    rlk_hmac *h = NULL;
    const rlk_err e = rlk_hmac_new(&h, a, key);
    if (e != RLK_OK) return e;
    ring->keys[ring->count++] = h;
    return RLK_OK;
}

rlk_hmac *rlk_keyring_newest(const rlk_keyring *ring) {
    return ring->keys[0];
}

void rlk_keyring_deinit(rlk_keyring *ring) {
    while (ring->count > 0) {
        rlk_hmac_free(ring->keys[--ring->count]);
        ring->keys[ring->count] = NULL;
    }
}
