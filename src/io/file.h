/* What the system says about a file. */
#ifndef RLK_FILE_H
#define RLK_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "core/err.h"

/* The permission bits of a file (links followed), as chmod takes them, and whether it belongs to
 * this user or to root, so that nobody else can have written what it says. RLK_E_NOT_FOUND when it
 * cannot be asked for; nothing is written then. */
rlk_err rlk_file_mode(const char *path, unsigned *mode, bool *is_trusted);

/* The same of an open file: whatever its path names by now, this is what will be read. */
rlk_err rlk_file_mode_of(FILE *file, unsigned *mode, bool *is_trusted);

#endif
