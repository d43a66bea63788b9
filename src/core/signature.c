/* The X-Signature of a webhook; the contract is in signature.h. */
#include "core/signature.h"

#include <string.h>

rlk_err rlk_signature_compute(rlk_hmac *key, rlk_span body, char out[RLK_SIGNATURE_BYTES]) {
    uint8_t mac[RLK_HMAC_BYTES];
    const rlk_err e = rlk_hmac_compute(key, &body, 1, mac);
    if (e != RLK_OK) return e;
    memcpy(out, RLK_SIGNATURE_PREFIX, RLK_SIGNATURE_PREFIX_BYTES);
    rlk_hex_encode((rlk_span){(const char *)mac, sizeof mac}, out + RLK_SIGNATURE_PREFIX_BYTES);
    return RLK_OK;
}

bool rlk_signature_verify(const rlk_keyring *ring, rlk_span body, rlk_span signature) {
    if (signature.len != RLK_SIGNATURE_BYTES) return false;
    bool verified = false;
    for (size_t i = 0; i < ring->count; i++) {
        char expected[RLK_SIGNATURE_BYTES];
        if (rlk_signature_compute(ring->keys[i], body, expected) != RLK_OK) continue;
        verified |= rlk_same(expected, signature.ptr, sizeof expected);
    }
    return verified;
}
