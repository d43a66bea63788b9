/* A file that is there whole or not at all, on a real disk and on one that takes no more. */
#define _DEFAULT_SOURCE

#include "support.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/sink_file.h"
#include "place.h"

static rlk_sink_file *begin(const rlk_alloc *alloc, const char *path) {
    rlk_sink_file *f = NULL;
    const char *detail = NULL;
    assert_int_equal(rlk_sink_file_open(&f, alloc, span_of(path), &detail), RLK_OK);
    return f;
}

static void expect_text(const char *path, const char *text) {
    char found[64] = "";
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    found[fread(found, 1, sizeof found - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(found, text);
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static int entries_of(const char *directory) {
    int count = -2; /* "." and ".." */
    DIR *d = opendir(directory);
    assert_non_null(d);
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count;
}

static void it_takes_the_place_of_the_old_one_when_whole(void **state) {
    (void)state;
    strict_heap heap = {0};
    const rlk_alloc alloc = strict_allocator(&heap);
    place p = place_arrive();
    struct stat found;
    put(p.path, "old");
    rlk_sink_file *f = begin(&alloc, p.path);
    assert_int_equal(entries_of(p.directory), 1); /* nothing is written before there is something */
    assert_int_equal(rlk_sink_file_write(f, "ne", 2), RLK_OK);
    assert_int_equal(rlk_sink_file_write(f, "w", 1), RLK_OK);
    expect_text(p.path, "old");
    assert_int_equal(entries_of(p.directory), 2);
    assert_int_equal(rlk_sink_file_commit(f), RLK_OK);
    assert_int_equal(rlk_sink_file_bytes(f), 3);
    rlk_sink_file_drop(f);
    expect_text(p.path, "new");
    assert_int_equal(entries_of(p.directory), 1);
    assert_int_equal(stat(p.path, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0600);
    place_leave(&p);
    assert_int_equal(heap.blocks_out, 0);
}

static void nothing_is_left_without_a_commit(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    place p = place_arrive();
    rlk_sink_file *f = begin(&alloc, p.path);
    assert_int_equal(rlk_sink_file_write(f, "new", 3), RLK_OK);
    rlk_sink_file_drop(f);
    rlk_sink_file_drop(begin(&alloc, p.path));
    assert_int_equal(entries_of(p.directory), 0);
    place_leave(&p);
}

static void a_name_alone_lies_in_the_current_directory(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    place p = place_arrive();
    assert_int_equal(chdir(p.directory), 0);
    rlk_sink_file *f = begin(&alloc, "clip");
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rlk_sink_file_commit(f), RLK_OK);
    rlk_sink_file_drop(f);
    assert_int_equal(entries_of(p.directory), 1);
    place_leave(&p);
}

/* A link in its place is replaced, and what it led to is left alone. */
static void a_link_is_not_followed(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    place p = place_arrive();
    char link[128];
    snprintf(link, sizeof link, "%s/link", p.directory);
    put(p.path, "old");
    assert_int_equal(symlink(p.path, link), 0);
    rlk_sink_file *f = begin(&alloc, link);
    assert_int_equal(rlk_sink_file_write(f, "new", 3), RLK_OK);
    assert_int_equal(rlk_sink_file_commit(f), RLK_OK);
    rlk_sink_file_drop(f);
    expect_text(p.path, "old");
    expect_text(link, "new");
    place_leave(&p);
}

static void refuse(const char *path, const char *complaint) {
    const rlk_alloc alloc = rlk_alloc_default();
    rlk_sink_file *f = NULL;
    const char *detail = NULL;
    assert_int_equal(rlk_sink_file_open(&f, &alloc, span_of(path), &detail), RLK_E_SINK_FAILED);
    assert_null(f);
    assert_string_equal(detail, complaint);
}

static void where_no_file_can_be_it_says_so(void **state) {
    (void)state;
    char text[5000];
    place p = place_arrive();
    refuse(p.directory, "it is a directory");
    assert_int_equal(mkfifo(p.path, S_IRUSR | S_IWUSR), 0);
    refuse(p.path, "it is no regular file");
    assert_int_equal(unlink(p.path), 0);
    snprintf(text, sizeof text, "%s/", p.directory);
    refuse(text, "a file's name is missing");
    snprintf(text, sizeof text, "%s/none/clip", p.directory);
    refuse(text, "its directory cannot be opened");
    memset(text, 'x', sizeof text - 1);
    text[4500] = '/', text[sizeof text - 1] = '\0';
    refuse(text, "its directory cannot be opened");
    if (geteuid() != 0) refuse("/proc/1/clip", "its directory cannot be written");
    place_leave(&p);
}

static void a_disk_that_takes_no_more_leaves_the_old_one(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    place p = place_arrive();
    struct rlimit before, small;
    put(p.path, "old");
    rlk_sink_file *f = begin(&alloc, p.path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 4, .rlim_max = before.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const rlk_err e = rlk_sink_file_write(f, "too much", 8);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(e, RLK_E_SINK_FAILED);
    rlk_sink_file_drop(f);
    expect_text(p.path, "old");
    assert_int_equal(entries_of(p.directory), 1);
    place_leave(&p);
}

static void what_takes_its_place_meanwhile_stays(void **state) {
    (void)state;
    const rlk_alloc alloc = rlk_alloc_default();
    place p = place_arrive();
    rlk_sink_file *f = begin(&alloc, p.path);
    assert_int_equal(mkdir(p.path, 0700), 0);
    assert_int_equal(rlk_sink_file_commit(f), RLK_E_SINK_FAILED);
    rlk_sink_file_drop(f);
    assert_int_equal(entries_of(p.directory), 1);
    assert_int_equal(rmdir(p.path), 0);
    place_leave(&p);
}

static void memory_may_fail(void **state) {
    (void)state;
    strict_heap heap = {.fail_at = 1};
    const rlk_alloc alloc = strict_allocator(&heap);
    rlk_sink_file *f = NULL;
    const char *detail = NULL;
    assert_int_equal(rlk_sink_file_open(&f, &alloc, LITERAL("clip"), &detail), RLK_E_NO_MEMORY);
    assert_null(f);
    assert_int_equal(heap.blocks_out, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_the_place_of_the_old_one_when_whole),
        cmocka_unit_test(nothing_is_left_without_a_commit),
        cmocka_unit_test(a_name_alone_lies_in_the_current_directory),
        cmocka_unit_test(a_link_is_not_followed),
        cmocka_unit_test(where_no_file_can_be_it_says_so),
        cmocka_unit_test(a_disk_that_takes_no_more_leaves_the_old_one),
        cmocka_unit_test(what_takes_its_place_meanwhile_stays),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests_name("sink file", tests, NULL, NULL);
}
