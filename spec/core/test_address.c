/* Which addresses a redirect may lead to. */
#include "support.h"

#include "io/address.h"

static void the_internet_is_public(void **state) {
    (void)state;
    static const char *const open[] = {
        "1.1.1.1",        "9.255.255.255",   "11.0.0.0",          "100.63.255.255",
        "100.128.0.0",    "126.255.255.255", "128.0.0.0",         "169.253.255.255",
        "172.15.255.255", "172.32.0.0",      "192.0.1.0",         "192.167.255.255",
        "192.169.0.0",    "198.17.0.0",      "198.20.0.0",        "223.255.255.255",
        "2600:1f00::1",   "::ffff:52.1.2.3", "64:ff9b::3401:203", "2002:3401:203::1",
        "3fff:ffff::1",
    };
    for (size_t i = 0; i < COUNT_OF(open); i++)
        if (!rlk_address_is_public(open[i])) fail_msg("%s is public", open[i]);
}

static void everything_else_is_not(void **state) {
    (void)state;
    static const char *const closed[] = {
        "0.0.0.0",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.170",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "4000::1",
        "",
        "localhost",
        "1.1.1",
        "1.1.1.1.1",
        "1.1.1.1 ",
        "0x7f.1",
        "%",
        "::ffff:127.0.0.1::ffff:127.0.0.1::ffff:127.0.0.1",
    };
    assert_false(rlk_address_is_public(NULL));
    for (size_t i = 0; i < COUNT_OF(closed); i++)
        if (rlk_address_is_public(closed[i])) fail_msg("'%s' is not public", closed[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_internet_is_public),
        cmocka_unit_test(everything_else_is_not),
    };
    return cmocka_run_group_tests_name("addresses", tests, NULL, NULL);
}
