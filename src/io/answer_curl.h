/* Where the body of an answer goes: gathered, handed out in parts, or written to a file.
 *
 * Between a transfer's callbacks (transfer_curl.c), which bring bytes, and the transport, which
 * hands parts out. No call of libcurl's but those that ask. Only a stream's 2xx answer goes
 * elsewhere than into the gathered whole: what else comes is for whoever must understand it. */
#ifndef RLK_ANSWER_CURL_H
#define RLK_ANSWER_CURL_H

#include "io/transfer_curl.h"

/* Makes ready for the body; false when there is no way to keep it, with a constant *detail. */
rlk_err rlk_answer_init(rlk_transfer *x, const rlk_request *request, const char **detail);
void rlk_answer_deinit(rlk_transfer *x);

/* Takes bytes; the result is a write callback's. */
size_t rlk_answer_add(rlk_transfer *x, const char *bytes, size_t count);

/* The head has come, or a part was taken: the time that the body may stand still begins anew. */
void rlk_answer_extend(rlk_transfer *x);

/* All of it has come. */
rlk_err rlk_answer_keep(rlk_transfer *x);

#endif
