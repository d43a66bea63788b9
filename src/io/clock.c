/* clock_gettime and clock_nanosleep in milliseconds, and Linux's boot id; see clock.h. */
#define _POSIX_C_SOURCE 200809L

#include "io/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };

static int64_t read_ms(clockid_t id) {
    struct timespec now = {0, 0};
    (void)clock_gettime(id, &now); /* fails only for an unknown clock */
    return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

int64_t rlk_clock_wall_ms(void) {
    return read_ms(CLOCK_REALTIME);
}

int64_t rlk_clock_monotonic_ms(void) {
    return read_ms(CLOCK_MONOTONIC);
}

int64_t rlk_clock_boottime_ms(void) {
    return read_ms(CLOCK_BOOTTIME);
}

rlk_err rlk_clock_boot_id(char out[RLK_BOOT_ID_BYTES + 1]) {
    const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? read(fd, out, RLK_BOOT_ID_BYTES) : -1;
    if (fd >= 0) (void)close(fd);
    const bool whole = got == RLK_BOOT_ID_BYTES;
    out[whole ? RLK_BOOT_ID_BYTES : 0] = '\0';
    return whole ? RLK_OK : RLK_E_NOT_FOUND;
}

rlk_err rlk_clock_sleep_ms(int64_t ms) {
    if (ms <= 0) return RLK_OK;
    struct timespec span = {.tv_sec = (time_t)(ms / MS_PER_S),
                            .tv_nsec = (long)(ms % MS_PER_S) * NS_PER_MS};
    int code = clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
    return code == 0 || code == EINTR ? RLK_OK : RLK_E_INVALID_REQUEST;
}
