/* See request_check.h. URLs are taken apart by libcurl's own parser, so that the check and the
 * transfer never read one differently. */
#include "io/request_check.h"

#include <string.h>

#include <curl/curl.h>

typedef struct method_rule {
    const char *name;
    rlk_request_facts facts;
} method_rule;

static const method_rule methods[] = {
    {"GET", {.resendable = true}},  {"HEAD", {.resendable = true, .bodyless = true}},
    {"POST", {.upload = true}},     {"PUT", {.upload = true}},
    {"PATCH", {.upload = true}},    {"DELETE", {.upload = false}},
    {"OPTIONS", {.upload = false}},
};

static rlk_err refuse(const char **detail, const char *why) {
    *detail = why;
    return RLK_E_INVALID_REQUEST;
}

static bool text_is(rlk_span text, const char *word) {
    return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

static rlk_err check_method(const rlk_request *r, rlk_request_facts *facts, const char **detail) {
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (!text_is(r->method, methods[i].name)) continue;
        *facts = methods[i].facts;
        if (facts->resendable && r->body.ptr != NULL) {
            return refuse(detail, "GET and HEAD carry no body");
        }
        return RLK_OK;
    }
    return refuse(detail, "method must be GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS");
}

static bool is_token_char(char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool has_break(rlk_span text) {
    return memchr(text.ptr, '\r', text.len) != NULL || memchr(text.ptr, '\n', text.len) != NULL ||
           memchr(text.ptr, '\0', text.len) != NULL;
}

/* "Name:" and "Name;" mean something else to libcurl (leave out, send empty): a value must follow.
 */
static rlk_err check_header(rlk_span line, const char **detail) {
    if (line.len > RLK_TRANSPORT_LINE_BYTES_MAX) return refuse(detail, "a header is too long");
    if (has_break(line)) return refuse(detail, "a header contains CR, LF or NUL");
    size_t i = 0;
    while (i < line.len && is_token_char(line.ptr[i]))
        i++;
    if (i == 0 || i == line.len || line.ptr[i] != ':') {
        return refuse(detail, "a header must have the form Name: value");
    }
    i++;
    while (i < line.len && (line.ptr[i] == ' ' || line.ptr[i] == '\t'))
        i++;
    if (i == line.len) return refuse(detail, "a header has no value");
    return RLK_OK;
}

static rlk_err check_headers(const rlk_request *r, const char **detail) {
    if (r->header_count > RLK_TRANSPORT_LINE_COUNT_MAX) return refuse(detail, "too many headers");
    for (size_t i = 0; i < r->header_count; i++) {
        rlk_err e = check_header(r->headers[i], detail);
        if (e != RLK_OK) return e;
    }
    return RLK_OK;
}

/* Whether one part of a parsed URL is one of the words. The list ends with NULL. */
static bool part_is_one_of(CURLU *url, CURLUPart part, const char *const *words) {
    char *text = NULL;
    if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return false;
    bool found = false;
    for (; *words != NULL && !found; words++)
        found = strcmp(text, *words) == 0;
    curl_free(text);
    return found;
}

static bool is_loopback(CURLU *url) {
    static const char *const hosts[] = {"127.0.0.1", "[::1]", "localhost", NULL};
    return part_is_one_of(url, CURLUPART_HOST, hosts);
}

static bool has_scheme(CURLU *url, const char *scheme) {
    const char *const schemes[] = {scheme, NULL};
    return part_is_one_of(url, CURLUPART_SCHEME, schemes);
}

static rlk_err check_parsed_url(CURLU *url, bool allow_http_loopback, bool *plain,
                                const char **detail) {
    *plain = has_scheme(url, "http");
    if (!*plain && !has_scheme(url, "https")) return refuse(detail, "the URL is not https");
    if (!*plain) return RLK_OK;
    if (!allow_http_loopback) return refuse(detail, "the URL is not https");
    if (!is_loopback(url)) return refuse(detail, "http is allowed to this machine only");
    return RLK_OK;
}

static rlk_err check_url(rlk_span text, bool allow_http_loopback, bool *plain,
                         const char **detail) {
    if (text.len > RLK_TRANSPORT_URL_BYTES_MAX) return refuse(detail, "the URL is too long");
    if (has_break(text)) return refuse(detail, "the URL contains CR, LF or NUL");
    CURLU *url = curl_url();
    if (url == NULL) return RLK_E_NO_MEMORY;
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text.ptr, CURLU_DISALLOW_USER);
    rlk_err e;
    if (code == CURLUE_USER_NOT_ALLOWED) {
        e = refuse(detail, "the URL contains credentials");
    } else if (code == CURLUE_OUT_OF_MEMORY) {
        e = RLK_E_NO_MEMORY;
    } else if (code != CURLUE_OK) {
        e = refuse(detail, "the URL is malformed");
    } else {
        e = check_parsed_url(url, allow_http_loopback, plain, detail);
    }
    curl_url_cleanup(url);
    return e;
}

rlk_err rlk_request_check(const rlk_request *request, bool allow_http_loopback,
                          rlk_request_facts *facts, const char **detail) {
    *detail = "out of memory";
    rlk_err e = check_method(request, facts, detail);
    if (e == RLK_OK) e = check_headers(request, detail);
    if (e == RLK_OK && request->body.len > RLK_TRANSPORT_BODY_BYTES_MAX) {
        e = refuse(detail, "the body is too long");
    }
    if (e == RLK_OK &&
        (request->timeout_ms < 1 || request->timeout_ms > RLK_TRANSPORT_TIMEOUT_MS_MAX)) {
        e = refuse(detail, "timeout_ms is out of range");
    }
    if (e == RLK_OK) e = check_url(request->url, allow_http_loopback, &facts->plain, detail);
    return e;
}

/* libcurl would repeat a malformed proxy, password and all, in its error text. */
rlk_err rlk_proxy_check(const char *proxy, const char **detail) {
    CURLU *url = curl_url();
    if (url == NULL) {
        *detail = "out of memory";
        return RLK_E_NO_MEMORY;
    }
    bool good = curl_url_set(url, CURLUPART_URL, proxy, 0) == CURLUE_OK &&
                (has_scheme(url, "http") || has_scheme(url, "https"));
    curl_url_cleanup(url);
    if (good) return RLK_OK;
    *detail = "proxy must be an http:// or https:// URL";
    return RLK_E_INVALID_OPTION;
}
