/* Requests at given instants, and how late each was answered: the prober and the crowd of
 * `make bench`.
 *
 *   load PORT CONNECTIONS PRIORITY <plan >answers
 *
 * A line of the plan is "AT_US PATH": when, after the beginning, GET PATH is due. Lines stand in
 * the order of their times. A line of the answers is "AT_US TOOK_US STATUS BODY", in the order in
 * which they came; TOOK_US counts from the instant at which the request was due, not from when it
 * was sent, so that a server which holds up one request answers for those that had to wait behind
 * it. The last line is "open=N": how many were under way at once, at most.
 *
 * All connections are opened before the beginning and kept; a request whose time has come waits for
 * a free one. Without connections nothing is asked: each instant is noted when it was noticed,
 * which tells how late a process that has nothing to do with a server is. PRIORITY is a nice value:
 * a prober must not be late itself. HTTP/1.1 on 127.0.0.1, answers with Content-Length and a body
 * of one line. One thread, no allocation after the plan was read. Whatever fails ends it. */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTION_COUNT_MAX = 1024,
    PLAN_COUNT_MAX = 200000,
    PATH_BYTES = 200,
    TEXT_BYTES = 4096,
    READY_COUNT_MAX = 64,
    US_PER_S = 1000000,
    NS_PER_US = 1000,
    SILENCE_S_MAX = 60
};

typedef struct request {
    int64_t at_us;
    char path[PATH_BYTES];
} request;

typedef struct connection {
    int fd;
    struct connection *next_free;
    const request *asked; /* NULL: free */
    size_t used;
    char text[TEXT_BYTES];
} connection;

static request *plan;
static size_t plan_count, asked_count, answered_count, open_count, open_count_most;
static connection connections[CONNECTION_COUNT_MAX];
static size_t connection_count;
static connection *first_free;
static int watch_fd;
static int64_t begun_us;

static _Noreturn void die(const char *what, const char *why) {
    (void)fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / NS_PER_US - begun_us;
}

static void read_plan(void) {
    plan = calloc(PLAN_COUNT_MAX, sizeof *plan);
    if (plan == NULL) die("plan", "out of memory");
    while (plan_count < PLAN_COUNT_MAX) {
        request *r = &plan[plan_count];
        if (scanf("%ld %199s", &r->at_us, r->path) != 2) break;
        plan_count++;
    }
    if (!feof(stdin)) die("plan", "a line cannot be read, or there are too many");
}

/* ---- Connections ---- */

static void set_free(connection *c) {
    c->asked = NULL;
    c->next_free = first_free;
    first_free = c;
}

static void open_connection(connection *c, uint16_t port) {
    const int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect", strerror(errno));
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(watch_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) die("watch", strerror(errno));
    set_free(c);
}

static void open_connections(uint16_t port) {
    watch_fd = epoll_create1(0);
    if (watch_fd < 0) die("watch", strerror(errno));
    for (size_t at = 0; at < connection_count; at++)
        open_connection(&connections[at], port);
}

static void ask(connection *c, const request *r) {
    char text[PATH_BYTES + 64];
    c->asked = r;
    c->used = 0;
    if (++open_count > open_count_most) open_count_most = open_count;
    const int len =
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", r->path);
    if (send(c->fd, text, (size_t)len, MSG_NOSIGNAL) != len) die("send", strerror(errno));
}

/* Asks what is due, as far as connections are free. */
static void ask_all_due(void) {
    const int64_t now = now_us();
    while (first_free != NULL && asked_count < plan_count && plan[asked_count].at_us <= now) {
        connection *c = first_free;
        first_free = c->next_free;
        ask(c, &plan[asked_count++]);
    }
}

/* ---- Answers ---- */

/* The body of what is whole; NULL: more must come. */
static const char *body_of(const connection *c) {
    const char *end = strstr(c->text, "\r\n\r\n");
    const char *length = strstr(c->text, "\r\nContent-Length: ");
    if (end == NULL) return NULL;
    if (length == NULL || length > end) die("an answer has no length", c->text);
    const size_t bytes = strtoul(length + strlen("\r\nContent-Length: "), NULL, 10);
    const size_t head = (size_t)(end + 4 - c->text);
    if (head + bytes >= sizeof c->text) die("an answer is too long", c->text);
    return c->used >= head + bytes ? end + 4 : NULL;
}

static void note(connection *c, const char *body) {
    const long status = strtol(c->text + strlen("HTTP/1.1 "), NULL, 10);
    (void)printf("%ld %ld %ld %.*s\n", c->asked->at_us, now_us() - c->asked->at_us, status,
                 (int)strcspn(body, "\r\n"), body);
    set_free(c);
    answered_count++;
    open_count--;
}

static void hear(connection *c) {
    const ssize_t got = recv(c->fd, c->text + c->used, sizeof c->text - 1 - c->used, 0);
    if (got <= 0 || c->asked == NULL) die("a connection", got < 0 ? strerror(errno) : "was closed");
    c->used += (size_t)got;
    c->text[c->used] = '\0';
    const char *body = body_of(c);
    if (body != NULL) note(c, body);
}

/* ---- The loop ---- */

static struct timespec until_next(void) {
    struct timespec wait = {SILENCE_S_MAX, 0};
    if (asked_count == plan_count || first_free == NULL) return wait;
    int64_t us = plan[asked_count].at_us - now_us();
    if (us < 0) us = 0;
    wait.tv_sec = us / US_PER_S;
    wait.tv_nsec = (us % US_PER_S) * NS_PER_US;
    return wait;
}

static void turn(void) {
    struct epoll_event ready[READY_COUNT_MAX];
    const struct timespec wait = until_next();
    const int count = epoll_pwait2(watch_fd, ready, READY_COUNT_MAX, &wait, NULL);
    if (count < 0) die("wait", strerror(errno));
    if (count == 0 && wait.tv_sec == SILENCE_S_MAX) die("the server", "does not answer");
    for (int i = 0; i < count; i++)
        hear(ready[i].data.ptr);
    ask_all_due();
}

/* Where more than the usual priority is not allowed, it is done without. */
static void be_punctual(int priority) {
    (void)prctl(PR_SET_TIMERSLACK, 1L, 0L, 0L, 0L);
    (void)setpriority(PRIO_PROCESS, 0, priority);
}

/* ---- Without connections ---- */

static void notice(const request *r) {
    const int64_t at_us = begun_us + r->at_us;
    const struct timespec at = {at_us / US_PER_S, (at_us % US_PER_S) * NS_PER_US};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
    (void)printf("%ld %ld 0 noticed\n", r->at_us, now_us() - r->at_us);
}

static void notice_all(void) {
    for (size_t i = 0; i < plan_count; i++)
        notice(&plan[i]);
    answered_count = plan_count;
}

static long number_of(const char *text, long least, long most) {
    char *end;
    const long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || number < least || number > most) die("no such number", text);
    return number;
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage", "load PORT CONNECTIONS PRIORITY <plan");
    connection_count = (size_t)number_of(argv[2], 0, CONNECTION_COUNT_MAX);
    read_plan();
    open_connections((uint16_t)number_of(argv[1], 0, UINT16_MAX));
    be_punctual((int)number_of(argv[3], PRIO_MIN, PRIO_MAX));
    begun_us = now_us();
    if (connection_count == 0) notice_all();
    while (answered_count < plan_count)
        turn();
    (void)printf("open=%zu\n", open_count_most);
    return 0;
}
