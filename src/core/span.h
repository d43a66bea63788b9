/* Bytes that somebody else owns.
 *
 * A span never owns and never ends in NUL; it is valid as long as its owner leaves the bytes alone.
 * ptr may be NULL only when len is 0. */
#ifndef RLK_SPAN_H
#define RLK_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct rlk_span {
    const char *ptr;
    size_t len;
} rlk_span;

/* True when the span is this text. Not for secrets: it stops at the first difference. */
static inline bool rlk_span_is(rlk_span span, const char *text) {
    return strlen(text) == span.len && memcmp(text, span.ptr, span.len) == 0;
}

/* The place of the span among the names, or -1. */
static inline int rlk_span_find(rlk_span span, const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        if (rlk_span_is(span, names[i])) return i;
    return -1;
}

#endif
