/* One request on its way: an easy handle, its options and callbacks, and what came of it.
 *
 * Only the transport and whoever runs it on a thread use this. A transfer is made (its request
 * copied), armed with an easy handle, then ended once: by libcurl's answer, or by the transport; or
 * it is ended before it was armed. Ending takes the request's copy away (wiped) and fills `result`;
 * the easy handle is given back by the transport.
 * Callbacks touch the transfer only: no list, no other libcurl call, nothing that can longjmp. */
#ifndef RLK_TRANSFER_CURL_H
#define RLK_TRANSFER_CURL_H

#include <curl/curl.h>

#include "core/buf.h"
#include "io/request_check.h"

struct rlk_transfer {
    rlk_transfer *prev; /* for the list that holds it */
    rlk_transfer *next;
    CURL *easy; /* NULL before it is armed and after it is given back */
    void *tag;  /* of whoever made it; not used here */
    rlk_alloc alloc;
    rlk_request_facts facts;

    struct curl_slist *block; /* headers, their text, method, url, body; one allocation */
    size_t block_bytes;
    const char *method; /* in block, as the next two */
    const char *url;
    const char *body; /* NULL: none */
    size_t body_bytes;

    int64_t timeout_ms;
    int64_t started_ms; /* monotonic */
    int64_t deadline_ms;
    size_t response_bytes_max;

    bool sent;          /* PREREQ has let a request go */
    bool resend_denied; /* PREREQ has stopped a second one */
    bool head_open;     /* between a status line and its blank line */
    size_t head_seen;   /* header bytes in all, of interim answers too */
    rlk_err failed;     /* what a callback ended it with */
    rlk_buf head;       /* name NUL value NUL ... */
    rlk_buf answer;     /* the body */

    long connections; /* made for this transfer */
    char detail[CURL_ERROR_SIZE];
    rlk_result result;
};

/* Copies a request that was checked; facts is the check's finding. NULL: out of memory. */
rlk_transfer *rlk_transfer_new(const rlk_alloc *alloc, const rlk_request *request,
                               const rlk_request_facts *facts, size_t response_bytes_max);

void rlk_transfer_free(rlk_transfer *x);

/* Gives the transfer an easy handle, fresh or reset, and sets all of its options. False when
 * libcurl refused one, for which only want of memory is left as a reason. */
bool rlk_transfer_arm(rlk_transfer *x, CURL *easy, const rlk_transport_config *config);

/* Ends it by libcurl's word. The easy handle must have left the multi handle, but be there. */
void rlk_transfer_finish(rlk_transfer *x, CURLcode code);

/* Ends it by somebody's decision: the same holds for the easy handle, or it was never armed. */
void rlk_transfer_abort(rlk_transfer *x, rlk_err error, const char *detail);

#endif
