#include "loader/safetensors.h"

#include "fuzz.h"
#include "safetensors_mutate.h"

const char *const fuzz_names[] = {"a", "b", "c", "model.embed_tokens.weight", "lm_head.weight", "x y", NULL};
const char *const fuzz_metadata[] = {"format", "pt", "k", "", "__metadata__", "v", NULL};

void fuzz_made(const uint8_t *data, size_t bytes, bool whole)
{
    osv_error e = {0};
    osv_safetensors *s;
    int status = osv_safetensors_open(&s, as_file(data, bytes), &e);
    check_error(status, &e);
    if (whole != (status == OSV_OK)) { /* libFuzzer does not know this file yet */
        fprintf(stderr, "%s: %s\n", whole ? "refused although whole" : "read although broken", e.text);
        for (size_t i = 0; i < bytes; i++)
            fprintf(stderr, data[i] > ' ' && data[i] <= '~' ? "%c" : "\\x%02x", data[i]);
        fputc('\n', stderr);
    }
    MUST(whole == (status == OSV_OK));
    if (!status) osv_safetensors_close(s);
}

/* Any file is refused, or all bytes of all its tensors can be read. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    osv_error e = {0};
    osv_safetensors *s;
    int status = osv_safetensors_open(&s, as_file(data, bytes), &e);
    check_error(status, &e);
    if (status) return 0;
    size_t total = 0;
    volatile unsigned char seen = 0;
    for (int i = 0; i < osv_safetensors_count(s); i++) {
        const osv_tensor *t = osv_safetensors_at(s, i);
        MUST(osv_safetensors_find(s, t->name) == t);
        MUST(t->bytes <= bytes);
        for (size_t b = 0; b < t->bytes; b++) seen = seen ^ ((const unsigned char *)t->data)[b];
        total += t->bytes;
    }
    MUST(total < bytes);
    osv_safetensors_close(s);
    return 0;
}
