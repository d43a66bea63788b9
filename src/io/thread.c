/* pthread_create between two changes of the signal mask; see thread.h. The new thread inherits the
 * mask at the moment of its making: blocked before, put back after, no signal finds it open. */
#define _GNU_SOURCE /* pthread_setname_np, SCHED_BATCH */

#include "io/thread.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <sys/resource.h>

enum { NICER = 5 }; /* than the event loop: about a third of its part */

/* libcurl with OpenSSL, and SQLite, were seen to touch 16 KiB. */
enum { STACK_BYTES = 512 << 10 };

enum { NAME_BYTES = 16 }; /* the kernel's, with the NUL */
#define THREADS "/proc/self/task"

static int create(pthread_t *out, void *(*run)(void *), void *ud) {
    pthread_attr_t attributes;
    int code = pthread_attr_init(&attributes);
    if (code != 0) return code;
    code = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (code == 0) code = pthread_create(out, &attributes, run, ud);
    (void)pthread_attr_destroy(&attributes);
    return code;
}

rlk_err rlk_thread_start(pthread_t *out, const char *name, void *(*run)(void *ud), void *ud) {
    sigset_t all, former;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &former) != 0) return RLK_E_NO_MEMORY;
    const int code = create(out, run, ud);
    (void)pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (code != 0) return RLK_E_NO_MEMORY;
    (void)pthread_setname_np(*out, name); /* only a help for people */
    return RLK_OK;
}

/* On Linux both calls mean this one thread by 0. */
void rlk_thread_give_way(void) {
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER);
}

/* A thread that ends just then has no name any more. */
static bool is_named(const char *id, const char *beginning) {
    char path[sizeof THREADS + 64], name[NAME_BYTES] = "";
    const int length = snprintf(path, sizeof path, THREADS "/%s/comm", id);
    if (length < 0 || (size_t)length >= sizeof path) return false;
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    const size_t got = fread(name, 1, sizeof name - 1, file);
    name[got] = '\0';
    (void)fclose(file);
    return strncmp(name, beginning, strlen(beginning)) == 0;
}

size_t rlk_thread_count(const char *beginning) {
    size_t count = 0;
    DIR *threads = opendir(THREADS);
    if (threads == NULL) return 0;
    for (const struct dirent *one = readdir(threads); one != NULL; one = readdir(threads)) {
        if (one->d_name[0] != '.' && is_named(one->d_name, beginning)) count++;
    }
    (void)closedir(threads);
    return count;
}
