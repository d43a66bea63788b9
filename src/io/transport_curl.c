/* See transport_curl.h. A transfer is in exactly one of four lists: while the multi handle has it
 * in `flying`, or in `streaming` if its answer comes in parts or goes into a file; in `done` from
 * its end until it is dropped; and where a part of its answer is out, in `done` until that is taken
 * and then in `lent`, while the multi handle may have it still.
 *
 * libcurl is initialised by curl_global_init in every open, without a lock or a flag of ours:
 * since 7.84 it is thread-safe and counts itself. It is never undone: a resolver thread that was
 * left behind may outlive the transport, and the next transport would pay again. */
#define _POSIX_C_SOURCE 200809L

#include "io/transport_curl.h"

#include <string.h>
#include <unistd.h>

#include <curl/curl.h>

#include "core/ms.h"
#include "io/clock.h"
#include "io/poller_curl.h"
#include "io/transfer_curl.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or later is needed: CURLOPT_QUICK_EXIT"
#endif

struct rlk_transport {
    rlk_alloc alloc;
    CURLM *multi;
    rlk_poller poller;
    pid_t pid;                   /* whose connections they are */
    rlk_transport_config config; /* its texts lie in `texts` */
    char *texts;
    size_t texts_bytes;
    rlk_transfer_list flying;
    int64_t flying_until_ms; /* no deadline in `flying` is earlier: it is not searched before */
    rlk_transfer_list streaming;
    rlk_transfer_list done;
    rlk_transfer_list lent;
    size_t open_count;                        /* launched and not landed */
    CURL *idle[RLK_TRANSPORT_EASY_COUNT_MAX]; /* reset, ready for the next transfer */
    size_t idle_count;
    int64_t last_ticket;
    rlk_transport_stats stats;
    bool wide;   /* the host cap has been raised for HTTP/1.1 */
    bool broken; /* the multi handle failed: only what is done can still be had */
};

static void list_remove(rlk_transfer *x) {
    rlk_transfer_list *list = x->in;
    if (list == NULL) return;
    if (x->prev != NULL) x->prev->next = x->next;
    if (x->next != NULL) x->next->prev = x->prev;
    if (list->first == x) list->first = x->next;
    if (list->last == x) list->last = x->prev;
    list->count--;
    x->in = NULL;
}

static void move_to(rlk_transfer_list *list, rlk_transfer *x) {
    list_remove(x);
    x->in = list;
    x->prev = list->last;
    x->next = NULL;
    if (list->last != NULL) list->last->next = x;
    if (list->first == NULL) list->first = x;
    list->last = x;
    list->count++;
}

/* The deadline of one that streams moves with what comes. */
static void fly(rlk_transport *t, rlk_transfer *x) {
    if (x->stall_ms > 0) {
        move_to(&t->streaming, x);
    } else {
        move_to(&t->flying, x);
        t->flying_until_ms = rlk_ms_min(t->flying_until_ms, x->deadline_ms);
    }
}

/* The configuration's copy: one block, wiped at the end, since a proxy's URL may hold a password.
 */

static size_t room_for(const char *text) {
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *keep_text(char **at, const char *text) {
    if (text == NULL) return NULL;
    const size_t bytes = strlen(text) + 1;
    char *kept = memcpy(*at, text, bytes);
    *at += bytes;
    return kept;
}

static rlk_err keep_config(rlk_transport *t, const rlk_transport_config *config) {
    t->texts_bytes = room_for(config->ca_file) + room_for(config->proxy) +
                     room_for(config->client_cert) + room_for(config->client_key) +
                     room_for(config->user_agent) + 1;
    t->texts = rlk_alloc_zeroed(&t->alloc, t->texts_bytes);
    if (t->texts == NULL) return RLK_E_NO_MEMORY;
    char *at = t->texts;
    t->config = *config;
    t->config.ca_file = keep_text(&at, config->ca_file);
    t->config.proxy = keep_text(&at, config->proxy);
    t->config.client_cert = keep_text(&at, config->client_cert);
    t->config.client_key = keep_text(&at, config->client_key);
    t->config.user_agent = keep_text(&at, config->user_agent);
    return RLK_OK;
}

static void forget_config(rlk_transport *t) {
    if (t->texts == NULL) return;
    rlk_wipe(t->texts, t->texts_bytes);
    rlk_alloc_free(&t->alloc, t->texts, t->texts_bytes);
}

/* In a forked child the connections are the parent's, and a word of libcurl's on one of them, be it
 * a goodbye, would end what the parent does there. So the child leaves to itself what libcurl has.
 */
static bool is_ours(const rlk_transport *t) {
    return t->pid == getpid();
}

static bool set_multi(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value) == CURLM_OK;
}

/* Under HTTP/2 few connections carry everything; a host that only speaks 1.1 gets more as soon as
 * that is known. */
static void widen(rlk_transport *t) {
    if (t->wide) return;
    t->wide = set_multi(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS, RLK_TRANSPORT_HOST_COUNT_H1);
}

static rlk_err open_multi(rlk_transport *t) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return RLK_E_NO_MEMORY;
    t->multi = curl_multi_init();
    if (t->multi == NULL) return RLK_E_NO_MEMORY;
    if (!set_multi(t->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) ||
        !set_multi(t->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, RLK_TRANSPORT_STREAM_COUNT) ||
        !set_multi(t->multi, CURLMOPT_MAXCONNECTS, RLK_TRANSPORT_CACHE_COUNT_MAX) ||
        !set_multi(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS, RLK_TRANSPORT_HOST_COUNT_H2)) {
        return RLK_E_NO_MEMORY;
    }
    if (t->config.http_version == RLK_HTTP_1_1) widen(t);
    return rlk_poller_open(&t->poller, t->multi) ? RLK_OK : RLK_E_NO_MEMORY;
}

/* Told at once rather than by every transfer. */
static rlk_err check_file(const char *path, const char *complaint, const char **detail) {
    if (path == NULL || access(path, R_OK) == 0) return RLK_OK;
    *detail = complaint;
    return RLK_E_INVALID_OPTION;
}

static rlk_err check_config(const rlk_transport_config *c, const char **detail) {
    rlk_err e = check_file(c->ca_file, "ca_file cannot be read", detail);
    if (e == RLK_OK) e = check_file(c->client_cert, "client_cert cannot be read", detail);
    if (e == RLK_OK) e = check_file(c->client_key, "client_key cannot be read", detail);
    if (e == RLK_OK && c->proxy != NULL) e = rlk_proxy_check(c->proxy, detail);
    return e;
}

rlk_err rlk_transport_open(rlk_transport **out, const rlk_alloc *alloc,
                           const rlk_transport_config *config, const char **detail) {
    *out = NULL;
    rlk_err e = check_config(config, detail);
    if (e != RLK_OK) return e;
    *detail = "out of memory";
    rlk_transport *t = rlk_alloc_zeroed(alloc, sizeof *t);
    if (t == NULL) return RLK_E_NO_MEMORY;
    t->alloc = *alloc;
    t->pid = getpid();
    t->flying_until_ms = INT64_MAX;
    e = keep_config(t, config);
    if (e == RLK_OK) e = open_multi(t);
    if (e == RLK_OK) {
        *out = t;
    } else {
        rlk_transport_close(t);
    }
    return e;
}

/* Easy handles. One that served well is kept; one that failed may hold on to its failure. */

static CURL *take_easy(rlk_transport *t) {
    return t->idle_count > 0 ? t->idle[--t->idle_count] : curl_easy_init();
}

static void give_back_easy(rlk_transport *t, rlk_transfer *x) {
    CURL *easy = x->easy;
    x->easy = NULL;
    if (x->result.error != RLK_OK || t->idle_count == RLK_TRANSPORT_EASY_COUNT_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    t->idle[t->idle_count++] = easy;
}

/* Every end of a transfer passes here, its result being complete. */
static void land(rlk_transport *t, rlk_transfer *x) {
    t->stats.connections += x->connections;
    t->stats.reused += x->result.reused ? 1 : 0;
    if (x->result.error == RLK_OK && x->result.http_version[0] == '1') widen(t);
    give_back_easy(t, x);
    move_to(&t->done, x);
    t->open_count--;
}

static void land_by(rlk_transport *t, rlk_transfer *x, CURLcode code) {
    curl_multi_remove_handle(t->multi, x->easy);
    rlk_transfer_finish(x, code);
    land(t, x);
}

/* The handle leaves the multi handle first: until then libcurl may read the request's copy, which
 * the end of a transfer wipes. */
static void abort_open(rlk_transport *t, rlk_transfer *x, rlk_err error, const char *detail) {
    if (is_ours(t))
        curl_multi_remove_handle(t->multi, x->easy);
    else
        x->easy = NULL;
    rlk_transfer_abort(x, error, detail);
    land(t, x);
}

void rlk_transport_abort(rlk_transport *t, rlk_transfer *x) {
    abort_open(t, x, RLK_E_CANCELLED, "the transfer was cancelled");
}

static void abort_list(rlk_transport *t, rlk_transfer_list *list, rlk_err error,
                       const char *detail) {
    while (list->first != NULL)
        abort_open(t, list->first, error, detail);
}

static void abort_flying(rlk_transport *t, rlk_err error, const char *detail) {
    abort_list(t, &t->flying, error, detail);
    abort_list(t, &t->streaming, error, detail);
}

/* Parts that wait to be taken are parts no more. */
void rlk_transport_abort_all(rlk_transport *t) {
    for (rlk_transfer *x = t->done.first, *next; x != NULL; x = next) {
        next = x->next;
        if (x->lent) fly(t, x);
    }
    abort_flying(t, RLK_E_CANCELLED, "the transport was closed");
    abort_list(t, &t->lent, RLK_E_CANCELLED, "the transport was closed");
}

static void close_multi(rlk_transport *t) {
    while (t->idle_count > 0)
        curl_easy_cleanup(t->idle[--t->idle_count]);
    if (t->multi != NULL) curl_multi_cleanup(t->multi);
}

void rlk_transport_close(rlk_transport *t) {
    if (t == NULL) return;
    rlk_transport_abort_all(t);
    while (t->done.first != NULL)
        rlk_transport_drop(t);
    if (is_ours(t)) close_multi(t);
    rlk_poller_close(&t->poller);
    forget_config(t);
    const rlk_alloc alloc = t->alloc;
    rlk_alloc_free(&alloc, t, sizeof *t);
}

rlk_err rlk_transport_prepare(const rlk_transport *t, const rlk_request *request,
                              rlk_transfer **out, const char **detail) {
    rlk_request_facts facts;
    *out = NULL;
    const rlk_err e = rlk_request_check(request, t->config.allow_http_loopback, &facts, detail);
    if (e != RLK_OK) return e;
    const size_t cap = request->response_bytes_max;
    return rlk_transfer_new(out, &t->alloc, request, &facts,
                            cap != 0 ? cap : t->config.response_bytes_max, detail);
}

static rlk_err check_room(const rlk_transport *t, const char **detail) {
    if (t->broken || !is_ours(t)) {
        *detail = t->broken ? "the transport failed; open a new one"
                            : "it belongs to the process that this one was forked from";
        return RLK_E_CLOSED;
    }
    if (t->open_count >= RLK_TRANSPORT_IN_FLIGHT_MAX) {
        *detail = "too many transfers are in flight";
        return RLK_E_BUSY;
    }
    return RLK_OK;
}

rlk_err rlk_transport_launch(rlk_transport *t, rlk_transfer *x, const char **detail) {
    const rlk_err e = check_room(t, detail);
    if (e != RLK_OK) return e;
    *detail = "out of memory";
    CURL *easy = take_easy(t);
    if (easy == NULL) return RLK_E_NO_MEMORY;
    if (!rlk_transfer_arm(x, easy, &t->config) ||
        curl_multi_add_handle(t->multi, easy) != CURLM_OK) {
        x->easy = NULL;
        curl_easy_cleanup(easy);
        return RLK_E_NO_MEMORY;
    }
    if (rlk_transfer_has_parts(x)) widen(t);
    fly(t, x);
    t->open_count++;
    t->stats.started++;
    return RLK_OK;
}

rlk_err rlk_transport_start(rlk_transport *t, const rlk_request *request, int64_t *ticket,
                            const char **detail) {
    rlk_transfer *x;
    rlk_err e = rlk_transport_prepare(t, request, &x, detail);
    if (e == RLK_OK) e = rlk_transport_launch(t, x, detail);
    if (e != RLK_OK) {
        rlk_transfer_free(x);
        return e;
    }
    x->result.ticket = *ticket = ++t->last_ticket;
    return RLK_OK;
}

static rlk_transfer *transfer_of(CURL *easy) {
    char *private = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    return (rlk_transfer *)(void *)private;
}

/* A part is out: whoever has it is told of the end when it is back. */
static void end_later(rlk_transport *t, rlk_transfer *x, CURLcode code) {
    curl_multi_remove_handle(t->multi, x->easy);
    x->ended = true;
    x->end_code = code;
}

static void collect(rlk_transport *t) {
    int left = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(t->multi, &left)) != NULL;) {
        if (m->msg != CURLMSG_DONE) continue;
        const CURLcode code = m->data.result; /* m is gone once its handle is removed */
        rlk_transfer *x = transfer_of(m->easy_handle);
        if (x->lent)
            end_later(t, x, code);
        else
            land_by(t, x, code);
    }
}

static void hand_out_parts(rlk_transport *t) {
    for (rlk_transfer *x = t->streaming.first, *next; x != NULL; x = next) {
        next = x->next;
        if (!rlk_transfer_has_part(x)) continue;
        rlk_transfer_lend(x);
        move_to(&t->done, x);
    }
}

/* Ends those whose time has passed; returns the earliest deadline of the others. */
static int64_t expire_list(rlk_transport *t, rlk_transfer_list *list, int64_t now_ms) {
    int64_t earliest_ms = INT64_MAX;
    for (rlk_transfer *x = list->first, *next; x != NULL; x = next) {
        next = x->next;
        if (x->deadline_ms < now_ms) {
            abort_open(t, x, RLK_E_TIMEOUT, "the time allowed has passed");
        } else {
            earliest_ms = rlk_ms_min(earliest_ms, x->deadline_ms);
        }
    }
    return earliest_ms;
}

/* libcurl does not look at the time of a transfer that waits for a free connection, or for one in
 * the making, so deadlines are kept here as well. Returns the ms until the next one, at most
 * `most`. */
static int64_t expire(rlk_transport *t, int64_t most) {
    const int64_t now_ms = rlk_clock_monotonic_ms();
    const int64_t stream_ms = expire_list(t, &t->streaming, now_ms);
    if (t->flying_until_ms < now_ms) t->flying_until_ms = expire_list(t, &t->flying, now_ms);
    const int64_t next_ms = rlk_ms_min(stream_ms, t->flying_until_ms);
    /* the last millisecond of a deadline must have passed */
    return next_ms - now_ms < most ? next_ms - now_ms + 1 : most;
}

static void end_all_later(rlk_transport *t, rlk_transfer_list *list, CURLcode code) {
    for (rlk_transfer *x = list->first; x != NULL; x = x->next)
        if (x->lent && !x->ended) end_later(t, x, code);
}

/* Whatever is wrong with the multi handle now will be wrong with it later. */
static void give_up(rlk_transport *t, CURLMcode code) {
    const bool starved = code == CURLM_OUT_OF_MEMORY;
    t->broken = true;
    abort_flying(t, starved ? RLK_E_NO_MEMORY : RLK_E_NETWORK, curl_multi_strerror(code));
    end_all_later(t, &t->lent, starved ? CURLE_OUT_OF_MEMORY : CURLE_RECV_ERROR);
    end_all_later(t, &t->done, starved ? CURLE_OUT_OF_MEMORY : CURLE_RECV_ERROR);
}

/* After libcurl has moved transfers on: sees to those that have ended and to those whose time has
 * passed. Returns how long to wait at most. */
static int64_t settle(rlk_transport *t, CURLMcode code, int64_t most_ms) {
    collect(t);
    hand_out_parts(t);
    if (code != CURLM_OK) give_up(t, code);
    const int64_t wait_ms = expire(t, most_ms);
    return t->done.count > 0 ? 0 : wait_ms;
}

static void move_on(rlk_transport *t, int64_t timeout_ms) {
    const int64_t wait_ms = settle(t, rlk_poller_run_due(&t->poller), timeout_ms);
    if (!t->broken) (void)settle(t, rlk_poller_wait(&t->poller, wait_ms), 0);
}

size_t rlk_transport_poll(rlk_transport *t, int64_t timeout_ms) {
    const bool ours = is_ours(t);
    if (!ours) rlk_transport_abort_all(t);
    if (ours && !t->broken) {
        move_on(t, timeout_ms);
    } else if (t->done.count == 0) {
        (void)rlk_clock_sleep_ms(timeout_ms);
    }
    return t->done.count;
}

const rlk_result *rlk_transport_peek(const rlk_transport *t) {
    return t->done.first != NULL ? &t->done.first->result : NULL;
}

rlk_transfer *rlk_transport_pop(rlk_transport *t) {
    rlk_transfer *x = t->done.first;
    if (x == NULL) return NULL;
    if (x->lent)
        move_to(&t->lent, x);
    else
        list_remove(x);
    return x;
}

void rlk_transport_drop(rlk_transport *t) {
    rlk_transfer *x = rlk_transport_pop(t);
    if (x != NULL && !x->lent) rlk_transfer_free(x);
}

/* What libcurl has kept meanwhile comes now, in callbacks. */
static void unpause(rlk_transport *t, rlk_transfer *x) {
    x->paused = false;
    if (!is_ours(t)) return;
    const CURLcode code = curl_easy_pause(x->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK) land_by(t, x, code);
}

void rlk_transport_take_back(rlk_transport *t, rlk_transfer *x) {
    rlk_transfer_take_back(x);
    fly(t, x);
    if (x->ended) {
        land_by(t, x, x->end_code);
    } else if (x->paused) {
        unpause(t, x);
    }
}

static rlk_transfer *find(const rlk_transfer_list *list, int64_t ticket) {
    rlk_transfer *x = list->first;
    while (x != NULL && x->result.ticket != ticket)
        x = x->next;
    return x;
}

bool rlk_transport_proceed(rlk_transport *t, int64_t ticket) {
    rlk_transfer *x = find(&t->lent, ticket);
    if (x != NULL) rlk_transport_take_back(t, x);
    return x != NULL;
}

bool rlk_transport_cancel(rlk_transport *t, int64_t ticket) {
    rlk_transfer *x = find(&t->flying, ticket);
    if (x == NULL) x = find(&t->streaming, ticket);
    if (x == NULL) x = find(&t->lent, ticket);
    if (x == NULL) x = find(&t->done, ticket);
    if (x == NULL || (x->in == &t->done && !x->lent)) return false;
    rlk_transport_abort(t, x);
    return true;
}

void rlk_transport_wake(rlk_transport *t) {
    rlk_poller_wake(&t->poller);
}

bool rlk_transport_has_failed(const rlk_transport *t) {
    return t->broken;
}

rlk_transport_stats rlk_transport_counts(const rlk_transport *t) {
    rlk_transport_stats stats = t->stats;
    stats.in_flight = (int64_t)t->open_count;
    return stats;
}

static rlk_span next_word(rlk_span head, size_t *at) {
    const rlk_span word = {head.ptr + *at, strlen(head.ptr + *at)};
    *at += word.len + 1;
    return word;
}

bool rlk_result_header(const rlk_result *r, size_t *at, rlk_span *name, rlk_span *value) {
    if (*at >= r->head.len) return false;
    *name = next_word(r->head, at);
    *value = next_word(r->head, at);
    return true;
}

const char *rlk_transport_library(void) {
    return curl_version();
}
