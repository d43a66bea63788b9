/* How threads wake an event loop that can wait for nothing but sockets: by a byte.
 *
 * A wake listens on an AF_UNIX socket in a folder of its own; the loop connects to it, the wake
 * accepts that connection, and from then on every signal is one byte ("\n") to be read there. A
 * loop that can wait for any descriptor has a pair instead: both ends are the wake's, it is ready
 * at once, and nothing ever lies in a folder. What a byte is about is not said: the reader looks
 * everywhere. A byte also comes when nothing happened for RLK_WAKE_BEAT_MS, so that the reader can
 * look at other things too.
 *
 * Invariants:
 * - Nobody but this very process is listened to: the folder is for its owner only, the peer's pid
 *   and uid are checked, and once the connection stands, socket and folder are gone.
 * - A signal never blocks. One that comes before the connection is made up for when it stands; one
 *   that finds the connection full of bytes is not needed.
 *
 * Ownership: counted. Whoever opens it holds it, and so does every worker; the last release frees
 * it. Closing ends the connection for all of them; their signals then go nowhere.
 * Threads: signal and beat from any thread, also while another closes; the rest from one thread.
 * After a fork the child can do nothing with it, and takes nothing away from the parent. */
#ifndef RLK_WAKE_H
#define RLK_WAKE_H

#include <stdint.h>

#include "core/alloc.h"
#include "core/err.h"

enum { RLK_WAKE_BEAT_MS = 1000 };

typedef struct rlk_wake rlk_wake;

/* Makes the socket and listens. On failure *out is NULL and *detail a constant text. */
rlk_err rlk_wake_open(rlk_wake **out, const rlk_alloc *alloc, const char **detail);

/* Makes a connected pair: the end to read from is rlk_wake_fd. On failure as rlk_wake_open. */
rlk_err rlk_wake_open_pair(rlk_wake **out, const rlk_alloc *alloc, const char **detail);

/* The pair's end to read from, which becomes readable with a signal; -1 when there is none, it is
 * closed, or this is a forked child. Its owner is the wake. */
int rlk_wake_fd(const rlk_wake *w);

/* Reads what has come to that end, without waiting. */
void rlk_wake_drain(rlk_wake *w);

/* Waits for that end to become readable, at most so long. */
void rlk_wake_wait(const rlk_wake *w, int64_t timeout_ms);

/* Where to connect; NULL once the connection stands or the wake is closed. */
const char *rlk_wake_path(const rlk_wake *w);

/* Takes the connection that was just made. Does not wait: RLK_E_CONNECT when there is none, or only
 * other processes' (those are turned away). RLK_E_CLOSED when nothing is listening any more. */
rlk_err rlk_wake_accept(rlk_wake *w, const char **detail);

/* Ends the connection and takes away what is left of socket and folder. Idempotent. */
void rlk_wake_close(rlk_wake *w);

rlk_wake *rlk_wake_hold(rlk_wake *w); /* NULL in a forked child */
void rlk_wake_release(rlk_wake *w);   /* NULL is allowed */

/* Sends a byte. */
void rlk_wake_signal(rlk_wake *w);

/* Sends a byte if the last one is RLK_WAKE_BEAT_MS old, and says in how many ms (at least 1) it
 * wants to be called again. Every worker's thread does that: whichever comes first keeps the heart
 * going, for all of them. */
int64_t rlk_wake_beat(rlk_wake *w);

#endif
