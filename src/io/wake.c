/* See wake.h. The lock guards everything that a signal looks at; it is held for a system call that
 * does not block, never longer. */
#define _GNU_SOURCE /* accept4, struct ucred */

#include "io/wake.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/ms.h"
#include "io/clock.h"

enum { NO_FD = -1, BACKLOG = 16 };

#define FOLDER "/ringlink-XXXXXX"
#define SOCKET "/wake"

struct rlk_wake {
    rlk_alloc alloc;
    pid_t pid; /* whose it is */
    int listener;
    bool has_folder;
    char folder[sizeof((struct sockaddr_un *)0)->sun_path - (sizeof SOCKET - 1)];
    struct sockaddr_un address;
    int reader; /* of a pair */

    pthread_mutex_t lock; /* for all that follows */
    int holders;
    int connection;
    bool missed;     /* a signal came before the connection */
    int64_t last_ms; /* of the last byte, sent or missed */
};

static bool is_ours(const rlk_wake *w) {
    return w->pid == getpid();
}

/* ---- Socket and folder ---- */

static bool make_folder_in(rlk_wake *w, const char *parent) {
    const int bytes = snprintf(w->folder, sizeof w->folder, "%s" FOLDER, parent);
    w->has_folder = bytes > 0 && (size_t)bytes < sizeof w->folder && mkdtemp(w->folder) != NULL;
    return w->has_folder;
}

/* A socket's path must be short: where TMPDIR is too long for that, /tmp has to do. */
static bool make_folder(rlk_wake *w) {
    const char *chosen = getenv("TMPDIR");
    return (chosen != NULL && chosen[0] == '/' && make_folder_in(w, chosen)) ||
           make_folder_in(w, "/tmp");
}

static bool listen_there(rlk_wake *w) {
    const struct sockaddr *address = (const struct sockaddr *)&w->address;
    w->address.sun_family = AF_UNIX;
    (void)snprintf(w->address.sun_path, sizeof w->address.sun_path, "%s" SOCKET, w->folder);
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return w->listener >= 0 && bind(w->listener, address, sizeof w->address) == 0 &&
           listen(w->listener, BACKLOG) == 0;
}

static void close_fd(int *fd) {
    if (*fd != NO_FD) (void)close(*fd);
    *fd = NO_FD;
}

static void stop_listening(rlk_wake *w) {
    close_fd(&w->listener);
    if (!w->has_folder) return;
    (void)unlink(w->address.sun_path);
    (void)rmdir(w->folder);
    w->has_folder = false;
}

static rlk_err start_listening(rlk_wake *w, const char **detail) {
    if (!make_folder(w)) {
        *detail = "no private folder could be made in TMPDIR or /tmp";
        return RLK_E_CONNECT;
    }
    if (!listen_there(w)) {
        *detail = "no socket could be made; check the limit of open files";
        return RLK_E_CONNECT;
    }
    return RLK_OK;
}

static rlk_err make_pair(rlk_wake *w, const char **detail) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        *detail = "no pair of sockets could be made; check the limit of open files";
        return RLK_E_CONNECT;
    }
    w->connection = ends[0];
    w->reader = ends[1];
    return RLK_OK;
}

static rlk_err open_by(rlk_err (*start)(rlk_wake *w, const char **detail), rlk_wake **out,
                       const rlk_alloc *alloc, const char **detail) {
    *out = NULL;
    *detail = "out of memory";
    rlk_wake *w = rlk_alloc_zeroed(alloc, sizeof *w);
    if (w == NULL) return RLK_E_NO_MEMORY;
    w->alloc = *alloc;
    w->pid = getpid();
    w->listener = w->connection = w->reader = NO_FD;
    w->holders = 1;
    w->last_ms = rlk_clock_monotonic_ms();
    (void)pthread_mutex_init(&w->lock, NULL); /* cannot fail for a plain one */
    const rlk_err e = start(w, detail);
    if (e == RLK_OK)
        *out = w;
    else
        rlk_wake_release(w);
    return e;
}

rlk_err rlk_wake_open(rlk_wake **out, const rlk_alloc *alloc, const char **detail) {
    return open_by(start_listening, out, alloc, detail);
}

rlk_err rlk_wake_open_pair(rlk_wake **out, const rlk_alloc *alloc, const char **detail) {
    return open_by(make_pair, out, alloc, detail);
}

int rlk_wake_fd(const rlk_wake *w) {
    return is_ours(w) ? w->reader : NO_FD;
}

void rlk_wake_drain(rlk_wake *w) {
    char bytes[256];
    const int fd = rlk_wake_fd(w);
    if (fd == NO_FD) return;
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

void rlk_wake_wait(const rlk_wake *w, int64_t timeout_ms) {
    struct pollfd one = {.fd = rlk_wake_fd(w), .events = POLLIN};
    if (one.fd != NO_FD) (void)poll(&one, 1, (int)rlk_ms_min(timeout_ms, INT_MAX));
}

const char *rlk_wake_path(const rlk_wake *w) {
    return is_ours(w) && w->listener != NO_FD ? w->address.sun_path : NULL;
}

/* ---- Signals ---- */

/* The caller holds the lock. A full connection has bytes enough, a broken one has no reader. */
static void send_byte(rlk_wake *w, int64_t now_ms) {
    w->last_ms = now_ms;
    w->missed = w->connection == NO_FD;
    if (!w->missed) (void)send(w->connection, "\n", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void rlk_wake_signal(rlk_wake *w) {
    (void)pthread_mutex_lock(&w->lock);
    send_byte(w, rlk_clock_monotonic_ms());
    (void)pthread_mutex_unlock(&w->lock);
}

int64_t rlk_wake_beat(rlk_wake *w) {
    (void)pthread_mutex_lock(&w->lock);
    const int64_t now_ms = rlk_clock_monotonic_ms();
    if (now_ms - w->last_ms >= RLK_WAKE_BEAT_MS) send_byte(w, now_ms);
    const int64_t next_ms = w->last_ms + RLK_WAKE_BEAT_MS - now_ms;
    (void)pthread_mutex_unlock(&w->lock);
    return next_ms;
}

/* ---- The connection ---- */

static bool is_this_process(int fd) {
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.pid == getpid() &&
           peer.uid == geteuid();
}

static void connected(rlk_wake *w, int fd) {
    stop_listening(w);
    (void)pthread_mutex_lock(&w->lock);
    w->connection = fd;
    if (w->missed) send_byte(w, rlk_clock_monotonic_ms());
    (void)pthread_mutex_unlock(&w->lock);
}

rlk_err rlk_wake_accept(rlk_wake *w, const char **detail) {
    if (rlk_wake_path(w) == NULL) {
        *detail = "nothing is listening: it was accepted before, or closed";
        return RLK_E_CLOSED;
    }
    *detail = "nobody has connected";
    for (int fd; (fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0; (void)close(fd)) {
        if (is_this_process(fd)) {
            connected(w, fd);
            return RLK_OK;
        }
        *detail = "another process had connected; it was turned away";
    }
    return RLK_E_CONNECT;
}

void rlk_wake_close(rlk_wake *w) {
    if (!is_ours(w)) return;
    stop_listening(w);
    close_fd(&w->reader);
    (void)pthread_mutex_lock(&w->lock);
    close_fd(&w->connection);
    (void)pthread_mutex_unlock(&w->lock);
}

rlk_wake *rlk_wake_hold(rlk_wake *w) {
    if (!is_ours(w)) return NULL;
    (void)pthread_mutex_lock(&w->lock);
    w->holders++;
    (void)pthread_mutex_unlock(&w->lock);
    return w;
}

void rlk_wake_release(rlk_wake *w) {
    if (w == NULL || !is_ours(w)) return;
    (void)pthread_mutex_lock(&w->lock);
    const int holders = --w->holders;
    (void)pthread_mutex_unlock(&w->lock);
    if (holders > 0) return;
    rlk_wake_close(w);
    (void)pthread_mutex_destroy(&w->lock);
    const rlk_alloc alloc = w->alloc;
    rlk_alloc_free(&alloc, w, sizeof *w);
}
