/* Bytes as text: base64url without padding (RFC 4648 section 5), lowercase hex, and Base64 read.
 *
 * What comes from the wire is never decoded: it is compared with what we encode ourselves, so that
 * there is one spelling of each value and no decoder to be fooled. The one decoder is for settings,
 * and takes one spelling only. */
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

/* Reads padded Base64 (RFC 4648 section 4) without line ends, in its canonical spelling only:
 * unused bits are zero. out has room for text.len / 4 * 3 bytes. False: it is not that, and out is
 * undefined. */
bool rlk_base64_decode(rlk_span text, char *out, size_t *bytes);

/* '0' to '9', whatever the locale. */
bool rlk_is_digit(char c);

#endif
