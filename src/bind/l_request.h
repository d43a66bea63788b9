/* What the transport in the caller's thread and the one on a thread of its own have in common: how
 * options and requests are read, how results and counts become tables.
 *
 * The fields are named as in io/transport_curl.h. A wrong field raises; nothing is held meanwhile.
 */
#ifndef L_REQUEST_H
#define L_REQUEST_H

#include "bind/l_compat.h"
#include "io/transport_curl.h"

enum { L_REQUEST_LINES = RLK_TRANSPORT_LINE_COUNT_MAX + 1 };

/* The options in argument `arg`, a table. A field named `also` (NULL: none) is left to the caller.
 * Texts point into the table's strings. */
rlk_transport_config l_read_transport(lua_State *L, int arg, const char *also);

/* The request in argument `arg`. `lines` has room for L_REQUEST_LINES headers. The array of headers
 * stays on the top of the stack: with it and the argument in place the request is valid. */
rlk_request l_read_request(lua_State *L, int arg, rlk_span *lines);

/* Pushes a completion as a table. */
void l_push_result(lua_State *L, const rlk_result *r);

/* Pushes what a transport has counted. */
void l_push_stats(lua_State *L, rlk_transport_stats s);

#endif
