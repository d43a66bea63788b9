/* Whether and when a call is repeated (contract 7, 8; design "Ambiguity").
 *
 * Pure: what happened, how often, how long it took and the randomness come in; what comes out is
 * stop, done, or repeat after so many milliseconds. A repeat is allowed only when doing the call
 * twice cannot harm, which depends on the kind of call and on whether it may have reached Ring. */
#ifndef RLK_RETRY_H
#define RLK_RETRY_H

#include "core/err.h"
#include "core/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Each kind's name for Lua. */
#define RLK_RETRY_KINDS(X)                                                                         \
    X(SAFE, "safe")   /* GET, HEAD: twice is as good as once */                                    \
    X(ONCE, "once")   /* others: only when it surely was not done */                               \
    X(LINK, "link")   /* POST and PATCH of linking: the link machine settles the outcome */        \
    X(TOKEN, "token") /* exchange and refresh: like link, but only one repeat after a lost answer  \
                       */

#define RLK_RETRY_CLASSES(X)                                                                       \
    X(DONE, "done")                 /* 2xx, 3xx */                                                 \
    X(REFUSED, "refused")           /* 4xx with none of the meanings below */                      \
    X(UNAUTHORIZED, "unauthorized") /* 401 */                                                      \
    X(LIMITED, "limited")           /* 429 */                                                      \
    X(UNAVAILABLE, "unavailable")   /* 408, 5xx and numbers HTTP does not know */                  \
    X(UNSENT, "unsent")             /* the transport failed before anything was sent */            \
    X(LOST, "lost")                 /* it was sent, and no answer could be read */                 \
    X(FATAL, "fatal")               /* a failure that repeating does not cure */

typedef enum rlk_retry_kind {
#define RLK_RETRY_ENUM(name, text) RLK_RETRY_KIND_##name,
    RLK_RETRY_KINDS(RLK_RETRY_ENUM)
#undef RLK_RETRY_ENUM
        RLK_RETRY_KIND_COUNT
} rlk_retry_kind;

typedef enum rlk_retry_class {
#define RLK_RETRY_ENUM(name, text) RLK_RETRY_CLASS_##name,
    RLK_RETRY_CLASSES(RLK_RETRY_ENUM)
#undef RLK_RETRY_ENUM
        RLK_RETRY_CLASS_COUNT
} rlk_retry_class;

typedef enum rlk_retry_verdict {
    RLK_RETRY_DONE,
    RLK_RETRY_STOP,
    RLK_RETRY_REPEAT
} rlk_retry_verdict;

enum { RLK_RETRY_NO_STATUS = 0, RLK_RETRY_NO_AFTER = -1 };

typedef struct rlk_attempt {
    int64_t status;         /* RLK_RETRY_NO_STATUS: there was no answer, see error */
    rlk_err error;          /* the transport's; looked at only without a status */
    bool sent;              /* it may have reached the server */
    bool final;             /* the answer itself says that repeating is useless */
    int64_t attempts;       /* so far, this one included */
    int64_t attempts_max;   /* RLK_RETRY_COUNT_MAX is never passed */
    int64_t lost;           /* lost answers so far, this one included */
    int64_t elapsed_ms;     /* since the operation began */
    int64_t deadline_ms;    /* that the whole operation may take */
    int64_t retry_after_ms; /* what the server asked for, or RLK_RETRY_NO_AFTER */
    double random;          /* 0 to 1; what lies outside is bounded */
} rlk_attempt;

typedef struct rlk_retry_advice {
    rlk_retry_verdict verdict;
    rlk_retry_class class_;
    int64_t wait_ms; /* 0 unless repeating */
} rlk_retry_advice;

/* Exponential from RLK_BACKOFF_MS_MIN with full jitter, never sooner than the server asked; a wait
 * that would reach the deadline is a stop. Every number is legal. */
rlk_retry_advice rlk_retry_decide(rlk_retry_kind kind, const rlk_attempt *attempt);

rlk_retry_class rlk_retry_classify(const rlk_attempt *attempt);

/* The value of a Retry-After header, seconds or HTTP-date, as milliseconds from now, bounded to
 * 0..RLK_RETRY_AFTER_MS_MAX. False when it is neither. */
bool rlk_retry_after_parse(rlk_span text, int64_t now_ms, int64_t *ms);

/* False when no kind has that name. */
bool rlk_retry_kind_named(rlk_span name, rlk_retry_kind *kind);
const char *rlk_retry_class_name(rlk_retry_class class_);
const char *rlk_retry_verdict_name(rlk_retry_verdict verdict);

#endif
