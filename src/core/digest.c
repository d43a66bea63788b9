/* The one door to libcrypto; the contract is in digest.h. Of libcrypto only EVP is used, nothing
 * deprecated. */
#include "core/digest.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

struct rlk_hmac {
    rlk_alloc alloc;
    EVP_MAC_CTX *ctx;
};

/* libcrypto reads the digest's name through a pointer that is not const. */
static bool set_key(EVP_MAC_CTX *ctx, rlk_span key) {
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_init(ctx, (const unsigned char *)key.ptr, key.len, params) == 1;
}

/* A context that holds the prepared key, or NULL. */
static EVP_MAC_CTX *prepare(rlk_span key) {
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac); /* the context keeps a reference of its own */
    if (ctx != NULL && set_key(ctx, key)) return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

rlk_err rlk_hmac_new(rlk_hmac **out, const rlk_alloc *a, rlk_span key) {
    *out = NULL;
    if (key.len == 0 || key.len > RLK_KEY_BYTES_MAX) return RLK_E_INVALID_OPTION;
    rlk_hmac *h = rlk_alloc_zeroed(a, sizeof *h);
    if (h == NULL) return RLK_E_NO_MEMORY;
    h->alloc = *a;
    ERR_set_mark();
    h->ctx = prepare(key);
    ERR_pop_to_mark();
    if (h->ctx == NULL) {
        rlk_hmac_free(h);
        return RLK_E_NO_MEMORY;
    }
    *out = h;
    return RLK_OK;
}

void rlk_hmac_free(rlk_hmac *h) {
    if (h == NULL) return;
    EVP_MAC_CTX_free(h->ctx); /* cleanses the key */
    const rlk_alloc a = h->alloc;
    rlk_alloc_free(&a, h, sizeof *h);
}

/* Without a key, init only rewinds the context to the prepared one. */
static bool compute(EVP_MAC_CTX *ctx, const rlk_span *parts, size_t count, uint8_t *out) {
    if (EVP_MAC_init(ctx, NULL, 0, NULL) != 1) return false;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *bytes = (const unsigned char *)parts[i].ptr;
        if (parts[i].len > 0 && EVP_MAC_update(ctx, bytes, parts[i].len) != 1) return false;
    }
    size_t written = 0;
    return EVP_MAC_final(ctx, out, &written, RLK_HMAC_BYTES) == 1 && written == RLK_HMAC_BYTES;
}

static rlk_err outcome(bool ok, uint8_t *out) {
    if (ok) return RLK_OK;
    rlk_wipe(out, RLK_HMAC_BYTES);
    return RLK_E_NO_MEMORY;
}

rlk_err rlk_hmac_compute(rlk_hmac *h, const rlk_span *parts, size_t count,
                         uint8_t out[RLK_HMAC_BYTES]) {
    ERR_set_mark();
    const bool ok = compute(h->ctx, parts, count, out);
    ERR_pop_to_mark();
    return outcome(ok, out);
}

rlk_err rlk_sha256(rlk_span bytes, uint8_t out[RLK_HMAC_BYTES]) {
    unsigned int written = 0;
    ERR_set_mark();
    const bool ok = EVP_Digest(bytes.ptr, bytes.len, out, &written, EVP_sha256(), NULL) == 1 &&
                    written == RLK_HMAC_BYTES;
    ERR_pop_to_mark();
    return outcome(ok, out);
}

bool rlk_same(const void *a, const void *b, size_t bytes) {
    return bytes == 0 || CRYPTO_memcmp(a, b, bytes) == 0;
}
