/* See address.h. Two tables of what is not public; IPv6 addresses that hold an IPv4 one are judged
 * by that. */
#define _POSIX_C_SOURCE 200809L

#include "io/address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct network {
    uint8_t first[4];
    unsigned bits;
} network;

static const network closed4[] = {
    {{0, 0, 0, 0}, 8},      {{10, 0, 0, 0}, 8},    {{100, 64, 0, 0}, 10}, {{127, 0, 0, 0}, 8},
    {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12}, {{192, 0, 0, 0}, 24},  {{192, 168, 0, 0}, 16},
    {{198, 18, 0, 0}, 15},  {{224, 0, 0, 0}, 3},
};

static bool begins_with(const uint8_t *address, const uint8_t *first, unsigned bits) {
    const size_t whole = bits / 8;
    const unsigned rest = bits % 8;
    if (memcmp(address, first, whole) != 0) return false;
    if (rest == 0) return true;
    return (address[whole] ^ first[whole]) >> (8 - rest) == 0;
}

static bool is_public4(const uint8_t address[4]) {
    for (size_t i = 0; i < sizeof closed4 / sizeof closed4[0]; i++)
        if (begins_with(address, closed4[i].first, closed4[i].bits)) return false;
    return true;
}

/* Global unicast is 2000::/3; what lies elsewhere is public only where it holds an IPv4 address. */
static bool is_public6(const uint8_t address[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96 */
    static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t six_to_four[2] = {0x20, 0x02};
    static const uint8_t global[1] = {0x20};
    if (memcmp(address, mapped, sizeof mapped) == 0) return is_public4(address + 12);
    if (memcmp(address, translated, sizeof translated) == 0) return is_public4(address + 12);
    if (memcmp(address, six_to_four, sizeof six_to_four) == 0) return is_public4(address + 2);
    return begins_with(address, global, 3);
}

bool rlk_address_is_public(const char *text) {
    uint8_t address[16];
    char plain[INET6_ADDRSTRLEN];
    if (text == NULL) return false;
    const size_t bytes = strcspn(text, "%");
    if (bytes >= sizeof plain) return false;
    memcpy(plain, text, bytes);
    plain[bytes] = '\0';
    if (inet_pton(AF_INET, plain, address) == 1) return is_public4(address);
    return inet_pton(AF_INET6, plain, address) == 1 && is_public6(address);
}
