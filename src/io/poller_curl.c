/* See poller_curl.h. Events are told by level: whatever libcurl leaves unread is told again. */
#include "io/poller_curl.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "core/ms.h"

enum { EVENT_COUNT_MAX = 128 }; /* in a turn; the others are told in the next one */

static uint32_t events_of(int what) {
    uint32_t events = 0;
    if ((what & CURL_POLL_IN) != 0) events |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0) events |= EPOLLOUT;
    return events;
}

/* A connection lost is told to whoever reads as well as to whoever writes. */
static int curl_bits_of(uint32_t events) {
    int bits = 0;
    if ((events & (EPOLLIN | EPOLLHUP)) != 0) bits |= CURL_CSELECT_IN;
    if ((events & (EPOLLOUT | EPOLLHUP)) != 0) bits |= CURL_CSELECT_OUT;
    if ((events & EPOLLERR) != 0) bits |= CURL_CSELECT_ERR;
    return bits;
}

/* libcurl may forget a socket that it closes, and meet its number again. */
static int watch(const rlk_poller *p, curl_socket_t socket, int what) {
    struct epoll_event event = {.events = events_of(what), .data = {.fd = socket}};
    if (epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, socket, &event) == 0) return 0;
    if (errno != ENOENT) return -1;
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, socket, &event);
}

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *ud, void *ours) {
    const rlk_poller *p = ud;
    (void)easy;
    (void)ours;
    if (what != CURL_POLL_REMOVE) return watch(p, socket, what);
    (void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, socket, NULL); /* closed already: gone already */
    return 0;
}

static bool watch_multi(rlk_poller *p) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = p->wake_fd}};
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &event) == 0 &&
           curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p) == CURLM_OK &&
           curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK;
}

static void close_both(const rlk_poller *p) {
    if (p->epoll_fd >= 0) (void)close(p->epoll_fd);
    if (p->wake_fd >= 0) (void)close(p->wake_fd);
}

bool rlk_poller_open(rlk_poller *p, CURLM *multi) {
    const rlk_poller opened = {multi, epoll_create1(EPOLL_CLOEXEC),
                               eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    *p = opened;
    if (p->epoll_fd >= 0 && p->wake_fd >= 0 && watch_multi(p)) return true;
    close_both(p);
    *p = (rlk_poller){NULL, -1, -1};
    return false;
}

void rlk_poller_close(rlk_poller *p) {
    if (p->multi == NULL) return;
    close_both(p);
    *p = (rlk_poller){NULL, -1, -1};
}

static CURLMcode act(const rlk_poller *p, curl_socket_t socket, int bits) {
    int running = 0;
    return curl_multi_socket_action(p->multi, socket, bits, &running);
}

CURLMcode rlk_poller_run_due(rlk_poller *p) {
    return act(p, CURL_SOCKET_TIMEOUT, 0);
}

static int64_t until_timer(const rlk_poller *p, int64_t wait_ms) {
    long timer_ms = -1; /* there is none */
    (void)curl_multi_timeout(p->multi, &timer_ms);
    return timer_ms >= 0 ? rlk_ms_min(wait_ms, timer_ms) : wait_ms;
}

static void take_wake(const rlk_poller *p) {
    uint64_t count;
    ssize_t got = read(p->wake_fd, &count, sizeof count);
    (void)got; /* it only ends the wait */
}

static CURLMcode serve(const rlk_poller *p, const struct epoll_event *event) {
    if (event->data.fd != p->wake_fd) return act(p, event->data.fd, curl_bits_of(event->events));
    take_wake(p);
    return CURLM_OK;
}

CURLMcode rlk_poller_wait(rlk_poller *p, int64_t wait_ms) {
    struct epoll_event events[EVENT_COUNT_MAX];
    const int64_t most_ms = rlk_ms_min(until_timer(p, wait_ms), INT_MAX);
    const int count = epoll_wait(p->epoll_fd, events, EVENT_COUNT_MAX, (int)most_ms);
    if (count < 0 && errno != EINTR) return CURLM_BAD_SOCKET; /* somebody has closed our own one */
    if (count <= 0) return rlk_poller_run_due(p);
    CURLMcode code = CURLM_OK;
    for (int i = 0; i < count && code == CURLM_OK; i++)
        code = serve(p, &events[i]);
    return code;
}

void rlk_poller_wake(const rlk_poller *p) {
    const uint64_t one = 1;
    ssize_t put = write(p->wake_fd, &one, sizeof one);
    (void)put; /* fails only when more wakes than can be counted are pending */
}
