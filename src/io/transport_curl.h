/* Moves HTTP requests, many at once, over libcurl's multi interface.
 *
 * Start gives a ticket, poll moves every transfer on, peek and drop hand out what is done, in the
 * order in which it was done. Whatever was started ends in exactly one completion. Where an answer
 * is handed out in parts, completions that say `more` come before that one.
 *
 * Invariants:
 * - A request that is not GET or HEAD is sent at most once. libcurl resends by itself when a kept
 *   connection dies; here the second send is aborted and the completion says network, sent = true.
 * - `sent` tells whether the request may have reached the server; no error code tells that.
 * - Certificates are always verified, redirects never followed, the environment's proxies and
 *   .netrc never used, no secret ever put into `detail`.
 *
 * Ownership: a transport owns its transfers, connections and copies of all it was given; request
 * and response bytes are wiped before they are given back. Pointers in a request and a config are
 * only read during the call.
 * Threads: one thread at a time, whichever, except where it is said. Nothing is static, so that
 * every thread may have a transport of its own.
 * A forked child finds it closed: what its parent had begun ends there as cancelled, without a word
 * on the parent's connections. */
#ifndef RLK_TRANSPORT_CURL_H
#define RLK_TRANSPORT_CURL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/err.h"
#include "core/span.h"

typedef struct rlk_transfer rlk_transfer;

enum {
    RLK_TRANSPORT_IN_FLIGHT_MAX = 4096, /* more transfers at once are refused: busy */
    RLK_TRANSPORT_EASY_COUNT_MAX = 16,  /* easy handles kept for the next transfers */
    RLK_TRANSPORT_CACHE_COUNT_MAX = 64, /* connections kept open */
    RLK_TRANSPORT_HOST_COUNT_H2 = 16,   /* connections to one host: HTTP/2 shares them */
    RLK_TRANSPORT_HOST_COUNT_H1 = 64,   /* connections to one host: HTTP/1.1 does not */
    RLK_TRANSPORT_STREAM_COUNT = 64,    /* of a connection: libcurl sees to all when one has news */

    RLK_TRANSPORT_URL_BYTES_MAX = 8192,
    RLK_TRANSPORT_LINE_BYTES_MAX = 32768, /* one request header */
    RLK_TRANSPORT_LINE_COUNT_MAX = 64,    /* request headers */
    RLK_TRANSPORT_BODY_BYTES_MAX = 64 << 20,
    RLK_TRANSPORT_PART_BYTES_MAX = 256 << 10, /* of an answer, waiting to be taken */
    RLK_TRANSPORT_STEP_BYTES = 4096, /* so many at least a stall_ms, or the answer has stalled */
    RLK_TRANSPORT_HEAD_BYTES_MAX = 65536, /* all response headers together */
    RLK_TRANSPORT_TIMEOUT_MS_MAX = 86400000
};

typedef enum rlk_http_version { RLK_HTTP_2, RLK_HTTP_1_1 } rlk_http_version;

typedef struct rlk_transport_config {
    const char *ca_file;           /* PEM; replaces the system's authorities; NULL: the system's */
    const char *proxy;             /* http:// or https:// URL; NULL: none */
    const char *client_cert;       /* PEM; NULL: none */
    const char *client_key;        /* PEM; NULL: in client_cert */
    const char *user_agent;        /* NULL: none is sent */
    int64_t connect_timeout_ms;    /* name, TCP, proxy and TLS together */
    size_t response_bytes_max;     /* the body's cap where a request names none */
    rlk_http_version http_version; /* RLK_HTTP_2 falls back to 1.1 */
    bool allow_http_loopback;      /* http:// to 127.0.0.1, ::1 and localhost */
} rlk_transport_config;

/* The spans of method, url and headers are followed by a NUL, as Lua's strings are. */
typedef struct rlk_request {
    rlk_span method;         /* GET HEAD POST PUT PATCH DELETE OPTIONS */
    rlk_span url;            /* no credentials in it */
    const rlk_span *headers; /* "Name: value", no CR, LF or NUL */
    size_t header_count;
    rlk_span body;             /* ptr == NULL: none; GET and HEAD carry none */
    int64_t timeout_ms;        /* for the whole attempt, or until a stream's head; at least 1 */
    size_t response_bytes_max; /* 0: the transport's */
    bool public_only;          /* not to private networks or this machine, unless by a proxy */

    /* A stream, above 0: the body of a 2xx answer is not gathered but handed out in parts, or
     * written to a file. So long it may stand still, not counting the time that a part is out. */
    int64_t stall_ms;
    rlk_span sink_path; /* the file, see sink_file.h; len == 0: parts */
} rlk_request;

/* A completion. Its pointers live until it is dropped. */
typedef struct rlk_result {
    int64_t ticket;
    rlk_err error;      /* RLK_OK: an answer came, whatever its status */
    const char *detail; /* text for people when error is set; "" otherwise */
    bool sent;          /* the request may have reached the server */
    bool reused;        /* it went out over a kept connection */
    int64_t time_ms;    /* from start to completion */

    int status; /* from here on: only when error is RLK_OK */
    const char *http_version;
    rlk_span body;
    rlk_span head;   /* read it with rlk_result_header; of parts the first has it */
    bool more;       /* a part: the transfer stands still until it is told to proceed */
    int64_t written; /* bytes that are in the file; -1: none was to be written */
} rlk_result;

typedef struct rlk_transport_stats {
    int64_t started;     /* transfers */
    int64_t reused;      /* transfers that went out over a kept connection */
    int64_t connections; /* connections made */
    int64_t in_flight;
} rlk_transport_stats;

typedef struct rlk_transport rlk_transport;

/* Opens a transport. On failure *out is NULL and *detail says why, as a constant text. */
rlk_err rlk_transport_open(rlk_transport **out, const rlk_alloc *alloc,
                           const rlk_transport_config *config, const char **detail);

/* Cancels what is in flight, closes every connection, frees everything. NULL is allowed. Takes no
 * noticeable time, even while a resolver does not answer. */
void rlk_transport_close(rlk_transport *t);

/* Starts a transfer; its ticket is positive and never used again. invalid_request, busy, no_memory
 * or closed come back at once, with a constant *detail, and start nothing. */
rlk_err rlk_transport_start(rlk_transport *t, const rlk_request *request, int64_t *ticket,
                            const char **detail);

/* Moves the transfers on. Waits at most timeout_ms, and not at all when a completion is waiting;
 * may come back early with nothing done (a signal, a wake, a timer of libcurl's; no wake if the
 * transport has failed). Returns how many completions are waiting. */
size_t rlk_transport_poll(rlk_transport *t, int64_t timeout_ms);

/* The oldest completion, or NULL. It stays in the transport until it is dropped, so that a caller
 * who fails half-way loses nothing. */
const rlk_result *rlk_transport_peek(const rlk_transport *t);

/* Gives the oldest completion back. */
void rlk_transport_drop(rlk_transport *t);

/* After a part was dropped: lets its transfer go on. False when none of this ticket is out. */
bool rlk_transport_proceed(rlk_transport *t, int64_t ticket);

/* Ends a transfer, also one whose part is out; its completion is `cancelled`. False when the ticket
 * is not in flight. */
bool rlk_transport_cancel(rlk_transport *t, int64_t ticket);

/* Ends a poll that waits, or else the next one. Any thread may call it at any time between open and
 * close. */
void rlk_transport_wake(rlk_transport *t);

/* Whether it failed as a whole: nothing can be started any more. */
bool rlk_transport_has_failed(const rlk_transport *t);

rlk_transport_stats rlk_transport_counts(const rlk_transport *t);

/* The same in parts, for a transport that a thread runs while others make requests; what a transfer
 * is stands in transfer_curl.h. */

/* Checks and copies a request; its time begins. invalid_request or no_memory leave *out NULL. Any
 * thread may call it at any time between open and close, if the allocator allows it. */
rlk_err rlk_transport_prepare(const rlk_transport *t, const rlk_request *request,
                              rlk_transfer **out, const char **detail);

/* Starts what was prepared; on failure (busy, no_memory, closed) it stays with the caller. */
rlk_err rlk_transport_launch(rlk_transport *t, rlk_transfer *x, const char **detail);

/* Ends one that is in flight, or all of them: `cancelled`. */
void rlk_transport_abort(rlk_transport *t, rlk_transfer *x);
void rlk_transport_abort_all(rlk_transport *t);

/* The oldest completion, which is the caller's from now on; NULL when there is none. One that says
 * `more` stays the transport's: it is lent until rlk_transport_take_back lets it go on. */
rlk_transfer *rlk_transport_pop(rlk_transport *t);
void rlk_transport_take_back(rlk_transport *t, rlk_transfer *x);

/* Steps through a result's headers in order: starts at *at == 0, false at the end. Names are in
 * lower case; a name that came twice comes twice. */
bool rlk_result_header(const rlk_result *r, size_t *at, rlk_span *name, rlk_span *value);

/* Which libcurl, and what it is made of, as it says itself. */
const char *rlk_transport_library(void);

#endif
