#include "loader/safetensors.h"

#include "fuzz.h"

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
