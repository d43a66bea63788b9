/* stat for its permission bits; see file.h. */
#define _POSIX_C_SOURCE 200809L

#include "io/file.h"

#include <sys/stat.h>

rlk_err rlk_file_mode(const char *path, unsigned *mode) {
    struct stat found;
    if (stat(path, &found) != 0) return RLK_E_NOT_FOUND;
    *mode = (unsigned)found.st_mode & 07777U;
    return RLK_OK;
}
