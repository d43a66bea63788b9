/* What may go out: the rules for a request and for a proxy, checked before anything is sent.
 *
 * Pure functions over the caller's bytes; nothing is kept. `*detail` is a constant text that
 * repeats nothing of the input, since the input may be a secret. */
#ifndef RLK_REQUEST_CHECK_H
#define RLK_REQUEST_CHECK_H

#include "io/transport_curl.h"

/* What the check found out about a request. */
typedef struct rlk_request_facts {
    bool resendable; /* GET and HEAD: libcurl may repeat it by itself */
    bool bodyless;   /* HEAD: the answer has no body */
    bool upload;     /* POST, PUT and PATCH: an empty body is a body */
    bool plain;      /* http to loopback, which never goes through a proxy */
} rlk_request_facts;

/* RLK_OK, or RLK_E_INVALID_REQUEST with *detail; RLK_E_NO_MEMORY when libcurl has none. */
rlk_err rlk_request_check(const rlk_request *request, bool allow_http_loopback,
                          rlk_request_facts *facts, const char **detail);

/* RLK_OK, or RLK_E_INVALID_OPTION when it is no http:// or https:// proxy URL. */
rlk_err rlk_proxy_check(const char *proxy, const char **detail);

#endif
