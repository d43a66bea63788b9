/* Every bound in one place; relations between them are checked at compile time. */
#ifndef RLK_LIMITS_H
#define RLK_LIMITS_H

#include <stdint.h>

enum {
    RLK_TIME_DIGITS_MAX = 20,        /* the redirect's `time` is text of 1 to 20 digits */
    RLK_NONCE_BYTES = 43,            /* base64url of 32 bytes, unpadded */
    RLK_HMAC_BYTES = 32,             /* SHA-256 */
    RLK_KEY_BYTES_MAX = 4096,        /* an HMAC key, as text */
    RLK_KEY_COUNT_MAX = 8,           /* keys in rotation */
    RLK_ACCOUNT_ID_BYTES_MAX = 512,  /* opaque; seen: about 60 */
    RLK_LINK_WINDOW_MS = 600000,     /* contract 6: a nonce is valid 600 s */
    RLK_CODE_LIFETIME_MS = 60000,    /* contract 3: a code lives 60 s */
    RLK_SECRET_BYTES_MAX = 1048576,  /* no credential comes near; an answer may be this large */
    RLK_MASK_DOMAIN_BYTES_MAX = 255, /* RFC 1035: a domain name; longer ones are hidden whole */

    RLK_TOKEN_LIFETIME_S_DEFAULT = 3600, /* when expires_in is missing or no number */
    RLK_TOKEN_LIFETIME_S_MIN = 60,       /* when it is zero or negative */
    RLK_TOKEN_LIFETIME_S_MAX = 86400,    /* when it is absurdly large */
    RLK_TOKEN_MANDATORY_MS = 60000,      /* the last minute: everybody waits */

    RLK_REFRESH_LIFETIME_DAYS = 30, /* contract 4: about; a refresh token that is not used lapses */
    RLK_OVERDUE_DAYS_STEP = 7,      /* one that could not be used is warned of this often... */
    RLK_OVERDUE_DAYS_DAILY = 25,    /* ...and from here on every day */

    RLK_BACKOFF_MS_MIN = 1000,
    RLK_BACKOFF_MS_MAX = 60000,
    RLK_RETRY_COUNT_MAX = 16,
    RLK_RETRY_AFTER_MS_MAX = 86400000, /* a day; more is bounded */

    RLK_LIMITER_PER_S_MAX = 1000000,
    RLK_LIMITER_BURST_MAX = 1000000,
    RLK_CIRCUIT_THRESHOLD_MAX = 1000000,
    RLK_CIRCUIT_OPEN_MS_MAX = 86400000,

    RLK_RANDOM_BYTES_MAX = 65536,
    RLK_SLEEP_MS_MAX = 86400000
};

/* The last millisecond of the year 9999: every wall-clock time lies in 0 to this, so that sums of
 * a time and a bounded span never overflow. */
#define RLK_TIME_MS_MAX INT64_C(253402300799999)

#define RLK_DAY_MS INT64_C(86400000)

_Static_assert((int64_t)RLK_BACKOFF_MS_MIN << RLK_RETRY_COUNT_MAX <= INT32_MAX, "doubling fits");

#endif
