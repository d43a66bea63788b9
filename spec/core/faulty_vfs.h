/* An SQLite file system that fails on demand: full, broken or read-only, at any chosen write.
 *
 * It stands before the system's own and passes everything on. `faulty_vfs` is the one there is in a
 * test program; SQLite knows it as "faulty" once it is registered. But for `refusals` it is for
 * one thread at a time. */
#ifndef TEST_FAULTY_VFS_H
#define TEST_FAULTY_VFS_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct faulty_state {
    int writes;          /* writes, syncs and truncations so far */
    int syncs;           /* syncs among them */
    int fail_at;         /* which of them fails, from 1; 0 for none */
    bool for_ever;       /* and all after it */
    int code;            /* what a write then answers; a sync answers SQLITE_IOERR_FSYNC */
    bool read_only;      /* files cannot be opened for writing */
    bool no_sync;        /* syncs are counted, and not waited for: nothing here outlives a crash */
    atomic_int refusals; /* of the write-ahead log's locks, held by others; for any thread */
} faulty_state;

extern faulty_state faulty_vfs;

void faulty_vfs_register(void);

#endif
