/* See sink_file.h. The file beside it is made when there is something to write or to commit. */
#define _GNU_SOURCE /* sync_file_range */

#include "io/sink_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/random.h"

enum {
    NAME_RANDOM_BYTES = 8,
    NAME_BYTES = 48,
    FLUSH_BYTES = 8 << 20 /* so often the disk is asked to begin: little is left for the end */
};

struct rlk_sink_file {
    rlk_alloc alloc;
    size_t size;
    int directory;         /* -1: not open */
    int fd;                /* -1: nothing was written */
    char name[NAME_BYTES]; /* beside the file; "": there is none */
    int64_t bytes;
    int64_t flushed;
    char target[]; /* the file's name in the directory */
};

static int open_directory(const char *path, const char *name) {
    char directory[4096];
    const size_t bytes = (size_t)(name - path);
    if (bytes >= sizeof directory) return -1;
    memcpy(directory, path, bytes);
    directory[bytes] = '\0';
    return open(bytes > 0 ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static const char *complaint(const rlk_sink_file *f) {
    struct stat found;
    if (f->directory < 0) return "its directory cannot be opened";
    if (faccessat(f->directory, ".", W_OK | X_OK, 0) != 0) return "its directory cannot be written";
    if (fstatat(f->directory, f->target, &found, 0) != 0) return NULL;
    if (S_ISDIR(found.st_mode)) return "it is a directory";
    /* Root could put a file in the place of /dev/null. */
    return S_ISREG(found.st_mode) ? NULL : "it is no regular file";
}

rlk_err rlk_sink_file_open(rlk_sink_file **out, const rlk_alloc *alloc, rlk_span path,
                           const char **detail) {
    *out = NULL;
    *detail = "a file's name is missing";
    const char *slash = memrchr(path.ptr, '/', path.len);
    const char *name = slash != NULL ? slash + 1 : path.ptr;
    const size_t size = sizeof(rlk_sink_file) + strlen(name) + 1;
    if (name[0] == '\0') return RLK_E_SINK_FAILED;
    *detail = "out of memory";
    rlk_sink_file *f = rlk_alloc_zeroed(alloc, size);
    if (f == NULL) return RLK_E_NO_MEMORY;
    f->alloc = *alloc;
    f->size = size;
    f->fd = -1;
    memcpy(f->target, name, strlen(name) + 1);
    f->directory = open_directory(path.ptr, name);
    *detail = complaint(f);
    if (*detail == NULL) {
        *out = f;
        return RLK_OK;
    }
    rlk_sink_file_drop(f);
    return RLK_E_SINK_FAILED;
}

static rlk_err begin(rlk_sink_file *f) {
    uint64_t number = 0;
    if (f->fd >= 0) return RLK_OK;
    const rlk_err e = rlk_random_bytes(&number, NAME_RANDOM_BYTES);
    if (e != RLK_OK) return e;
    (void)snprintf(f->name, sizeof f->name, ".ringlink-%016llx.part", (unsigned long long)number);
    f->fd = openat(f->directory, f->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   S_IRUSR | S_IWUSR);
    if (f->fd < 0) f->name[0] = '\0';
    return f->fd >= 0 ? RLK_OK : RLK_E_SINK_FAILED;
}

static bool write_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        const ssize_t done = write(fd, bytes, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        bytes += done;
        count -= (size_t)done;
    }
    return true;
}

rlk_err rlk_sink_file_write(rlk_sink_file *f, const char *bytes, size_t count) {
    const rlk_err e = begin(f);
    if (e != RLK_OK) return e;
    if (!write_all(f->fd, bytes, count)) return RLK_E_SINK_FAILED;
    f->bytes += (int64_t)count;
    if (f->bytes - f->flushed >= FLUSH_BYTES) {
        (void)sync_file_range(f->fd, f->flushed, f->bytes - f->flushed, SYNC_FILE_RANGE_WRITE);
        f->flushed = f->bytes;
    }
    return RLK_OK;
}

int64_t rlk_sink_file_bytes(const rlk_sink_file *f) {
    return f->bytes;
}

/* The directory's own entry is as durable as the system makes it: the file is whole either way. */
rlk_err rlk_sink_file_commit(rlk_sink_file *f) {
    const rlk_err e = begin(f);
    if (e != RLK_OK) return e;
    if (fsync(f->fd) != 0 || renameat(f->directory, f->name, f->directory, f->target) != 0) {
        return RLK_E_SINK_FAILED;
    }
    f->name[0] = '\0';
    (void)fsync(f->directory);
    return RLK_OK;
}

void rlk_sink_file_drop(rlk_sink_file *f) {
    if (f == NULL) return;
    if (f->fd >= 0) (void)close(f->fd);
    if (f->name[0] != '\0') (void)unlinkat(f->directory, f->name, 0);
    if (f->directory >= 0) (void)close(f->directory);
    const rlk_alloc alloc = f->alloc;
    rlk_alloc_free(&alloc, f, f->size);
}
