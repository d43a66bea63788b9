/* A file system before the system's own; see faulty_vfs.h. */
#include "faulty_vfs.h"

#include <stddef.h>
#include <string.h>

#include <sqlite3.h>

faulty_state faulty_vfs;

typedef struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real; /* lies behind this one */
} faulty_file;

static sqlite3_vfs *system_vfs(void) {
    return sqlite3_vfs_find("unix");
}

static sqlite3_file *real_of(sqlite3_file *file) {
    return ((faulty_file *)file)->real;
}

static bool fails_now(void) {
    faulty_vfs.writes++;
    if (faulty_vfs.fail_at == 0) return false;
    return faulty_vfs.for_ever ? faulty_vfs.writes >= faulty_vfs.fail_at
                               : faulty_vfs.writes == faulty_vfs.fail_at;
}

static int file_close(sqlite3_file *f) {
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int file_read(sqlite3_file *f, void *out, int bytes, sqlite3_int64 at) {
    return real_of(f)->pMethods->xRead(real_of(f), out, bytes, at);
}

static int file_write(sqlite3_file *f, const void *in, int bytes, sqlite3_int64 at) {
    if (fails_now()) return faulty_vfs.code;
    return real_of(f)->pMethods->xWrite(real_of(f), in, bytes, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 bytes) {
    if (fails_now()) return SQLITE_IOERR_TRUNCATE;
    return real_of(f)->pMethods->xTruncate(real_of(f), bytes);
}

static int file_sync(sqlite3_file *f, int flags) {
    faulty_vfs.syncs++;
    if (fails_now()) return SQLITE_IOERR_FSYNC;
    if (faulty_vfs.no_sync) return SQLITE_OK;
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *bytes) {
    return real_of(f)->pMethods->xFileSize(real_of(f), bytes);
}

static int file_lock(sqlite3_file *f, int kind) {
    return real_of(f)->pMethods->xLock(real_of(f), kind);
}

static int file_unlock(sqlite3_file *f, int kind) {
    return real_of(f)->pMethods->xUnlock(real_of(f), kind);
}

static int file_check_reserved(sqlite3_file *f, int *out) {
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

/* Size hints would write past the counter. */
static int file_control(sqlite3_file *f, int what, void *arg) {
    if (what == SQLITE_FCNTL_SIZE_HINT || what == SQLITE_FCNTL_CHUNK_SIZE) return SQLITE_OK;
    return real_of(f)->pMethods->xFileControl(real_of(f), what, arg);
}

static int file_sector_size(sqlite3_file *f) {
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_characteristics(sqlite3_file *f) {
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int file_shm_map(sqlite3_file *f, int page, int bytes, int extend, void volatile **out) {
    return real_of(f)->pMethods->xShmMap(real_of(f), page, bytes, extend, out);
}

static int file_shm_lock(sqlite3_file *f, int offset, int n, int flags) {
    const int code = real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
    if (code == SQLITE_BUSY) faulty_vfs.refusals++;
    return code;
}

static void file_shm_barrier(sqlite3_file *f) {
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int file_shm_unmap(sqlite3_file *f, int remove) {
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *given) {
    faulty_file *file = (faulty_file *)f;
    (void)vfs;
    file->real = (sqlite3_file *)(file + 1);
    if (faulty_vfs.read_only && (flags & SQLITE_OPEN_MAIN_DB) != 0) {
        flags = (flags & ~SQLITE_OPEN_READWRITE & ~SQLITE_OPEN_CREATE) | SQLITE_OPEN_READONLY;
    }
    const int code = system_vfs()->xOpen(system_vfs(), name, file->real, flags, given);
    file->base.pMethods = file->real->pMethods != NULL ? &methods : NULL;
    return code;
}

void faulty_vfs_register(void) {
    static sqlite3_vfs vfs;
    memcpy(&vfs, system_vfs(), sizeof vfs);
    vfs.pNext = NULL;
    vfs.zName = "faulty";
    vfs.szOsFile = (int)sizeof(faulty_file) + system_vfs()->szOsFile;
    vfs.xOpen = vfs_open;
    (void)sqlite3_vfs_register(&vfs, 0);
}
