/* mkdtemp, and nftw to take everything away again; see place.h. */
#define _XOPEN_SOURCE 700

#include "place.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "support.h"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void place_leave(place *p) {
    assert_int_equal(nftw(p->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

place place_arrive(void) {
    place p;
    snprintf(p.directory, sizeof p.directory, "/tmp/ringlink-test-XXXXXX");
    assert_non_null(mkdtemp(p.directory));
    snprintf(p.path, sizeof p.path, "%s/store.db", p.directory);
    return p;
}
