/* What the system says about a file. */
#ifndef RLK_FILE_H
#define RLK_FILE_H

#include "core/err.h"

/* The permission bits of a file (links followed), as chmod takes them. RLK_E_NOT_FOUND when it
 * cannot be asked for; *mode is untouched then. */
rlk_err rlk_file_mode(const char *path, unsigned *mode);

#endif
