/* HTTP-dates, in the three forms RFC 9110 section 5.6.7 asks a recipient to read.
 *
 * Pure and without the C library's time functions, which know time zones and locales. */
#ifndef RLK_HTTPDATE_H
#define RLK_HTTPDATE_H

#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

/* True when the whole text is a date that exists; *ms is then its time since 1970 (negative
 * before). The weekday must be one, but need not be the right one; second 60 is read as the next
 * minute's first. now_ms resolves two-digit years: more than 50 years ahead means the past. */
bool rlk_httpdate_parse(rlk_span text, int64_t now_ms, int64_t *ms);

#endif
