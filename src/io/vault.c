/* AES-256-GCM by libcrypto's EVP; the contract is in vault.h. Nothing deprecated is used. */
#include "io/vault.h"

#include "core/digest.h"
#include "io/random.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

static const char label[2] = {'R', 1};
static const char id_prefix[] = "ringlink store key";

typedef struct vault_key {
    uint8_t bytes[RLK_VAULT_KEY_BYTES];
    char id[RLK_VAULT_KEY_ID_BYTES];
} vault_key;

struct rlk_vault {
    rlk_alloc alloc;
    EVP_CIPHER_CTX *ctx; /* has its cipher from the beginning; each use gives key and nonce anew */
    size_t count;
    vault_key keys[RLK_KEY_COUNT_MAX];
};

/* One use of the context: what goes through it, in which direction. */
typedef struct passage {
    const vault_key *key;
    const char *sealed; /* the label and the nonce at least */
    rlk_span place;
    rlk_span in;
    char *out;
    bool seals;
} passage;

/* ---- Keys ------------------------------------------------------------------------------------ */

static rlk_err name_key(vault_key *key) {
    char input[sizeof id_prefix + RLK_VAULT_KEY_BYTES];
    uint8_t digest[RLK_HMAC_BYTES];
    memcpy(input, id_prefix, sizeof id_prefix);
    memcpy(input + sizeof id_prefix, key->bytes, sizeof key->bytes);
    const rlk_err e = rlk_sha256((rlk_span){input, sizeof input}, digest);
    rlk_wipe(input, sizeof input);
    memcpy(key->id, digest, sizeof key->id);
    return e;
}

static const vault_key *find_key(const rlk_vault *v, const char *id) {
    for (size_t i = 0; i < v->count; i++)
        if (memcmp(v->keys[i].id, id, RLK_VAULT_KEY_ID_BYTES) == 0) return &v->keys[i];
    return NULL;
}

/* Two keys under one id could not be told apart, so the second is refused. */
static rlk_err add_key(rlk_vault *v, rlk_span given) {
    if (given.len != RLK_VAULT_KEY_BYTES) return RLK_E_INVALID_OPTION;
    vault_key *key = &v->keys[v->count];
    memcpy(key->bytes, given.ptr, sizeof key->bytes);
    const rlk_err e = name_key(key);
    if (e != RLK_OK) return e;
    if (find_key(v, key->id) != NULL) return RLK_E_INVALID_OPTION;
    v->count++;
    return RLK_OK;
}

/* A context that knows its cipher, or NULL. */
static EVP_CIPHER_CTX *prepare(void) {
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const bool ready = cipher != NULL && ctx != NULL &&
                       EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, 1, NULL) == 1 &&
                       EVP_CIPHER_CTX_get_iv_length(ctx) == RLK_VAULT_NONCE_BYTES;
    EVP_CIPHER_free(cipher); /* the context keeps a reference of its own */
    if (ready) return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

static rlk_err fill(rlk_vault *v, const rlk_span *keys, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const rlk_err e = add_key(v, keys[i]);
        if (e != RLK_OK) return e;
    }
    ERR_set_mark();
    v->ctx = prepare();
    ERR_pop_to_mark();
    return v->ctx != NULL ? RLK_OK : RLK_E_NO_MEMORY;
}

rlk_err rlk_vault_new(rlk_vault **out, const rlk_alloc *a, const rlk_span *keys, size_t count) {
    *out = NULL;
    if (count == 0 || count > RLK_KEY_COUNT_MAX) return RLK_E_INVALID_OPTION;
    rlk_vault *v = rlk_alloc_zeroed(a, sizeof *v);
    if (v == NULL) return RLK_E_NO_MEMORY;
    v->alloc = *a;
    const rlk_err e = fill(v, keys, count);
    if (e != RLK_OK) {
        rlk_vault_free(v);
        return e;
    }
    *out = v;
    return RLK_OK;
}

void rlk_vault_free(rlk_vault *v) {
    if (v == NULL) return;
    EVP_CIPHER_CTX_free(v->ctx); /* cleanses the key it used last */
    const rlk_alloc a = v->alloc;
    rlk_wipe(v, sizeof *v);
    rlk_alloc_free(&a, v, sizeof *v);
}

size_t rlk_vault_key_count(const rlk_vault *v) {
    return v->count;
}

rlk_span rlk_vault_key_id(const rlk_vault *v, size_t index) {
    return (rlk_span){v->keys[index].id, RLK_VAULT_KEY_ID_BYTES};
}

/* ---- The cipher ------------------------------------------------------------------------------ */

/* Without `out` the bytes are authenticated only. Lengths fit an int: they are bounded before. */
static bool pass_bytes(EVP_CIPHER_CTX *ctx, rlk_span in, char *out) {
    int written = 0;
    if (in.len == 0) return true;
    return EVP_CipherUpdate(ctx, (unsigned char *)out, &written, (const unsigned char *)in.ptr,
                            (int)in.len) == 1 &&
           written == (int)in.len;
}

static bool pass(EVP_CIPHER_CTX *ctx, const passage *p) {
    const unsigned char *nonce = (const unsigned char *)p->sealed + RLK_VAULT_LABEL_BYTES;
    return EVP_CipherInit_ex2(ctx, NULL, p->key->bytes, nonce, p->seals ? 1 : 0, NULL) == 1 &&
           pass_bytes(ctx, (rlk_span){p->sealed, RLK_VAULT_LABEL_BYTES}, NULL) &&
           pass_bytes(ctx, p->place, NULL) && pass_bytes(ctx, p->in, p->out);
}

static bool finish(EVP_CIPHER_CTX *ctx) {
    unsigned char none[EVP_MAX_BLOCK_LENGTH];
    int written = 0;
    return EVP_CipherFinal_ex(ctx, none, &written) == 1 && written == 0;
}

static rlk_err encrypt(EVP_CIPHER_CTX *ctx, const passage *p, char *tag) {
    const bool ok = pass(ctx, p) && finish(ctx) &&
                    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, RLK_VAULT_TAG_BYTES, tag) == 1;
    return ok ? RLK_OK : RLK_E_NO_MEMORY;
}

/* Only the last step may say that the field is not what was sealed. */
static rlk_err decrypt(EVP_CIPHER_CTX *ctx, const passage *p, const char *tag) {
    char expected[RLK_VAULT_TAG_BYTES];
    memcpy(expected, tag, sizeof expected);
    if (!pass(ctx, p) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, RLK_VAULT_TAG_BYTES, expected) != 1)
        return RLK_E_NO_MEMORY;
    return finish(ctx) ? RLK_OK : RLK_E_STORE_CORRUPT;
}

/* ---- Sealing and opening --------------------------------------------------------------------- */

static rlk_err write_header(const vault_key *key, char *out) {
    memcpy(out, label, sizeof label);
    memcpy(out + sizeof label, key->id, sizeof key->id);
    return rlk_random_bytes(out + RLK_VAULT_LABEL_BYTES, RLK_VAULT_NONCE_BYTES);
}

rlk_err rlk_vault_seal(rlk_vault *v, rlk_span plain, rlk_span place, char *out) {
    if (plain.len > RLK_VAULT_PLAIN_BYTES_MAX) return RLK_E_INVALID_REQUEST;
    if (place.len > RLK_VAULT_PLACE_BYTES_MAX) return RLK_E_INVALID_REQUEST;
    const vault_key *key = &v->keys[0];
    char *body = out + RLK_VAULT_LABEL_BYTES + RLK_VAULT_NONCE_BYTES;
    rlk_err e = write_header(key, out);
    if (e == RLK_OK) {
        const passage p = {key, out, place, plain, body, true};
        ERR_set_mark();
        e = encrypt(v->ctx, &p, body + plain.len);
        ERR_pop_to_mark();
    }
    if (e != RLK_OK) rlk_wipe(out, plain.len + RLK_VAULT_OVERHEAD_BYTES);
    return e;
}

size_t rlk_vault_plain_bytes(rlk_span sealed) {
    return sealed.len > RLK_VAULT_OVERHEAD_BYTES ? sealed.len - RLK_VAULT_OVERHEAD_BYTES : 0;
}

rlk_span rlk_vault_sealer(rlk_span sealed) {
    const bool is_ours = sealed.len >= RLK_VAULT_OVERHEAD_BYTES &&
                         rlk_vault_plain_bytes(sealed) <= RLK_VAULT_PLAIN_BYTES_MAX &&
                         memcmp(sealed.ptr, label, sizeof label) == 0;
    if (!is_ours) return (rlk_span){NULL, 0};
    return (rlk_span){sealed.ptr + sizeof label, RLK_VAULT_KEY_ID_BYTES};
}

rlk_err rlk_vault_open(rlk_vault *v, rlk_span sealed, rlk_span place, char *out) {
    const rlk_span sealer = rlk_vault_sealer(sealed);
    if (sealer.ptr == NULL || place.len > RLK_VAULT_PLACE_BYTES_MAX) return RLK_E_STORE_CORRUPT;
    const vault_key *key = find_key(v, sealer.ptr);
    if (key == NULL) return RLK_E_STORE_KEY;
    const char *body = sealed.ptr + RLK_VAULT_LABEL_BYTES + RLK_VAULT_NONCE_BYTES;
    const size_t bytes = rlk_vault_plain_bytes(sealed);
    const passage p = {key, sealed.ptr, place, {body, bytes}, out, false};
    ERR_set_mark();
    const rlk_err e = decrypt(v->ctx, &p, body + bytes);
    ERR_pop_to_mark();
    if (e != RLK_OK) rlk_wipe(out, bytes);
    return e;
}

bool rlk_vault_is_newest(const rlk_vault *v, rlk_span sealed) {
    const rlk_span sealer = rlk_vault_sealer(sealed);
    return sealer.ptr != NULL && memcmp(sealer.ptr, v->keys[0].id, sealer.len) == 0;
}

const char *rlk_vault_library(void) {
    return OpenSSL_version(OPENSSL_VERSION);
}
