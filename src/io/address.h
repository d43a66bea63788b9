/* Which addresses lie in the public internet.
 *
 * Pure. Everything that is not plainly public is none: this machine, private networks, link-local
 * and multicast ones, what is reserved, and text that is no address. */
#ifndef RLK_ADDRESS_H
#define RLK_ADDRESS_H

#include <stdbool.h>

/* An IPv4 or IPv6 address as text, the latter perhaps with a zone; NULL is not public. */
bool rlk_address_is_public(const char *text);

#endif
