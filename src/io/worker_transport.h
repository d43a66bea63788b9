/* A transport on a thread of its own (worker.h), so that whoever makes requests never waits.
 *
 * What transport_curl.h promises holds here too: a request is checked when it is started, every
 * ticket ends in one completion, parts come before it, `sent` is told. A request's time begins with
 * its start. While a part is out, its bytes belong to the thread that took it.
 *
 * Ownership: as with a transport; a completion's pointers live until it is dropped. The wake is
 * held until the end. Threads: all functions from one thread. After a fork the child finds it
 * closed, and freeing it there does nothing. The allocator is used by two threads at once. */
#ifndef RLK_WORKER_TRANSPORT_H
#define RLK_WORKER_TRANSPORT_H

#include "io/transport_curl.h"
#include "io/wake.h"
#include "io/worker.h"

typedef struct rlk_transport_worker rlk_transport_worker;

/* Opens the transport and starts its thread. At most queue_max transfers, and never more than
 * RLK_TRANSPORT_IN_FLIGHT_MAX, are out: started and not dropped. On failure *out is NULL and
 * *detail says why. */
rlk_err rlk_transport_worker_open(rlk_transport_worker **out, const rlk_alloc *alloc,
                                  const rlk_transport_config *config, size_t queue_max,
                                  rlk_wake *wake, const char **detail);

/* As rlk_transport_start; busy when queue_max are out, closed when the transport has failed. */
rlk_err rlk_transport_worker_start(rlk_transport_worker *w, const rlk_request *request,
                                   int64_t *ticket, const char **detail);

/* As rlk_transport_peek and _drop; without a word to the thread. */
const rlk_result *rlk_transport_worker_peek(rlk_transport_worker *w);
void rlk_transport_worker_drop(rlk_transport_worker *w);

/* As rlk_transport_proceed. */
bool rlk_transport_worker_proceed(rlk_transport_worker *w, int64_t ticket);

/* Asks for a transfer to end. Its completion is `cancelled`, unless it ends by itself meanwhile.
 * False when it is done already, or unknown. */
bool rlk_transport_worker_cancel(rlk_transport_worker *w, int64_t ticket);

/* in_flight counts what is not done yet. */
rlk_transport_stats rlk_transport_worker_counts(rlk_transport_worker *w);
rlk_worker_lengths rlk_transport_worker_lengths(rlk_transport_worker *w);

/* Cancels what is not done and ends the thread. Completions can still be had. Idempotent. */
void rlk_transport_worker_close(rlk_transport_worker *w);

/* Closes it and frees everything. NULL is allowed. */
void rlk_transport_worker_free(rlk_transport_worker *w);

#endif
