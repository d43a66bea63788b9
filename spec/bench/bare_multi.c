/* The baseline of the calls' benchmark: libcurl's multi loop alone, making the two calls of a link.
 *
 *   bare_multi URL CA_FILE TOKEN
 *
 * It is told what to do by lines on its input and answers each with a line of name=value words:
 *
 *   calls VERSION CONCURRENT PAIRS     took_s
 *
 * A pair is a POST and a PATCH, one after the other; so many are made by so many lanes at a time,
 * by HTTP/VERSION (1.1 or 2), over verified TLS and kept connections. A lane is one easy handle,
 * set up once: between calls only method and body change, and of the answer the status is looked at
 * and the bytes are counted. So this is about the least that libcurl can do. Whatever fails ends
 * it. */
#define _POSIX_C_SOURCE 200809L

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

enum { LINE_BYTES = 256, LANE_COUNT_MAX = 1024, WAIT_MS = 1000, STATUS_OK = 200 };

#define POST_BODY                                                                                  \
    "{\"nonce\":\"0123456789012345678901234567890123456789012\","                                  \
    "\"account_identifier\":\"u***r@partner.example.com\"}"
#define PATCH_BODY "{\"status\":\"completed\"}"

typedef struct lane {
    CURL *easy;
    bool patches; /* the call under way is the second of its pair */
} lane;

typedef struct loop {
    CURLM *multi;
    lane lanes[LANE_COUNT_MAX];
    size_t lane_count;
    size_t left;  /* pairs that no lane has begun */
    size_t bytes; /* of all answers */
} loop;

typedef struct place {
    const char *url;
    const char *ca_file;
    struct curl_slist *headers;
} place;

static _Noreturn void die(const char *what, const char *detail) {
    (void)fprintf(stderr, "bare_multi: %s: %s\n", what, detail);
    exit(EXIT_FAILURE);
}

static void check(CURLcode code) {
    if (code != CURLE_OK) die("libcurl", curl_easy_strerror(code));
}

static void check_multi(CURLMcode code) {
    if (code != CURLM_OK) die("libcurl", curl_multi_strerror(code));
}

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t count_bytes(char *bytes, size_t size, size_t count, void *ud) {
    loop *l = ud;
    (void)bytes;
    l->bytes += size * count;
    return size * count;
}

/* ---- A lane ---- */

static void set_up(loop *l, lane *one, const place *at, long version) {
    one->easy = curl_easy_init();
    if (one->easy == NULL) die("libcurl", "out of memory");
    check(curl_easy_setopt(one->easy, CURLOPT_PRIVATE, one));
    check(curl_easy_setopt(one->easy, CURLOPT_URL, at->url));
    check(curl_easy_setopt(one->easy, CURLOPT_CAINFO, at->ca_file));
    check(curl_easy_setopt(one->easy, CURLOPT_CAPATH, NULL));
    check(curl_easy_setopt(one->easy, CURLOPT_HTTPHEADER, at->headers));
    check(curl_easy_setopt(one->easy, CURLOPT_HTTP_VERSION, version));
    check(curl_easy_setopt(one->easy, CURLOPT_PIPEWAIT, 1L));
    check(curl_easy_setopt(one->easy, CURLOPT_NOSIGNAL, 1L));
    check(curl_easy_setopt(one->easy, CURLOPT_WRITEFUNCTION, count_bytes));
    check(curl_easy_setopt(one->easy, CURLOPT_WRITEDATA, l));
}

static void start(loop *l, lane *one, bool patches) {
    one->patches = patches;
    check(curl_easy_setopt(one->easy, CURLOPT_POSTFIELDS, patches ? PATCH_BODY : POST_BODY));
    check(curl_easy_setopt(one->easy, CURLOPT_CUSTOMREQUEST, patches ? "PATCH" : "POST"));
    check_multi(curl_multi_add_handle(l->multi, one->easy));
}

static bool start_pair(loop *l, lane *one) {
    if (l->left == 0) return false;
    l->left--;
    start(l, one, false);
    return true;
}

/* Goes on with what the lane has to do; false when that is nothing any more. */
static bool go_on(loop *l, lane *one) {
    long status = 0;
    check(curl_easy_getinfo(one->easy, CURLINFO_RESPONSE_CODE, &status));
    if (status != STATUS_OK) die(one->patches ? "PATCH" : "POST", "not answered by 200");
    check_multi(curl_multi_remove_handle(l->multi, one->easy));
    if (one->patches) return start_pair(l, one);
    start(l, one, true);
    return true;
}

/* ---- The loop ---- */

static size_t collect(loop *l) {
    size_t ended = 0;
    int waiting = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &waiting)) != NULL;) {
        char *private = NULL;
        if (m->msg != CURLMSG_DONE) continue;
        check(m->data.result);
        check(curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private));
        if (!go_on(l, (lane *)(void *)private)) ended++;
    }
    return ended;
}

static void run(loop *l, size_t concurrent, size_t pairs) {
    size_t at_work = 0;
    l->left = pairs;
    while (at_work < concurrent && start_pair(l, &l->lanes[at_work]))
        at_work++;
    while (at_work > 0) {
        int running = 0;
        check_multi(curl_multi_perform(l->multi, &running));
        const size_t ended = collect(l);
        at_work -= ended;
        if (at_work > 0 && running > 0)
            check_multi(curl_multi_poll(l->multi, NULL, 0, WAIT_MS, NULL));
    }
}

static void prepare(loop *l, const place *at, long version, size_t concurrent) {
    if (l->multi == NULL) {
        l->multi = curl_multi_init();
        if (l->multi == NULL) die("libcurl", "out of memory");
        check_multi(curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX));
        check_multi(curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)LANE_COUNT_MAX));
    }
    while (l->lane_count < concurrent)
        set_up(l, &l->lanes[l->lane_count++], at, version);
}

static void obey(loop loops[2], const place *at, const char *line) {
    char version[LINE_BYTES];
    size_t concurrent = 0, pairs = 0;
    if (sscanf(line, "calls %255s %zu %zu", version, &concurrent, &pairs) != 3)
        die("unknown command", line);
    if (concurrent < 1 || concurrent > LANE_COUNT_MAX) die("too many lanes", line);
    const bool h2 = strcmp(version, "2") == 0;
    loop *l = &loops[h2 ? 1 : 0];
    prepare(l, at, h2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1, concurrent);
    const double began_s = now_s();
    run(l, concurrent, pairs);
    printf("took_s=%.9f\n", now_s() - began_s);
    (void)fflush(stdout);
}

static struct curl_slist *add(struct curl_slist *list, const char *line) {
    struct curl_slist *longer = curl_slist_append(list, line);
    if (longer == NULL) die("libcurl", "out of memory");
    return longer;
}

int main(int argc, char **argv) {
    static loop loops[2];
    char line[LINE_BYTES], bearer[LINE_BYTES];
    if (argc != 4) die("usage", "bare_multi URL CA_FILE TOKEN");
    check(curl_global_init(CURL_GLOBAL_DEFAULT));
    (void)snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", argv[3]);
    place at = {argv[1], argv[2], add(NULL, bearer)};
    at.headers = add(at.headers, "Content-Type: application/json");
    at.headers = add(at.headers, "Accept: application/json");
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(loops, &at, line);
    return EXIT_SUCCESS;
}
