/* AES-256-GCM by libcrypto; see bare_seal.h. */
#include "bare_seal.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "bare_jobs.h"

enum { KEY_BYTES = 32, NONCE_BYTES = 12, TAG_BYTES = 16 };

struct bare_seal {
    EVP_CIPHER_CTX *ctx; /* keeps its cipher, as a vault's does */
    unsigned char key[KEY_BYTES], nonce[NONCE_BYTES], tag[TAG_BYTES];
    size_t bytes;
    unsigned char *sealed, *text;
};

static const unsigned char place[] = "app-under-test/grant/0123456789abcdef0123456789abcdef access";

static void check(int code) {
    if (code != 1) bare_die("libcrypto", "refused");
}

static void begin(bare_seal *s, int seals) {
    int n = 0;
    check(EVP_CipherInit_ex(s->ctx, NULL, NULL, s->key, s->nonce, seals));
    check(EVP_CipherUpdate(s->ctx, NULL, &n, place, sizeof place - 1));
}

bare_seal *bare_seal_new(size_t bytes) {
    int n = 0;
    bare_seal *s = calloc(1, sizeof *s);
    if (s == NULL) bare_die("seal", "out of memory");
    s->bytes = bytes;
    s->sealed = calloc(1, bytes + 1);
    s->text = calloc(1, bytes + 1);
    s->ctx = EVP_CIPHER_CTX_new();
    if (s->sealed == NULL || s->text == NULL || s->ctx == NULL) bare_die("seal", "out of memory");
    check(RAND_bytes(s->key, sizeof s->key));
    check(RAND_bytes(s->nonce, sizeof s->nonce));
    check(EVP_CipherInit_ex(s->ctx, EVP_aes_256_gcm(), NULL, NULL, NULL, 1));
    begin(s, 1);
    check(EVP_CipherUpdate(s->ctx, s->sealed, &n, s->text, (int)bytes));
    check(EVP_CipherFinal_ex(s->ctx, s->sealed + n, &n));
    check(EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, s->tag));
    return s;
}

void bare_seal_open(bare_seal *s) {
    int n = 0;
    begin(s, 0);
    check(EVP_CipherUpdate(s->ctx, s->text, &n, s->sealed, (int)s->bytes));
    check(EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, s->tag));
    check(EVP_CipherFinal_ex(s->ctx, s->text + n, &n));
}

void bare_seal_free(bare_seal *s) {
    if (s == NULL) return;
    EVP_CIPHER_CTX_free(s->ctx);
    free(s->sealed);
    free(s->text);
    free(s);
}
