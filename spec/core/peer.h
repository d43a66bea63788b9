/* An HTTP server on the test's own thread: it moves only when it is told to, and gives every
 * request the same answer. */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include <stdbool.h>

#define PEER_ANSWER "s3cr3t-s3cr3t-s3cr3t" /* the body it answers with */

enum { PEER_CONNECTIONS_MAX = 32 }; /* at a time */

typedef struct peer {
    int listener;
    int connections[PEER_CONNECTIONS_MAX];
    bool silent; /* reads, and answers nothing */
    int pieces;  /* above 1: the answer is so many bodies long, of which each turn brings one */
    bool holds;  /* the pieces after the first one */
    int left[PEER_CONNECTIONS_MAX];
    int requests;
    char url[64];
} peer;

void peer_open(peer *p);
void peer_close(peer *p); /* idempotent */

/* Accepts whoever came, and answers what has arrived. Does not wait. */
void peer_turn(peer *p);

#endif
