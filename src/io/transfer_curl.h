/* One request on its way: an easy handle, its options and callbacks, and what came of it.
 *
 * Only the transport and whoever runs it on a thread use this. A transfer is made (its request
 * copied), armed with an easy handle, then ended once: by libcurl's answer, or by the transport; or
 * it is ended before it was armed. Ending takes the request's copy away (wiped) and fills `result`;
 * the easy handle is given back by the transport.
 * Callbacks touch the transfer only: no list, no other libcurl call, nothing that can longjmp.
 *
 * The body of a stream's 2xx answer gathers as a part. One that is lent is left alone: libcurl is
 * told to pause when more comes, its end is only noted, and no time runs. */
#ifndef RLK_TRANSFER_CURL_H
#define RLK_TRANSFER_CURL_H

#include <curl/curl.h>

#include "core/buf.h"
#include "io/request_check.h"
#include "io/sink_file.h"

typedef struct rlk_transfer_list {
    rlk_transfer *first;
    rlk_transfer *last;
    size_t count;
} rlk_transfer_list;

struct rlk_transfer {
    rlk_transfer_list *in; /* the list that holds it; NULL: none */
    rlk_transfer *prev;
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
    bool public_only;

    int64_t stall_ms;    /* 0: no stream */
    rlk_sink_file *file; /* NULL: parts */
    int status;          /* of the answer whose head came last */
    size_t step_bytes;   /* since the deadline was moved */
    bool lent;           /* a part is out, or waits to be taken */
    bool paused;         /* libcurl has more, and keeps it */
    bool head_told;      /* by an earlier part */
    bool ended;          /* while a part was out, by this: */
    CURLcode end_code;

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

/* Copies a request that was checked; facts is the check's finding. no_memory or sink_failed leave
 * *out NULL, with a constant *detail. */
rlk_err rlk_transfer_new(rlk_transfer **out, const rlk_alloc *alloc, const rlk_request *request,
                         const rlk_request_facts *facts, size_t response_bytes_max,
                         const char **detail);

void rlk_transfer_free(rlk_transfer *x);

/* Gives the transfer an easy handle, fresh or reset, and sets all of its options. False when
 * libcurl refused one, for which only want of memory is left as a reason. */
bool rlk_transfer_arm(rlk_transfer *x, CURL *easy, const rlk_transport_config *config);

/* Whether its answer is handed out in parts; and whether one is ready. */
bool rlk_transfer_has_parts(const rlk_transfer *x);
bool rlk_transfer_has_part(const rlk_transfer *x);

/* Makes what has come the result, as a part; then lets it gather the next one. */
void rlk_transfer_lend(rlk_transfer *x);
void rlk_transfer_take_back(rlk_transfer *x);

/* Ends it by libcurl's word. The easy handle must have left the multi handle, but be there. */
void rlk_transfer_finish(rlk_transfer *x, CURLcode code);

/* Ends it by somebody's decision: the same holds for the easy handle, or it was never armed. */
void rlk_transfer_abort(rlk_transfer *x, rlk_err error, const char *detail);

#endif
