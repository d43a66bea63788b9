/* Hides a person's identifier so far that its owner still recognises it (contract 6).
 *
 *   user@partner.example.com  u***r@partner.example.com      +49 151 12345678  +***78
 *   ab@x.org                  ***@x.org                      Johanna           J***a
 *
 * Characters are Unicode's, not bytes. A name of one or two is hidden whole, as is any text that
 * is not UTF-8, holds a control character, or has a domain longer than RLK_MASK_DOMAIN_BYTES_MAX:
 * the result goes into JSON, logs and mails. What is masked already stays as it is. */
#ifndef RLK_MASK_H
#define RLK_MASK_H

#include "core/limits.h"
#include "core/span.h"

enum {
    RLK_MASK_CHAR_BYTES_MAX = 4, /* one character of UTF-8 */
    RLK_MASK_BYTES_MAX =
        2 * RLK_MASK_CHAR_BYTES_MAX + 3 /* stars */ + 1 /* @ */ + RLK_MASK_DOMAIN_BYTES_MAX
};

/* Returns how many bytes were written to out; no NUL. Masking twice is masking once. */
size_t rlk_mask(rlk_span identifier, char out[RLK_MASK_BYTES_MAX]);

#endif
