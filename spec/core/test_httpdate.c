/* HTTP-dates: the three forms, the calendar, and what is no date. */
#include "support.h"

#include "core/httpdate.h"

static const int64_t now = INT64_C(1771130906289); /* 2026-02-15 */

static void check(const char *text, int64_t expected_s) {
    int64_t ms = INT64_MIN;
    assert_true(rlk_httpdate_parse(span_of(text), now, &ms));
    assert_int_equal(ms, expected_s * 1000);
}

static void the_three_forms_of_the_rfc(void **state) {
    (void)state;
    check("Sun, 06 Nov 1994 08:49:37 GMT", 784111777);
    check("Sunday, 06-Nov-94 08:49:37 GMT", 784111777);
    check("Sun Nov  6 08:49:37 1994", 784111777);
    check("Wed Nov 16 08:49:37 1994", 784975777);
}

static void the_calendar_is_right(void **state) {
    (void)state;
    check("Thu, 01 Jan 1970 00:00:00 GMT", 0);
    check("Wed, 31 Dec 1969 23:59:59 GMT", -1);
    check("Tue, 29 Feb 2000 00:00:00 GMT", 951782400);
    check("Thu, 29 Feb 2024 23:59:59 GMT", 1709251199);
    check("Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799));
    check("Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200));
    check("Mon, 01 Jan 0001 00:00:00 GMT", INT64_C(-62135596800));
    check("Fri, 01 Mar 2100 00:00:00 GMT", INT64_C(4107542400));
}

static void a_leap_second_is_the_next_minute(void **state) {
    (void)state;
    check("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800);
}

static void a_wrong_weekday_is_forgiven(void **state) {
    (void)state;
    check("Mon, 06 Nov 1994 08:49:37 GMT", 784111777);
    check("Monday, 06-Nov-94 08:49:37 GMT", 784111777);
}

static void two_digits_are_at_most_fifty_years_ahead(void **state) {
    (void)state;
    check("Sunday, 01-Jan-70 00:00:00 GMT", INT64_C(3155760000)); /* 2070: 44 years ahead */
    check("Sunday, 01-Jan-76 00:00:00 GMT", INT64_C(3345062400)); /* 2076: 50 years ahead */
    check("Sunday, 01-Jan-77 00:00:00 GMT", 220924800);           /* 1977, not 2077 */
    check("Sunday, 01-Jan-00 00:00:00 GMT", 946684800);
}

static void two_digits_near_a_new_century(void **state) {
    (void)state;
    int64_t ms = 0;
    const int64_t in_2099 = INT64_C(4085000000000);
    assert_true(rlk_httpdate_parse(LITERAL("Friday, 01-Jan-00 00:00:00 GMT"), in_2099, &ms));
    assert_int_equal(ms, INT64_C(4102444800000)); /* 2100 */
}

static void an_absurd_clock_does_no_harm(void **state) {
    (void)state;
    int64_t ms = 0;
    const rlk_span text = LITERAL("Sunday, 06-Nov-94 08:49:37 GMT");
    assert_true(rlk_httpdate_parse(text, INT64_MIN, &ms));
    assert_int_equal(ms, 784111777000);
    assert_true(rlk_httpdate_parse(text, INT64_MAX, &ms)); /* of the century around 9999 */
    assert_int_equal(ms, INT64_C(253239727777000));
}

static void what_is_no_date_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "Sun",
        "Sun, ",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 GMT junk",
        "Sun, 06 Nov 1994 08:49:37 GMTX",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 29 Feb 2023 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sun, 06 Nov 1994 +8:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "1994-11-06T08:49:37Z",
        "784111777",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t ms = 7;
        if (rlk_httpdate_parse(span_of(bad[i]), now, &ms)) fail_msg("accepted: %s", bad[i]);
        assert_int_equal(ms, 7);
    }
}

static void nul_inside_is_junk(void **state) {
    (void)state;
    int64_t ms = 0;
    assert_false(rlk_httpdate_parse(LITERAL("Sun, 06 Nov 1994 08:49:37 GMT\0"), now, &ms));
    assert_false(rlk_httpdate_parse(LITERAL("Sun\0 06 Nov 1994 08:49:37 GMT"), now, &ms));
    assert_false(rlk_httpdate_parse((rlk_span){NULL, 0}, now, &ms));
}

/* Cut anywhere, no form is complete, and nothing is read past the end (the sanitizer looks). */
static void every_prefix_is_refused(void **state) {
    (void)state;
    static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        for (size_t len = 0; len < strlen(forms[i]); len++) {
            int64_t ms = 0;
            char *cut = malloc(len + 1);
            assert_non_null(cut);
            memcpy(cut, forms[i], len);
            assert_false(rlk_httpdate_parse((rlk_span){cut, len}, now, &ms));
            free(cut);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_forms_of_the_rfc),
        cmocka_unit_test(the_calendar_is_right),
        cmocka_unit_test(a_leap_second_is_the_next_minute),
        cmocka_unit_test(a_wrong_weekday_is_forgiven),
        cmocka_unit_test(two_digits_are_at_most_fifty_years_ahead),
        cmocka_unit_test(two_digits_near_a_new_century),
        cmocka_unit_test(an_absurd_clock_does_no_harm),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(nul_inside_is_junk),
        cmocka_unit_test(every_prefix_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
