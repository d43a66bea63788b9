/* For LD_PRELOAD: a resolver that never answers for "silent.invalid" and knows no
 * "unknown.invalid", without a network. Everything else goes to the C library's own. Tests only. */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found) {
    while (node != NULL && strcmp(node, "silent.invalid") == 0)
        pause();
    if (node != NULL && strcmp(node, "unknown.invalid") == 0) return EAI_NONAME;
    resolver next = NULL;
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    return next(node, service, hints, found);
}
