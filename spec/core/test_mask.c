/* Masking: what is shown, what is hidden, and that no byte soup gets through. */
#include "support.h"

#include "core/mask.h"

static void check(rlk_span in, rlk_span expected) {
    char out[RLK_MASK_BYTES_MAX];
    const size_t len = rlk_mask(in, out);
    if (len != expected.len || memcmp(out, expected.ptr, len) != 0)
        fail_msg("%.*s became %.*s, not %.*s", (int)in.len, in.ptr, (int)len, out,
                 (int)expected.len, expected.ptr);
    char again[RLK_MASK_BYTES_MAX];
    assert_int_equal(rlk_mask((rlk_span){out, len}, again), len);
    assert_memory_equal(again, out, len);
}

#define CHECK(in, expected) check(LITERAL(in), LITERAL(expected))

static void addresses(void **state) {
    (void)state;
    CHECK("user@partner.example.com", "u***r@partner.example.com");
    CHECK("bob@x.org", "b***b@x.org");
    CHECK("ab@x.org", "***@x.org");
    CHECK("a@x.org", "***@x.org");
    CHECK("@x.org", "***@x.org");
    CHECK("user@", "u***r@");
    CHECK("@", "***@");
    CHECK("one@two@three.org", "o***o@three.org");
    CHECK("\"a@b\"@x.org", "\"***\"@x.org");
    CHECK("@@", "***@");
}

static void plain_names(void **state) {
    (void)state;
    CHECK("Johanna", "J***a");
    CHECK("Anna Maria", "A***a");
    CHECK("Bob", "B***b");
    CHECK("Al", "***");
    CHECK("X", "***");
}

static void characters_are_not_bytes(void **state) {
    (void)state;
    CHECK("J\xc3\xbcrg\xc3\xa4", "J***\xc3\xa4");
    CHECK("\xc3\x84\xc3\x9c", "***"); /* two letters */
    CHECK("\xe6\x9d\x8e\xe5\xb0\x8f\xe9\xbe\x99", "\xe6\x9d\x8e***\xe9\xbe\x99");
    CHECK("\xf0\x9f\x98\x80xx\xf0\x9f\x98\x81", "\xf0\x9f\x98\x80***\xf0\x9f\x98\x81");
    CHECK("j\xc3\xbcrgen@b\xc3\xbc"
          "cher.example",
          "j***n@b\xc3\xbc"
          "cher.example");
}

static void phone_numbers(void **state) {
    (void)state;
    CHECK("+4915112345678", "+***78");
    CHECK("+49 (151) 1234-56.78", "+***78");
    CHECK("0151/12345678", "***78");
    CHECK("1234567", "***67");
    CHECK("+1 234 567 8 ", "+***78");
    CHECK("123456", "1***6"); /* too short to be a number that is dialled: a name */
}

static void masked_ones_stay(void **state) {
    (void)state;
    CHECK("u***r@partner.example.com", "u***r@partner.example.com");
    CHECK("***@x.org", "***@x.org");
    CHECK("***", "***");
    CHECK("J***a", "J***a");
    CHECK("+***78", "+***78");
    CHECK("***78", "***78");
}

static void what_only_looks_masked_is_masked(void **state) {
    (void)state;
    CHECK("secret***name@x.org", "s***e@x.org");
    CHECK("u***name@x.org", "u***e@x.org");
    CHECK("***name@x.org", "****e@x.org");
    CHECK("u***@x.org", "u****@x.org");
    CHECK("****", "*****");
    CHECK("+***7812", "+***2");
    CHECK("***7x", "****x");
}

static void not_utf8_is_hidden_whole(void **state) {
    (void)state;
    CHECK("us\xff"
          "er@x.org",
          "***");
    CHECK("user@x\xff.org", "***");
    CHECK("user\x80", "***");
    CHECK("user\xc3", "***");             /* cut short */
    CHECK("\xc0\xaf\xc0\xaf\xc0", "***"); /* overlong */
    CHECK("a\xe0\x80\xaf z", "***");
    CHECK("a\xed\xa0\x80 z", "***");     /* a surrogate */
    CHECK("a\xf4\x90\x80\x80 z", "***"); /* past U+10FFFF */
    CHECK("a\xf5\x80\x80\x80 z", "***");
    CHECK("a\xf0\x80\x80\x80 z", "***");
}

static void controls_are_hidden_whole(void **state) {
    (void)state;
    CHECK("us\0er@x.org", "***");
    CHECK("user@x.org\r\nBcc: all", "***");
    CHECK("us\x7f"
          "er",
          "***");
    CHECK("us\xc2\x85"
          "er",
          "***");
    CHECK("us\xc2\xa0"
          "er",
          "u***r");
}

static void nothing_stays_nothing(void **state) {
    (void)state;
    check((rlk_span){NULL, 0}, LITERAL(""));
}

static void long_domains_are_hidden_whole(void **state) {
    (void)state;
    char text[5 + RLK_MASK_DOMAIN_BYTES_MAX + 1];
    char out[RLK_MASK_BYTES_MAX];
    memset(text, 'd', sizeof text);
    memcpy(text, "user@", 5);
    assert_int_equal(rlk_mask((rlk_span){text, sizeof text}, out), 3);
    assert_int_equal(rlk_mask((rlk_span){text, sizeof text - 1}, out), sizeof text);
    assert_memory_equal(out, "u***r@dd", 8);
}

static void a_mebibyte_is_no_trouble(void **state) {
    (void)state;
    static char text[1 << 20];
    char out[RLK_MASK_BYTES_MAX];
    memset(text, 'x', sizeof text);
    assert_int_equal(rlk_mask((rlk_span){text, sizeof text}, out), 5);
    memset(text, '@', sizeof text); /* @***@ and the domain's own @ */
    assert_int_equal(rlk_mask((rlk_span){text, sizeof text}, out), 6);
    memset(text, '7', sizeof text);
    assert_int_equal(rlk_mask((rlk_span){text, sizeof text}, out), 5);
}

/* Byte soup from an alphabet that hits the special cases often: never more than the ends of the
 * name are shown, the length is bounded, and masking twice is masking once. */
static void random_soup_is_bounded_and_stable(void **state) {
    (void)state;
    static const char alphabet[] = "ab@*+07 -\xc3\xa4\xff\x00\xe2\x82\xac";
    uint64_t seed = random_seed();
    for (int i = 0; i < 50000; i++) {
        char text[24];
        char once[RLK_MASK_BYTES_MAX];
        char twice[RLK_MASK_BYTES_MAX];
        const size_t len = random_below(&seed, sizeof text + 1);
        for (size_t k = 0; k < len; k++)
            text[k] = alphabet[random_below(&seed, sizeof alphabet - 1)];
        const size_t masked = rlk_mask((rlk_span){text, len}, once);
        assert_true(masked <= RLK_MASK_BYTES_MAX);
        assert_int_equal(rlk_mask((rlk_span){once, masked}, twice), masked);
        assert_memory_equal(once, twice, masked);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(plain_names),
        cmocka_unit_test(characters_are_not_bytes),
        cmocka_unit_test(phone_numbers),
        cmocka_unit_test(masked_ones_stay),
        cmocka_unit_test(what_only_looks_masked_is_masked),
        cmocka_unit_test(not_utf8_is_hidden_whole),
        cmocka_unit_test(controls_are_hidden_whole),
        cmocka_unit_test(nothing_stays_nothing),
        cmocka_unit_test(long_domains_are_hidden_whole),
        cmocka_unit_test(a_mebibyte_is_no_trouble),
        cmocka_unit_test(random_soup_is_bounded_and_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
