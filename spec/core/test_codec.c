/* base64url, Base64 and hex, with RFC 4648's own vectors. */
#include "support.h"

#include "core/codec.h"

static void check_base64url(rlk_span bytes, const char *expected) {
    char out[64];
    memset(out, '#', sizeof out);
    rlk_base64url_encode(bytes, out);
    assert_int_equal(RLK_BASE64URL_CHARS(bytes.len), strlen(expected));
    assert_memory_equal(out, expected, strlen(expected));
    assert_int_equal(out[strlen(expected)], '#');
}

static void base64url_of_the_rfc(void **state) {
    (void)state;
    check_base64url(LITERAL(""), "");
    check_base64url(LITERAL("f"), "Zg");
    check_base64url(LITERAL("fo"), "Zm8");
    check_base64url(LITERAL("foo"), "Zm9v");
    check_base64url(LITERAL("foob"), "Zm9vYg");
    check_base64url(LITERAL("fooba"), "Zm9vYmE");
    check_base64url(LITERAL("foobar"), "Zm9vYmFy");
}

static void base64url_of_all_bits(void **state) {
    (void)state;
    check_base64url(LITERAL("\0\0\0"), "AAAA");
    check_base64url(LITERAL("\xff\xff\xff"), "____");
    check_base64url(LITERAL("\xfb\xef\xbe"), "----");
    check_base64url(LITERAL("\xff"), "_w");
}

static void check_base64(const char *text, rlk_span expected) {
    char out[64];
    size_t bytes = 99;
    assert_true(rlk_base64_decode(span_of(text), out, &bytes));
    assert_int_equal(bytes, expected.len);
    assert_memory_equal(out, expected.ptr, expected.len);
}

static void base64_is_read(void **state) {
    (void)state;
    check_base64("", LITERAL(""));
    check_base64("Zg==", LITERAL("f"));
    check_base64("Zm8=", LITERAL("fo"));
    check_base64("Zm9v", LITERAL("foo"));
    check_base64("Zm9vYg==", LITERAL("foob"));
    check_base64("Zm9vYmE=", LITERAL("fooba"));
    check_base64("Zm9vYmFy", LITERAL("foobar"));
    check_base64("AP/7774/", LITERAL("\0\xff\xfb\xef\xbe\x3f"));
    check_base64("++++////", LITERAL("\xfb\xef\xbe\xff\xff\xff"));
}

static void base64_has_one_spelling(void **state) {
    (void)state;
    static const char *const wrong[] = {"Z",    "Zg",   "Zg=",        "Zh==",      "Zm9=", "====",
                                        "=",    "Z===", "Zg==Zg==",   "Zm9v\n",    "Zm 9", "Zm9-",
                                        "Zm9_", "Zm=v", "\xc3\xa9==", "Zm9vYmE=\n"};
    char out[64];
    size_t bytes = 0;
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(rlk_base64_decode(span_of(wrong[i]), out, &bytes));
}

static void hex_of_all_bytes(void **state) {
    (void)state;
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        char out[3] = "##";
        char expected[3];
        rlk_hex_encode((rlk_span){&byte, 1}, out);
        snprintf(expected, sizeof expected, "%02x", (unsigned)i);
        assert_string_equal(out, expected);
    }
}

static void digits_are_ascii(void **state) {
    (void)state;
    int digits = 0;
    for (int i = 0; i < 256; i++)
        digits += rlk_is_digit((char)i) ? 1 : 0;
    assert_int_equal(digits, 10);
    assert_true(rlk_is_digit('0') && rlk_is_digit('9'));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64url_of_the_rfc), cmocka_unit_test(base64url_of_all_bits),
        cmocka_unit_test(base64_is_read),       cmocka_unit_test(base64_has_one_spelling),
        cmocka_unit_test(hex_of_all_bytes),     cmocka_unit_test(digits_are_ascii),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
