/* Bytes as text: base64url without padding (RFC 4648 section 5) and lowercase hex.
 *
 * Only encoders: what comes from the wire is compared with what we encode ourselves, so that there
 * is one spelling of each value and no decoder to be fooled. */
#ifndef RLK_CODEC_H
#define RLK_CODEC_H

#include "core/span.h"

#include <stdbool.h>

/* Characters that `bytes` bytes become. */
#define RLK_BASE64URL_CHARS(bytes) (((bytes)*4 + 2) / 3)
#define RLK_HEX_CHARS(bytes) ((bytes)*2)

/* out has room for RLK_BASE64URL_CHARS(bytes.len); no NUL is written. */
void rlk_base64url_encode(rlk_span bytes, char *out);

/* out has room for RLK_HEX_CHARS(bytes.len); no NUL is written. */
void rlk_hex_encode(rlk_span bytes, char *out);

/* '0' to '9', whatever the locale. */
bool rlk_is_digit(char c);

#endif
