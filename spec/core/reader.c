/* A socket and a lock; see reader.h. */
#define _POSIX_C_SOURCE 200809L

#include "reader.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool holds(const char *bytes, size_t count, const char *secret) {
    const size_t length = strlen(secret);
    for (size_t i = 0; i + length <= count; i++)
        if (memcmp(bytes + i, secret, length) == 0) return true;
    return false;
}

static void *shared_resize(void *ud, void *ptr, size_t old_bytes, size_t new_bytes) {
    shared_heap *heap = ud;
    if (ptr != NULL && heap->secret != NULL) assert_false(holds(ptr, old_bytes, heap->secret));
    pthread_mutex_lock(&heap->lock);
    void *block = strict_resize(&heap->plain, ptr, old_bytes, new_bytes);
    pthread_mutex_unlock(&heap->lock);
    return block;
}

rlk_alloc shared_allocator(shared_heap *heap) {
    return (rlk_alloc){shared_resize, heap};
}

int reader_connect(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_true(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

reader reader_open(const rlk_alloc *alloc) {
    reader r;
    const char *detail = NULL;
    assert_int_equal(rlk_wake_open(&r.wake, alloc, &detail), RLK_OK);
    r.fd = reader_connect(rlk_wake_path(r.wake));
    assert_true(r.fd >= 0);
    assert_int_equal(rlk_wake_accept(r.wake, &detail), RLK_OK);
    return r;
}

void reader_close(reader *r) {
    close(r->fd);
    rlk_wake_release(r->wake);
}

int reader_read(const reader *r, int wait_ms) {
    char bytes[256];
    struct pollfd readable = {.fd = r->fd, .events = POLLIN};
    if (poll(&readable, 1, wait_ms) == 0) return 0;
    const ssize_t got = recv(r->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return got > 0 ? (int)got : -1;
}
