/* See l_worker.h. */
#include "bind/l_worker.h"

#include "bind/l_util.h"

void l_set_lengths(lua_State *L, rlk_worker_lengths lengths) {
    l_setint(L, "queued", (int64_t)lengths.queued);
    l_setint(L, "at_work", (int64_t)lengths.at_work);
    l_setint(L, "done", (int64_t)lengths.done);
}
