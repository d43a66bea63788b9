/* The nonce: computing, matching, time text, freshness. The shared vectors run in Lua's specs. */
#include "support.h"

#include "core/nonce.h"

static const char key_text[] = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
static const char known[] = "Jf4RdqEuSmvQLd9l5CwXZ-GLkDQ8OJHYqSp_mU8NCVE";
static const char known_time[] = "1771130906289";
static const char known_id[] = "ava1.ring.account.XXXYYY";

static int open_ring(void **state) {
    static rlk_keyring ring;
    const rlk_alloc a = rlk_alloc_default();
    ring = (rlk_keyring){0};
    if (rlk_keyring_add(&ring, &a, LITERAL("newer")) != RLK_OK) return -1;
    if (rlk_keyring_add(&ring, &a, span_of(key_text)) != RLK_OK) return -1;
    *state = &ring;
    return 0;
}

static int close_ring(void **state) {
    rlk_keyring_deinit(*state);
    return 0;
}

static void computes_the_vector(void **state) {
    const rlk_keyring *ring = *state;
    char out[RLK_NONCE_BYTES];
    assert_int_equal(rlk_nonce_compute(ring->keys[1], span_of(known_time), span_of(known_id), out),
                     RLK_OK);
    assert_memory_equal(out, known, sizeof out);
}

static void matches_with_any_key(void **state) {
    assert_true(rlk_nonce_matches(*state, span_of(known), span_of(known_time), span_of(known_id)));
}

static void any_changed_byte_matches_nothing(void **state) {
    for (size_t i = 0; i < RLK_NONCE_BYTES; i++) {
        char altered[sizeof known];
        memcpy(altered, known, sizeof known);
        altered[i] = altered[i] == 'A' ? 'B' : 'A';
        if (memcmp(altered, known, sizeof known) == 0) continue;
        assert_false(
            rlk_nonce_matches(*state, span_of(altered), span_of(known_time), span_of(known_id)));
    }
}

static void malformed_input_matches_nothing(void **state) {
    const rlk_span id = span_of(known_id);
    const rlk_span time = span_of(known_time);
    const rlk_span bad[] = {LITERAL(""),
                            {NULL, 0},
                            {known, RLK_NONCE_BYTES - 1},
                            {known, RLK_NONCE_BYTES + 1},
                            LITERAL("\0")};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(rlk_nonce_matches(*state, bad[i], time, id));
    assert_false(rlk_nonce_matches(*state, span_of(known), LITERAL("x"), id));
    assert_false(rlk_nonce_matches(*state, span_of(known), time, LITERAL("")));
}

static void an_empty_ring_matches_nothing(void **state) {
    (void)state;
    const rlk_keyring none = {0};
    assert_false(rlk_nonce_matches(&none, span_of(known), span_of(known_time), span_of(known_id)));
}

static void computing_refuses_malformed_input(void **state) {
    static const char long_id[RLK_ACCOUNT_ID_BYTES_MAX + 1] = {'x'};
    rlk_hmac *key = rlk_keyring_newest(*state);
    char out[RLK_NONCE_BYTES];
    const rlk_span bad_times[] = {LITERAL(""),        LITERAL("-1"),
                                  LITERAL("+1"),      LITERAL(" 1"),
                                  LITERAL("1 "),      LITERAL("1\0"),
                                  LITERAL("1.5"),     LITERAL("1e3"),
                                  LITERAL("0x1"),     LITERAL("123456789012345678901"),
                                  LITERAL("\xd9\xa1")};
    for (size_t i = 0; i < COUNT_OF(bad_times); i++)
        assert_int_equal(rlk_nonce_compute(key, bad_times[i], LITERAL("a"), out),
                         RLK_E_INVALID_REQUEST);
    assert_int_equal(rlk_nonce_compute(key, LITERAL("1"), LITERAL(""), out), RLK_E_INVALID_REQUEST);
    assert_int_equal(rlk_nonce_compute(key, LITERAL("1"), (rlk_span){long_id, sizeof long_id}, out),
                     RLK_E_INVALID_REQUEST);
    assert_int_equal(
        rlk_nonce_compute(key, LITERAL("1"), (rlk_span){long_id, sizeof long_id - 1}, out), RLK_OK);
}

static void check_time(const char *text, int64_t expected) {
    int64_t ms = -1;
    assert_int_equal(rlk_nonce_time_parse(span_of(text), &ms), RLK_OK);
    assert_true(ms == expected);
}

static void time_text_saturates(void **state) {
    (void)state;
    check_time("0", 0);
    check_time("00000000000000000001", 1);
    check_time("1771130906289", INT64_C(1771130906289));
    check_time("9223372036854775806", INT64_MAX - 1);
    check_time("9223372036854775807", INT64_MAX);
    check_time("9223372036854775808", INT64_MAX);
    check_time("92233720368547758070", INT64_MAX);
    check_time("99999999999999999999", INT64_MAX);
}

static void check_fresh(int64_t time, int64_t now, rlk_err expected, int64_t expected_delta) {
    int64_t delta = 0;
    assert_int_equal(rlk_nonce_freshness(time, now, 600000, 60000, &delta), expected);
    assert_true(delta == expected_delta);
}

static void freshness_has_sharp_edges(void **state) {
    (void)state;
    check_fresh(1000000, 1000000, RLK_OK, 0);
    check_fresh(1000000, 1600000, RLK_OK, 600000);
    check_fresh(1000000, 1600001, RLK_E_LINK_EXPIRED, 600001);
    check_fresh(1000000, 940000, RLK_OK, -60000);
    check_fresh(1000000, 939999, RLK_E_LINK_IN_FUTURE, -60001);
    check_fresh(INT64_MAX, 0, RLK_E_LINK_IN_FUTURE, -INT64_MAX);
    check_fresh(INT64_MAX, INT64_MIN, RLK_E_LINK_IN_FUTURE, INT64_MIN);
    check_fresh(INT64_MIN, INT64_MAX, RLK_E_LINK_EXPIRED, INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computes_the_vector),
        cmocka_unit_test(matches_with_any_key),
        cmocka_unit_test(any_changed_byte_matches_nothing),
        cmocka_unit_test(malformed_input_matches_nothing),
        cmocka_unit_test(an_empty_ring_matches_nothing),
        cmocka_unit_test(computing_refuses_malformed_input),
        cmocka_unit_test(time_text_saturates),
        cmocka_unit_test(freshness_has_sharp_edges),
    };
    return cmocka_run_group_tests(tests, open_ring, close_ring);
}
