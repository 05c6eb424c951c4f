/* For the targets that open tokenizers: folders in which the file of that name is the fuzzer's input, and
 * what must hold of a tokenizer that could be opened. */
#ifndef OSV_TESTS_FUZZ_TOKENIZER_H
#define OSV_TESTS_FUZZ_TOKENIZER_H

#include "fuzz.h"
#include "loader/file.h"
#include "loader/tokenizer.h"

static char folder_paths[32][128]; /* files and folders to remove, in the order in which they were made */
static int folder_path_count;

static inline void remove_folders(void)
{
    while (folder_path_count > 0) remove(folder_paths[--folder_path_count]);
}

static inline const char *folder_path(const char *dir, const char *name)
{
    MUST(folder_path_count < 32);
    char *path = folder_paths[folder_path_count++];
    if (name)
        snprintf(path, sizeof folder_paths[0], "%s/%s", dir, name);
    else
        snprintf(path, sizeof folder_paths[0], "%s", dir);
    return path;
}

/* A new folder in which `name` leads to the input, beside other files; names and texts in turn, NULL ends. */
static inline const char *input_folder(char dir[64], const char *name, const char *const *files)
{
    snprintf(dir, 64, "/tmp/osv-fuzz-XXXXXX");
    MUST(mkdtemp(dir) != NULL);
    if (folder_path_count == 0) MUST(atexit(remove_folders) == 0);
    folder_path(dir, NULL);
    MUST(symlink(as_file((const uint8_t *)"", 0), folder_path(dir, name)) == 0);
    for (; *files; files += 2) {
        FILE *f = fopen(folder_path(dir, files[0]), "w");
        MUST(f && fputs(files[1], f) >= 0 && fclose(f) == 0);
    }
    return dir;
}

/* Ids are those of pieces, and what they stand for can be had; encoding fails only for a reason. */
static inline void try_text(const osv_tokenizer *t, const char *text, size_t bytes)
{
    for (int mode = 0; mode < 3; mode++) {
        osv_error e = {0};
        osv_ids ids = {0};
        int status = mode == 2 ? osv_tokenizer_encode_continuation(t, text, bytes, &ids, &e)
                               : osv_tokenizer_encode(t, text, bytes, mode == 1, &ids, &e);
        check_error(status, &e);
        for (int i = 0; i < ids.count && !status; i++) MUST(osv_tokenizer_piece(t, ids.data[i]) != NULL);
        char *back = NULL;
        size_t length = 0;
        if (!status) status = osv_tokenizer_decode(t, ids.data, ids.count, mode == 1, &back, &length, &e);
        check_error(status, &e);
        if (!status) MUST(back[length] == '\0' && osv_utf8_check(back, length) == length);
        free(back);
        osv_ids_free(&ids);
    }
}

static inline void try_folder(const char *dir, const uint8_t *data, size_t bytes)
{
    static const char text[] =
        "Hello  world, ab\n\t<s>12 \xe2\x96\x81 caf\xc3\xa9 \xf0\x9f\xa6\x99 e\xcc\x81<|x|> ";
    osv_error e = {0};
    osv_tokenizer *t;
    as_file(data, bytes);
    int status = osv_tokenizer_open(&t, dir, &e);
    check_error(status, &e);
    MUST((status == OSV_OK) == (t != NULL));
    if (status) return;
    MUST(*osv_tokenizer_about(t) && osv_tokenizer_size(t) >= 0);
    try_text(t, text, sizeof text - 1);
    size_t valid = osv_utf8_check((const char *)data, bytes);
    try_text(t, (const char *)data, valid < 256 ? valid : osv_utf8_check((const char *)data, 256));
    for (int id = -1; id <= osv_tokenizer_size(t) && id < 512; id++) {
        char *piece;
        MUST(osv_tokenizer_decode(t, &id, 1, false, &piece, NULL, &e) == OSV_OK);
        free(piece);
    }
    osv_tokenizer_close(t);
}

#endif
