/* The X-Signature of a webhook (contract 9): "sha256=" and the lowercase hex of HMAC-SHA256 over
 * the raw body. The same key as the nonce's, another encoding.
 *
 * Verifying never fails loudly: whatever the bytes, the answer is yes or no. */
#ifndef RLK_SIGNATURE_H
#define RLK_SIGNATURE_H

#include "core/codec.h"
#include "core/keyring.h"

#define RLK_SIGNATURE_PREFIX "sha256="

enum {
    RLK_SIGNATURE_PREFIX_BYTES = sizeof RLK_SIGNATURE_PREFIX - 1,
    RLK_SIGNATURE_BYTES = RLK_SIGNATURE_PREFIX_BYTES + RLK_HEX_CHARS(RLK_HMAC_BYTES)
};

/* RLK_E_NO_MEMORY is the only failure. No NUL is written. */
rlk_err rlk_signature_compute(rlk_hmac *key, rlk_span body, char out[RLK_SIGNATURE_BYTES]);

/* True when one of the keys signs this body so. All keys are tried, each in constant time. */
bool rlk_signature_verify(const rlk_keyring *ring, rlk_span body, rlk_span signature);

#endif
