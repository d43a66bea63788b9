/* stat for its permission bits and its owner; see file.h. */
#define _POSIX_C_SOURCE 200809L

#include "io/file.h"

#include <sys/stat.h>
#include <unistd.h>

static void tell(const struct stat *found, unsigned *mode, bool *is_trusted) {
    *mode = (unsigned)found->st_mode & 07777U;
    *is_trusted = found->st_uid == 0 || found->st_uid == geteuid();
}

rlk_err rlk_file_mode(const char *path, unsigned *mode, bool *is_trusted) {
    struct stat found;
    if (stat(path, &found) != 0) return RLK_E_NOT_FOUND;
    tell(&found, mode, is_trusted);
    return RLK_OK;
}

rlk_err rlk_file_mode_of(FILE *file, unsigned *mode, bool *is_trusted) {
    struct stat found;
    if (fstat(fileno(file), &found) != 0) return RLK_E_NOT_FOUND;
    tell(&found, mode, is_trusted);
    return RLK_OK;
}
