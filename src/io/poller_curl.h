/* Waits for the sockets of a libcurl multi handle, and moves the transfers on whose sockets are
 * ready. With epoll and curl_multi_socket_action a turn costs what is ready; with curl_multi_poll
 * and curl_multi_perform it costs what is open, which is hundreds of transfers that wait.
 *
 * Owns its two descriptors, and not the multi handle. Threads: one at a time, whichever, but any
 * may wake. A forked child shares the descriptors with its parent and must not use the poller. */
#ifndef RLK_POLLER_CURL_H
#define RLK_POLLER_CURL_H

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

typedef struct rlk_poller {
    CURLM *multi;
    int epoll_fd;
    int wake_fd;
} rlk_poller;

/* Before the first transfer. False when the system gives no descriptors; then, and in a poller of
 * zeroes, close does nothing. */
bool rlk_poller_open(rlk_poller *p, CURLM *multi);

/* After the multi handle was cleaned up, which takes its sockets out of here. */
void rlk_poller_close(rlk_poller *p);

/* Runs what libcurl is to do by now without any socket: what is new, what was waited for. */
CURLMcode rlk_poller_run_due(rlk_poller *p);

/* Waits at most wait_ms, and not beyond libcurl's next timer, and moves on what is ready. A signal
 * or a wake ends the wait. */
CURLMcode rlk_poller_wait(rlk_poller *p, int64_t wait_ms);

/* Ends a wait, or else the next one. */
void rlk_poller_wake(const rlk_poller *p);

#endif
