/* base64url and hex, with RFC 4648's own vectors. */
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
        cmocka_unit_test(base64url_of_the_rfc),
        cmocka_unit_test(base64url_of_all_bits),
        cmocka_unit_test(hex_of_all_bytes),
        cmocka_unit_test(digits_are_ascii),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
