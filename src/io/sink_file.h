/* A file that is there whole or not at all: what comes is written beside it, under a name of its
 * own, and takes the file's place in one step when all of it is on the disk.
 *
 * Invariants: the file itself is touched by commit only; what was written without a commit is
 * removed. Only this user can read it (mode 0600). The directory is held open, so that neither
 * chdir nor a directory moved meanwhile leads elsewhere.
 * Ownership: whoever opened it drops it. Threads: one at a time. */
#ifndef RLK_SINK_FILE_H
#define RLK_SINK_FILE_H

#include <stdint.h>

#include "core/alloc.h"
#include "core/err.h"
#include "core/span.h"

typedef struct rlk_sink_file rlk_sink_file;

/* Looks whether a file can be put there; nothing is written yet. sink_failed or no_memory leave
 * *out NULL, with a constant *detail. The path has no NUL inside and one behind it. */
rlk_err rlk_sink_file_open(rlk_sink_file **out, const rlk_alloc *alloc, rlk_span path,
                           const char **detail);

/* Appends; sink_failed when the disk takes no more. */
rlk_err rlk_sink_file_write(rlk_sink_file *f, const char *bytes, size_t count);

int64_t rlk_sink_file_bytes(const rlk_sink_file *f);

/* Puts what was written, be it nothing, in the place of the file. */
rlk_err rlk_sink_file_commit(rlk_sink_file *f);

/* Removes what was not committed, and frees. NULL is allowed. */
void rlk_sink_file_drop(rlk_sink_file *f);

#endif
