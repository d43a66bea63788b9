/* A few system calls around a listening socket; see peer.h. */
#define _POSIX_C_SOURCE 200809L

#include "peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"

void peer_open(peer *p) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    memset(p, 0, sizeof *p);
    for (int i = 0; i < PEER_CONNECTIONS_MAX; i++)
        p->connections[i] = -1;
    p->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(p->listener >= 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(p->listener, PEER_CONNECTIONS_MAX), 0);
    assert_int_equal(fcntl(p->listener, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&address, &bytes), 0);
    snprintf(p->url, sizeof p->url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
}

static void hang_up(int *connection) {
    if (*connection >= 0) close(*connection);
    *connection = -1;
}

void peer_close(peer *p) {
    for (int i = 0; i < PEER_CONNECTIONS_MAX; i++)
        hang_up(&p->connections[i]);
    hang_up(&p->listener);
}

/* A client that has gone meanwhile is none of ours. */
static void say(int connection, const char *text) {
    (void)send(connection, text, strlen(text), MSG_NOSIGNAL);
}

static void answer(peer *p, int at) {
    char head[128];
    const int pieces = p->pieces > 1 ? p->pieces : 1;
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: %s\r\n\r\n%s",
             20 * pieces, PEER_ANSWER, PEER_ANSWER);
    say(p->connections[at], head);
    p->left[at] = pieces - 1;
}

static void serve(peer *p, int at) {
    int *connection = &p->connections[at];
    char request[4096];
    const ssize_t got = recv(*connection, request, sizeof request, MSG_DONTWAIT);
    if (got == 0) hang_up(connection);
    if (got <= 0) return;
    p->requests++;
    if (!p->silent) answer(p, at);
}

static void go_on(peer *p, int at) {
    if (p->left[at] == 0 || p->holds) return;
    p->left[at]--;
    say(p->connections[at], PEER_ANSWER);
}

void peer_turn(peer *p) {
    for (int i = 0; i < PEER_CONNECTIONS_MAX; i++) {
        if (p->connections[i] < 0) {
            p->connections[i] = accept(p->listener, NULL, NULL);
            p->left[i] = 0;
        } else {
            go_on(p, i);
            serve(p, i);
        }
    }
}
