/* What the bindings of both kinds of workers have in common. */
#ifndef L_WORKER_H
#define L_WORKER_H

#include "bind/l_compat.h"
#include "io/worker.h"

/* Sets the fields queued, at_work and done of the table on the top of the stack. */
void l_set_lengths(lua_State *L, rlk_worker_lengths lengths);

#endif
