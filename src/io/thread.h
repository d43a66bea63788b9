/* Starting a thread that is a good guest in somebody else's process.
 *
 * It never runs a signal handler (the process's handlers belong to nginx or to the user), has a
 * small stack of fixed size, and a name that `top -H` and gdb show. Threads that it starts itself,
 * as libcurl's resolver does, inherit all of that but the stack. */
#ifndef RLK_THREAD_H
#define RLK_THREAD_H

#include <pthread.h>
#include <stddef.h>

#include "core/err.h"

/* Runs run(ud) on a new thread; the caller joins it. The name has at most 15 bytes. On failure
 * RLK_E_NO_MEMORY: the system gave no thread. */
rlk_err rlk_thread_start(pthread_t *out, const char *name, void *(*run)(void *ud), void *ud);

/* Has the calling thread give way to the event loop that it works for: it does not take the
 * processor away by being woken, and where they must share one it gets the smaller part. Not for
 * the process's own threads. Where the system does not allow it, all stays as it was. */
void rlk_thread_give_way(void);

/* How many threads of this process have a name that begins so, whoever started them; 0 where the
 * system does not tell. */
size_t rlk_thread_count(const char *beginning);

#endif
