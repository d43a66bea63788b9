/* libcrypto's own allocations failing in turn: each is RLK_E_NO_MEMORY, nothing of ours leaks, the
 * thread's error queue stays empty, and the next try works. */
#include "support.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "core/keyring.h"
#include "core/nonce.h"
#include "core/signature.h"
#include "io/vault.h"

/* libcrypto's allocator has no argument to hang this on. */
static size_t calls;
static size_t fail_at;

static bool fails(void) {
    return ++calls == fail_at;
}

static void *crypto_malloc(size_t bytes, const char *file, int line) {
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(bytes);
}

static void *crypto_realloc(void *ptr, size_t bytes, const char *file, int line) {
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(ptr, bytes);
}

static void crypto_free(void *ptr, const char *file, int line) {
    (void)file;
    (void)line;
    free(ptr);
}

typedef rlk_err scenario(const rlk_alloc *a);

static rlk_err make_a_key(const rlk_alloc *a) {
    rlk_keyring ring = {0};
    const rlk_err e = rlk_keyring_add(&ring, a, LITERAL("key"));
    assert_int_equal(ring.count, e == RLK_OK ? 1 : 0);
    rlk_keyring_deinit(&ring);
    return e;
}

static rlk_err digest_a_text(const rlk_alloc *a) {
    (void)a;
    uint8_t out[RLK_HMAC_BYTES];
    return rlk_sha256(LITERAL("abc"), out);
}

/* Once the key is there, using it needs no memory, or says that it has none. */
static rlk_err use_a_key(const rlk_alloc *a) {
    rlk_keyring ring = {0};
    char nonce[RLK_NONCE_BYTES];
    char signature[RLK_SIGNATURE_BYTES];
    const size_t planned = fail_at;
    fail_at = 0;
    assert_int_equal(rlk_keyring_add(&ring, a, LITERAL("key")), RLK_OK);
    calls = 0;
    fail_at = planned;
    rlk_err e = rlk_nonce_compute(rlk_keyring_newest(&ring), LITERAL("1"), LITERAL("a"), nonce);
    if (e == RLK_OK)
        e = rlk_signature_compute(rlk_keyring_newest(&ring), LITERAL("body"), signature);
    rlk_keyring_deinit(&ring);
    return e;
}

static const rlk_span vault_key = {"0123456789abcdef0123456789abcdef", RLK_VAULT_KEY_BYTES};

static rlk_err make_a_vault(const rlk_alloc *a) {
    rlk_vault *v = NULL;
    const rlk_err e = rlk_vault_new(&v, a, &vault_key, 1);
    assert_int_equal(v != NULL, e == RLK_OK);
    rlk_vault_free(v);
    return e;
}

/* A field that was sealed is opened, or nothing of it comes out: never store_corrupt. */
static rlk_err use_a_vault(const rlk_alloc *a) {
    char sealed[5 + RLK_VAULT_OVERHEAD_BYTES];
    char plain[5] = {0};
    rlk_vault *v = NULL;
    const size_t planned = fail_at;
    fail_at = 0;
    assert_int_equal(rlk_vault_new(&v, a, &vault_key, 1), RLK_OK);
    calls = 0;
    fail_at = planned;
    rlk_err e = rlk_vault_seal(v, LITERAL("token"), LITERAL("a"), sealed);
    if (e == RLK_OK) e = rlk_vault_open(v, (rlk_span){sealed, sizeof sealed}, LITERAL("a"), plain);
    assert_memory_equal(plain, e == RLK_OK ? "token" : "\0\0\0\0\0", sizeof plain);
    rlk_vault_free(v);
    return e;
}

static rlk_err run_failing(scenario *run, size_t at) {
    strict_heap heap = {0};
    const rlk_alloc a = strict_allocator(&heap);
    calls = 0;
    fail_at = at;
    const rlk_err e = run(&a);
    fail_at = 0;
    assert_int_equal(heap.blocks_out, 0);
    assert_int_equal(ERR_peek_error(), 0);
    return e;
}

/* Returns how many of the failures could not be done without. */
static size_t fail_each(scenario *run) {
    size_t refused = 0;
    ERR_clear_error();
    assert_int_equal(run_failing(run, 0), RLK_OK); /* libcrypto's caches are filled now */
    assert_int_equal(run_failing(run, 0), RLK_OK);
    const size_t allocations = calls;
    for (size_t i = 1; i <= allocations; i++) {
        const rlk_err e = run_failing(run, i);
        assert_true(e == RLK_OK || e == RLK_E_NO_MEMORY);
        refused += e == RLK_OK ? 0 : 1;
        assert_int_equal(run_failing(run, 0), RLK_OK);
    }
    return refused;
}

static void keys_survive(void **state) {
    (void)state;
    assert_true(fail_each(make_a_key) > 0);
}

static void digests_survive(void **state) {
    (void)state;
    assert_true(fail_each(digest_a_text) > 0);
}

static void using_a_key_survives(void **state) {
    (void)state;
    (void)fail_each(use_a_key);
}

static void vaults_survive(void **state) {
    (void)state;
    assert_true(fail_each(make_a_vault) > 0);
    (void)fail_each(use_a_vault);
}

int main(void) {
    if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_survive),
        cmocka_unit_test(digests_survive),
        cmocka_unit_test(using_a_key_survives),
        cmocka_unit_test(vaults_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
