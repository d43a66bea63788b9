/* Nothing of a key or a token stays behind in memory that is given back: neither by our own objects
 * nor by libcrypto on their behalf, whichever way they end. What libcurl's transfers leave is
 * looked at in test_transport.c.
 *
 * Both allocators look at every block before it is freed, or moved, and count those that hold one
 * of the planted texts, an HMAC key also as HMAC mixes it with its pads. */
#include "support.h"

#include <openssl/crypto.h>

#include "core/buf.h"
#include "core/keyring.h"
#include "core/nonce.h"
#include "core/secret.h"
#include "core/signature.h"
#include "io/vault.h"

#define KEY_TEXT "planted-key-0123456789abcdef-xyz" /* of a store key's length */
#define TOKEN_TEXT "planted-token-0123456789abcdef"
#define PLACE LITERAL("app/grant/1\0access")

static const rlk_span key = {KEY_TEXT, sizeof KEY_TEXT - 1};
static const rlk_span token = {TOKEN_TEXT, sizeof TOKEN_TEXT - 1};
static const rlk_span other_key = {"another-0123456789abcdef-0123456", RLK_VAULT_KEY_BYTES};

enum { PART = 16, PLAIN = 0, INNER_PAD = 0x36, OUTER_PAD = 0x5c };

static size_t found;

static bool is_at(const unsigned char *at, const char *text, unsigned char pad) {
    for (size_t i = 0; i < PART; i++)
        if (at[i] != ((unsigned char)text[i] ^ pad)) return false;
    return true;
}

/* A part of a secret is as bad as all of it. */
static bool is_secret(const unsigned char *at) {
    return is_at(at, key.ptr, PLAIN) || is_at(at, key.ptr + PART, PLAIN) ||
           is_at(at, key.ptr, INNER_PAD) || is_at(at, key.ptr, OUTER_PAD) ||
           is_at(at, token.ptr, PLAIN);
}

static void look_at(const void *block, size_t bytes) {
    const unsigned char *at = block;
    for (size_t i = 0; i + PART <= bytes; i++) {
        if (!is_secret(at + i)) continue;
        found++;
        return;
    }
}

/* ---- The two allocators ---- */

static void *looking_resize(void *ud, void *ptr, size_t old_bytes, size_t new_bytes) {
    if (ptr != NULL) look_at(ptr, old_bytes);
    return strict_resize(ud, ptr, old_bytes, new_bytes);
}

static void *crypto_malloc(size_t bytes, const char *file, int line) {
    (void)file;
    (void)line;
    strict_header *header = calloc(1, sizeof *header + bytes); /* unused bytes hold nothing */
    if (header == NULL) return NULL;
    header->bytes = bytes;
    return header + 1;
}

static void crypto_free(void *ptr, const char *file, int line) {
    (void)file;
    (void)line;
    if (ptr == NULL) return;
    strict_header *header = (strict_header *)ptr - 1;
    look_at(ptr, header->bytes);
    free(header);
}

static void *crypto_realloc(void *ptr, size_t bytes, const char *file, int line) {
    void *moved = bytes > 0 ? crypto_malloc(bytes, file, line) : NULL;
    if (ptr != NULL && moved != NULL) {
        const size_t old_bytes = ((strict_header *)ptr - 1)->bytes;
        memcpy(moved, ptr, old_bytes < bytes ? old_bytes : bytes);
    }
    if (moved != NULL || bytes == 0) crypto_free(ptr, file, line);
    return moved;
}

static strict_heap heap;

static rlk_alloc looking(void) {
    heap = (strict_heap){0};
    found = 0;
    return (rlk_alloc){looking_resize, &heap};
}

static void assert_nothing_left(void) {
    assert_int_equal(heap.blocks_out, 0);
    assert_int_equal(found, 0);
}

/* ---- Tests ---- */

static void the_look_is_sharp(void **state) {
    (void)state;
    const rlk_alloc a = looking();
    char *ours = rlk_alloc_zeroed(&a, 100);
    memcpy(ours + 7, TOKEN_TEXT, PART);
    rlk_alloc_free(&a, ours, 100);
    assert_int_equal(found, 1);
    unsigned char *theirs = OPENSSL_malloc(100);
    for (size_t i = 0; i < key.len; i++)
        theirs[i] = (unsigned char)key.ptr[i] ^ OUTER_PAD;
    theirs = OPENSSL_realloc(theirs, 200);
    assert_int_equal(found, 2);
    OPENSSL_free(theirs);
    assert_int_equal(found, 3);
    theirs = OPENSSL_malloc(100);
    memcpy(theirs, KEY_TEXT, key.len);
    OPENSSL_clear_free(theirs, 100);
    assert_int_equal(found, 3);
}

static void secrets_leave_nothing(void **state) {
    (void)state;
    const rlk_alloc a = looking();
    rlk_secret s;
    assert_int_equal(rlk_secret_init(&s, &a, token), RLK_OK);
    rlk_secret_deinit(&s);
    assert_nothing_left();
}

/* A body comes in parts, and the buffer moves while it grows. */
static void buffers_leave_nothing(void **state) {
    (void)state;
    const rlk_alloc a = looking();
    rlk_buf b;
    rlk_buf_init(&b, &a, 100000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(rlk_buf_append(&b, token.ptr, token.len), RLK_OK);
    rlk_buf_reset(&b);
    assert_int_equal(rlk_buf_append(&b, key.ptr, key.len), RLK_OK);
    rlk_buf_deinit(&b);
    assert_nothing_left();
}

static void hmac_keys_leave_nothing(void **state) {
    (void)state;
    const rlk_alloc a = looking();
    rlk_keyring ring = {0};
    char nonce[RLK_NONCE_BYTES], signature[RLK_SIGNATURE_BYTES];
    assert_int_equal(rlk_keyring_add(&ring, &a, key), RLK_OK);
    assert_int_equal(rlk_keyring_add(&ring, &a, other_key), RLK_OK);
    rlk_hmac *newest = rlk_keyring_newest(&ring);
    assert_int_equal(rlk_nonce_compute(newest, LITERAL("1"), LITERAL("a"), nonce), RLK_OK);
    assert_int_equal(rlk_signature_compute(newest, LITERAL("{}"), signature), RLK_OK);
    assert_false(
        rlk_signature_verify(&ring, LITERAL("{} "), (rlk_span){signature, sizeof signature}));
    rlk_keyring_deinit(&ring);
    assert_nothing_left();
}

static rlk_vault *vault_of(const rlk_alloc *a, rlk_span first, rlk_span second) {
    const rlk_span keys[] = {first, second};
    rlk_vault *v = NULL;
    assert_int_equal(rlk_vault_new(&v, a, keys, COUNT_OF(keys)), RLK_OK);
    return v;
}

static void vaults_leave_nothing(void **state) {
    (void)state;
    const rlk_alloc a = looking();
    char sealed[sizeof TOKEN_TEXT - 1 + RLK_VAULT_OVERHEAD_BYTES], opened[sizeof TOKEN_TEXT];
    const rlk_span field = {sealed, sizeof sealed};
    rlk_vault *v = vault_of(&a, key, other_key);
    assert_int_equal(rlk_vault_seal(v, token, PLACE, sealed), RLK_OK);
    assert_int_equal(rlk_vault_open(v, field, PLACE, opened), RLK_OK);
    assert_memory_equal(opened, TOKEN_TEXT, token.len);
    rlk_vault_free(v);
    v = vault_of(&a, other_key, key); /* opens with the one, seals with the other */
    assert_int_equal(rlk_vault_open(v, field, PLACE, opened), RLK_OK);
    assert_int_equal(rlk_vault_seal(v, token, PLACE, sealed), RLK_OK);
    rlk_vault_free(v);
    assert_nothing_left();
}

/* What was decrypted before the tag turned out to be wrong is nobody's to see. */
static void fields_that_do_not_open_leave_nothing(void **state) {
    (void)state;
    const rlk_alloc a = looking();
    char sealed[sizeof TOKEN_TEXT - 1 + RLK_VAULT_OVERHEAD_BYTES], opened[sizeof TOKEN_TEXT];
    rlk_vault *v = vault_of(&a, key, other_key);
    assert_int_equal(rlk_vault_seal(v, token, PLACE, sealed), RLK_OK);
    sealed[sizeof sealed - 1] ^= 1;
    memset(opened, 'x', sizeof opened);
    assert_int_equal(rlk_vault_open(v, (rlk_span){sealed, sizeof sealed}, PLACE, opened),
                     RLK_E_STORE_CORRUPT);
    for (size_t i = 0; i < token.len; i++)
        assert_int_equal(opened[i], 0);
    rlk_vault_free(v);
    assert_nothing_left();
}

/* Half a keyring, half a vault. */
static void what_is_not_finished_leaves_nothing(void **state) {
    (void)state;
    const rlk_alloc a = looking();
    const rlk_span keys[] = {key, LITERAL("too short")};
    rlk_vault *v = NULL;
    rlk_keyring ring = {0};
    assert_int_equal(rlk_vault_new(&v, &a, keys, COUNT_OF(keys)), RLK_E_INVALID_OPTION);
    assert_int_equal(rlk_keyring_add(&ring, &a, key), RLK_OK);
    assert_int_equal(rlk_keyring_add(&ring, &a, LITERAL("")), RLK_E_INVALID_OPTION);
    rlk_keyring_deinit(&ring);
    assert_nothing_left();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_look_is_sharp),
        cmocka_unit_test(secrets_leave_nothing),
        cmocka_unit_test(buffers_leave_nothing),
        cmocka_unit_test(hmac_keys_leave_nothing),
        cmocka_unit_test(vaults_leave_nothing),
        cmocka_unit_test(fields_that_do_not_open_leave_nothing),
        cmocka_unit_test(what_is_not_finished_leaves_nothing),
    };
    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1) return 1;
    return cmocka_run_group_tests_name("wiping", tests, NULL, NULL);
}
