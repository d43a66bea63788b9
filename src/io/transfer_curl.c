/* See transfer_curl.h. In three parts: the request's copy, the options, the callbacks; then what
 * libcurl's code and the callbacks' notes mean together. */
#include "io/transfer_curl.h"

#include <string.h>

#include "io/address.h"
#include "io/answer_curl.h"
#include "io/clock.h"

/* libcurl allots one to every request and gives it back. Its own 64 KiB are as much as the
 * allocator answers by returning memory to the system, which then has to be got again: a tenth of a
 * call. */
enum { UPLOAD_BUFFER_BYTES = 16384 };

static char *copy_text(char *to, rlk_span text) {
    memcpy(to, text.ptr, text.len);
    to[text.len] = '\0';
    return to + text.len + 1;
}

/* The request's copy. The list is built here rather than with curl_slist_append, so that its
 * memory is ours to account for and to wipe. */

static bool names_content_type(rlk_span line) {
    static const char name[] = "content-type:";
    if (line.len < sizeof name - 1) return false;
    for (size_t i = 0; i < sizeof name - 1; i++) {
        char c = line.ptr[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (c != name[i]) return false;
    }
    return true;
}

/* Two headers that libcurl would add by itself are left out: waiting for 100-continue costs a
 * second with servers that never say it, and a body's type is the caller's to name. */
static size_t own_lines(const rlk_request *request, rlk_span lines[2]) {
    static const rlk_span no_expect = {"Expect:", 7};
    static const rlk_span no_type = {"Content-Type:", 13};
    size_t count = 0;
    lines[count++] = no_expect;
    for (size_t i = 0; i < request->header_count; i++) {
        if (names_content_type(request->headers[i])) return count;
    }
    lines[count++] = no_type;
    return count;
}

static size_t text_bytes(const rlk_span *lines, size_t count) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += lines[i].len + 1;
    return bytes;
}

static char *add_lines(struct curl_slist *nodes, char *text, const rlk_span *lines, size_t count) {
    for (size_t i = 0; i < count; i++) {
        nodes[i].data = text;
        nodes[i].next = &nodes[i] + 1;
        text = copy_text(text, lines[i]);
    }
    return text;
}

/* Layout: the list's nodes, their text, method, url, body. The check has bounded every length. */
static bool copy_request(rlk_transfer *x, const rlk_request *request) {
    rlk_span own[2];
    const size_t own_count = own_lines(request, own);
    const size_t count = own_count + request->header_count;
    const size_t nodes_bytes = count * sizeof(struct curl_slist);
    x->block_bytes = nodes_bytes + text_bytes(own, own_count) +
                     text_bytes(request->headers, request->header_count) + request->method.len +
                     request->url.len + request->body.len + 3;
    x->block = rlk_alloc_zeroed(&x->alloc, x->block_bytes);
    if (x->block == NULL) return false;
    char *text = (char *)x->block + nodes_bytes;
    text = add_lines(x->block, text, own, own_count);
    text = add_lines(x->block + own_count, text, request->headers, request->header_count);
    x->block[count - 1].next = NULL;
    x->method = text;
    x->url = text = copy_text(text, request->method);
    text = copy_text(text, request->url);
    if (request->body.ptr == NULL) return true;
    copy_text(text, request->body);
    x->body = text;
    x->body_bytes = request->body.len;
    return true;
}

static void forget_request(rlk_transfer *x) {
    if (x->block == NULL) return;
    rlk_wipe(x->block, x->block_bytes);
    rlk_alloc_free(&x->alloc, x->block, x->block_bytes);
    x->block = NULL;
    x->method = x->url = x->body = NULL;
}

rlk_err rlk_transfer_new(rlk_transfer **out, const rlk_alloc *alloc, const rlk_request *request,
                         const rlk_request_facts *facts, size_t response_bytes_max,
                         const char **detail) {
    *out = NULL;
    *detail = "out of memory";
    rlk_transfer *x = rlk_alloc_zeroed(alloc, sizeof *x);
    if (x == NULL) return RLK_E_NO_MEMORY;
    x->alloc = *alloc;
    x->facts = *facts;
    x->response_bytes_max = response_bytes_max;
    x->public_only = request->public_only;
    x->timeout_ms = request->timeout_ms;
    x->started_ms = rlk_clock_monotonic_ms();
    x->deadline_ms = x->started_ms + request->timeout_ms;
    x->result =
        (rlk_result){.error = RLK_OK, .detail = x->detail, .http_version = "", .written = -1};
    rlk_buf_init(&x->head, alloc, RLK_TRANSPORT_HEAD_BYTES_MAX);
    rlk_err e = rlk_answer_init(x, request, detail);
    if (e == RLK_OK && !copy_request(x, request)) e = RLK_E_NO_MEMORY;
    if (e == RLK_OK)
        *out = x;
    else
        rlk_transfer_free(x);
    return e;
}

void rlk_transfer_free(rlk_transfer *x) {
    if (x == NULL) return;
    forget_request(x);
    rlk_buf_deinit(&x->head);
    rlk_answer_deinit(x);
    const rlk_alloc alloc = x->alloc;
    rlk_wipe(x, sizeof *x);
    rlk_alloc_free(&alloc, x, sizeof *x);
}

/* Callbacks. A short count or ABORT makes libcurl end the transfer; why is noted in `failed`. */

static size_t end_transfer(rlk_transfer *x, rlk_err error) {
    x->failed = error;
    return 0;
}

/* Called each time a request is about to go out over a connection that is ready. */
static int on_ready(void *ud, char *remote_ip, char *local_ip, int remote_port, int local_port) {
    rlk_transfer *x = ud;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    if (x->public_only && !rlk_address_is_public(remote_ip)) {
        x->failed = RLK_E_BAD_RESPONSE;
        return CURL_PREREQFUNC_ABORT;
    }
    if (x->sent && !x->facts.resendable) {
        x->resend_denied = true;
        return CURL_PREREQFUNC_ABORT;
    }
    x->sent = true;
    rlk_buf_reset(&x->head);
    rlk_buf_reset(&x->answer);
    return CURL_PREREQFUNC_OK;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ud) {
    return rlk_answer_add(ud, bytes, size * count);
}

static rlk_span trim(const char *at, size_t bytes) {
    while (bytes > 0 && (at[0] == ' ' || at[0] == '\t'))
        at++, bytes--;
    while (bytes > 0 && strchr(" \t\r\n", at[bytes - 1]) != NULL)
        bytes--;
    return (rlk_span){at, bytes};
}

static rlk_err append_word(rlk_buf *to, rlk_span word) {
    const rlk_err e = rlk_buf_append(to, word.ptr, word.len);
    return e == RLK_OK ? rlk_buf_append(to, "", 1) : e;
}

static void lower(char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] >= 'A' && text[i] <= 'Z') text[i] = (char)(text[i] - 'A' + 'a');
    }
}

/* A continuation of the line before (long obsolete) has no name of its own and is left out. */
static rlk_err add_header(rlk_transfer *x, const char *line, size_t bytes) {
    const char *colon = memchr(line, ':', bytes);
    if (colon == NULL || line[0] == ' ' || line[0] == '\t') return RLK_OK;
    if (memchr(line, '\0', bytes) != NULL) return RLK_E_NETWORK;
    const size_t name_bytes = (size_t)(colon - line);
    const size_t at = x->head.len;
    rlk_err e = append_word(&x->head, (rlk_span){line, name_bytes});
    if (e != RLK_OK) return e;
    lower(x->head.data + at, name_bytes);
    return append_word(&x->head, trim(colon + 1, bytes - name_bytes - 1));
}

/* "HTTP/1.1 206 Partial Content": what is no number is no status that means anything here. */
static int status_of(const char *line, size_t bytes) {
    const char *blank = memchr(line, ' ', bytes);
    int status = 0;
    if (blank == NULL) return 0;
    for (const char *at = blank + 1; at < line + bytes && *at >= '0' && *at <= '9'; at++)
        if (status < 1000) status = status * 10 + (*at - '0');
    return status;
}

/* One line a call. An interim answer (1xx) is followed by another status line, which starts anew;
 * what comes after the blank line of the last one are trailers, which nobody asked for. */
static size_t on_header(char *line, size_t size, size_t count, void *ud) {
    rlk_transfer *x = ud;
    const size_t bytes = size * count;
    x->head_seen += bytes;
    if (x->head_seen > RLK_TRANSPORT_HEAD_BYTES_MAX) {
        return end_transfer(x, RLK_E_RESPONSE_TOO_LARGE);
    }
    if (bytes >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        rlk_buf_reset(&x->head);
        x->head_open = true;
        x->status = status_of(line, bytes);
        return bytes;
    }
    if (trim(line, bytes).len == 0 && x->head_open) {
        x->head_open = false;
        if (x->status >= 200) rlk_answer_extend(x);
    }
    if (!x->head_open) return bytes;
    const rlk_err e = add_header(x, line, bytes);
    return e == RLK_OK ? bytes : end_transfer(x, e);
}

/* Options. Each setter answers whether libcurl took the value. */

typedef struct long_option {
    CURLoption option;
    long value;
} long_option;

static bool set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value) == CURLE_OK;
}

static bool set_size(CURL *easy, CURLoption option, size_t value) {
    return curl_easy_setopt(easy, option, (curl_off_t)value) == CURLE_OK;
}

static bool set_text(CURL *easy, CURLoption option, const char *value) {
    return curl_easy_setopt(easy, option, value) == CURLE_OK;
}

/* The same for every transfer. Most are defaults, said aloud because safety hangs on them. */
static bool set_fixed(CURL *easy) {
    static const long_option fixed[] = {
        {CURLOPT_NOSIGNAL, 1},   /* time-outs without SIGALRM: threads */
        {CURLOPT_QUICK_EXIT, 1}, /* ending never waits for a resolver that is silent */
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_PROXY_SSL_VERIFYPEER, 1},
        {CURLOPT_PROXY_SSL_VERIFYHOST, 2},
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_NETRC, CURL_NETRC_IGNORED},
        {CURLOPT_DISALLOW_USERNAME_IN_URL, 1},
        {CURLOPT_HTTP09_ALLOWED, 0},
        {CURLOPT_HEADEROPT, CURLHEADER_SEPARATE}, /* our headers never go to a proxy */
        {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
        {CURLOPT_TCP_KEEPALIVE, 1},
        {CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES},
    };
    bool good = true;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        good = set_long(easy, fixed[i].option, fixed[i].value) && good;
    }
    return good;
}

static bool set_callbacks(rlk_transfer *x) {
    CURL *easy = x->easy;
    return curl_easy_setopt(easy, CURLOPT_PRIVATE, x) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->detail) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_ready) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PREREQDATA, x) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HEADERDATA, x) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, x) == CURLE_OK;
}

/* An empty proxy, not a missing one: else libcurl would ask the environment. The same for the
 * list of exceptions. A plain request stays on this machine, where a proxy has no business. */
static bool set_route(rlk_transfer *x, const rlk_transport_config *config) {
    const bool direct = config->proxy == NULL || x->facts.plain;
    x->public_only = x->public_only && direct; /* a proxy decides for itself */
    const char *schemes = x->facts.plain ? "http" : "https";
    return set_text(x->easy, CURLOPT_PROXY, direct ? "" : config->proxy) &&
           set_text(x->easy, CURLOPT_NOPROXY, "") &&
           set_text(x->easy, CURLOPT_PROTOCOLS_STR, schemes) &&
           set_text(x->easy, CURLOPT_REDIR_PROTOCOLS_STR, schemes) &&
           set_long(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)config->connect_timeout_ms);
}

/* The system's directory of authorities is left out beside ca_file: it would be trusted as well,
 * and reading it costs tens of milliseconds a connection. */
static bool set_trust(CURL *easy, const rlk_transport_config *config) {
    bool good = true;
    if (config->ca_file != NULL) {
        good = set_text(easy, CURLOPT_CAINFO, config->ca_file) &&
               set_text(easy, CURLOPT_CAPATH, NULL) &&
               set_text(easy, CURLOPT_PROXY_CAINFO, config->ca_file) &&
               set_text(easy, CURLOPT_PROXY_CAPATH, NULL);
    }
    if (config->client_cert != NULL) {
        good = good && set_text(easy, CURLOPT_SSLCERT, config->client_cert);
    }
    if (config->client_key != NULL) {
        good = good && set_text(easy, CURLOPT_SSLKEY, config->client_key);
    }
    return good;
}

/* PIPEWAIT makes transfers wait for a connection in the making, to share it. Parts are taken at
 * their taker's pace, which a connection of others must not be held up by. */
static bool set_version(rlk_transfer *x, const rlk_transport_config *config) {
    const bool h2 =
        config->http_version == RLK_HTTP_2 && !x->facts.plain && !rlk_transfer_has_parts(x);
    return set_long(x->easy, CURLOPT_HTTP_VERSION,
                    h2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1) &&
           set_long(x->easy, CURLOPT_PIPEWAIT, h2 ? 1 : 0);
}

/* POSTFIELDS is not copied by libcurl: the block lives until the transfer has ended. */
static bool set_body(rlk_transfer *x) {
    if (x->body == NULL && !x->facts.upload) return true;
    return set_long(x->easy, CURLOPT_POST, 1) &&
           set_size(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, x->body_bytes) &&
           set_text(x->easy, CURLOPT_POSTFIELDS, x->body != NULL ? x->body : "");
}

static bool set_method(rlk_transfer *x) {
    if (x->facts.bodyless) return set_long(x->easy, CURLOPT_NOBODY, 1);
    return set_body(x) && set_text(x->easy, CURLOPT_CUSTOMREQUEST, x->method);
}

/* A stream's time is kept by the transport alone: libcurl would count that of a pause. */
static bool set_limits(rlk_transfer *x) {
    if (x->stall_ms > 0) return true;
    return set_long(x->easy, CURLOPT_TIMEOUT_MS, (long)x->timeout_ms) &&
           set_size(x->easy, CURLOPT_MAXFILESIZE_LARGE, x->response_bytes_max);
}

static bool set_request(rlk_transfer *x) {
    return set_text(x->easy, CURLOPT_URL, x->url) && set_method(x) &&
           curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->block) == CURLE_OK && set_limits(x);
}

bool rlk_transfer_arm(rlk_transfer *x, CURL *easy, const rlk_transport_config *config) {
    x->easy = easy;
    return set_fixed(easy) && set_callbacks(x) && set_route(x, config) && set_trust(easy, config) &&
           set_version(x, config) && set_request(x) &&
           (config->user_agent == NULL || set_text(easy, CURLOPT_USERAGENT, config->user_agent));
}

/* The outcome. */

typedef struct outcome {
    CURLcode code;
    rlk_err error;
} outcome;

/* What is not listed broke on the way: network. A time-out says nothing of where; `sent` does. */
static const outcome outcomes[] = {
    {CURLE_OK, RLK_OK},
    {CURLE_COULDNT_RESOLVE_HOST, RLK_E_DNS},
    {CURLE_COULDNT_RESOLVE_PROXY, RLK_E_DNS},
    {CURLE_COULDNT_CONNECT, RLK_E_CONNECT},
    {CURLE_PROXY, RLK_E_CONNECT},
    {CURLE_OPERATION_TIMEDOUT, RLK_E_TIMEOUT},
    {CURLE_OUT_OF_MEMORY, RLK_E_NO_MEMORY},
    {CURLE_FILESIZE_EXCEEDED, RLK_E_RESPONSE_TOO_LARGE},
    {CURLE_PEER_FAILED_VERIFICATION, RLK_E_TLS},
    {CURLE_SSL_CONNECT_ERROR, RLK_E_TLS},
    {CURLE_SSL_CERTPROBLEM, RLK_E_TLS},
    {CURLE_SSL_CIPHER, RLK_E_TLS},
    {CURLE_SSL_CACERT_BADFILE, RLK_E_TLS},
    {CURLE_SSL_CRL_BADFILE, RLK_E_TLS},
    {CURLE_SSL_ISSUER_ERROR, RLK_E_TLS},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, RLK_E_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, RLK_E_TLS},
    {CURLE_SSL_CLIENTCERT, RLK_E_TLS},
    {CURLE_SSL_ENGINE_NOTFOUND, RLK_E_TLS},
    {CURLE_SSL_ENGINE_SETFAILED, RLK_E_TLS},
    {CURLE_SSL_ENGINE_INITFAILED, RLK_E_TLS},
    {CURLE_USE_SSL_FAILED, RLK_E_TLS},
};

static rlk_err look_up(CURLcode code) {
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (outcomes[i].code == code) return outcomes[i].error;
    }
    return RLK_E_NETWORK;
}

/* A peer that goes away in the middle of the handshake is no question of certificates, and worth
 * another try. libcurl has one code for both; only its text differs. */
static bool handshake_broke_off(const rlk_transfer *x, CURLcode code) {
    return code == CURLE_SSL_CONNECT_ERROR && (strstr(x->detail, "SSL_ERROR_SYSCALL") != NULL ||
                                               strstr(x->detail, "unexpected eof") != NULL ||
                                               strstr(x->detail, "reset by peer") != NULL);
}

static rlk_err judge(const rlk_transfer *x, CURLcode code) {
    if (x->failed != RLK_OK) return x->failed;
    if (x->resend_denied) return RLK_E_NETWORK;
    if (handshake_broke_off(x, code)) return RLK_E_CONNECT;
    if (code == CURLE_OK && x->result.status == 0) return RLK_E_NETWORK;
    return look_up(code);
}

static const char *version_name(long version) {
    if (version == CURL_HTTP_VERSION_2_0) return "2";
    return version == CURL_HTTP_VERSION_1_0 ? "1.0" : "1.1";
}

static void say(rlk_transfer *x, const char *text) {
    size_t bytes = strlen(text);
    if (bytes >= sizeof x->detail) bytes = sizeof x->detail - 1;
    memcpy(x->detail, text, bytes);
    x->detail[bytes] = '\0';
}

static void explain(rlk_transfer *x, rlk_err error, CURLcode code) {
    if (x->resend_denied) {
        say(x, "the connection ended after the request was sent; it was not sent again");
    } else if (error == RLK_E_RESPONSE_TOO_LARGE) {
        say(x, "the answer is larger than allowed");
    } else if (error == RLK_E_SINK_FAILED) {
        say(x, "the file could not be written");
    } else if (error == RLK_E_BAD_RESPONSE) {
        say(x, "the address is not a public one");
    } else if (x->failed != RLK_OK || code == CURLE_OK) {
        say(x, "the answer is not proper HTTP");
    } else if (x->detail[0] == '\0') {
        say(x, curl_easy_strerror(code));
    }
}

/* Error texts may quote what a peer sent: only printable bytes go on. */
static void make_printable(char *text) {
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~') *text = '?';
    }
}

static void read_facts(rlk_transfer *x) {
    long status = 0, version = 0;
    curl_easy_getinfo(x->easy, CURLINFO_NUM_CONNECTS, &x->connections);
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
    x->result.status = (int)status;
    x->result.http_version = version_name(version);
}

static rlk_span held(const rlk_buf *b) {
    return (rlk_span){b->len > 0 ? b->data : "", b->len};
}

/* libcurl resends only what went out over a kept connection: a denied resend was such a one, even
 * though a new connection had been made for it. */
static bool went_over_kept(const rlk_transfer *x) {
    return x->sent && (x->connections == 0 || x->resend_denied);
}

static void note_way(rlk_transfer *x, rlk_err error) {
    rlk_result *r = &x->result;
    r->error = error;
    r->sent = x->sent;
    r->reused = went_over_kept(x);
    r->time_ms = rlk_clock_monotonic_ms() - x->started_ms;
    r->detail = x->detail;
}

static void show_answer(rlk_transfer *x) {
    rlk_result *r = &x->result;
    x->detail[0] = '\0';
    r->body = held(&x->answer);
    r->head = x->head_told ? (rlk_span){"", 0} : held(&x->head);
}

static void settle(rlk_transfer *x, rlk_err error) {
    forget_request(x);
    note_way(x, error);
    x->lent = x->result.more = false;
    if (error == RLK_OK) {
        show_answer(x);
        return;
    }
    x->result.status = 0;
    make_printable(x->detail);
    rlk_buf_deinit(&x->head);
    rlk_answer_deinit(x);
}

void rlk_transfer_lend(rlk_transfer *x) {
    read_facts(x);
    note_way(x, RLK_OK);
    show_answer(x);
    x->head_told = true;
    x->lent = x->result.more = true;
}

void rlk_transfer_finish(rlk_transfer *x, CURLcode code) {
    read_facts(x);
    rlk_err error = judge(x, code);
    if (error == RLK_OK) error = rlk_answer_keep(x);
    if (error != RLK_OK) explain(x, error, code);
    settle(x, error);
}

void rlk_transfer_abort(rlk_transfer *x, rlk_err error, const char *detail) {
    if (x->easy != NULL) read_facts(x);
    say(x, detail);
    settle(x, error);
}
