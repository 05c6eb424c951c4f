#include "tokenizer.h"

/* Any tokenizer.json is refused, or encodes and decodes; by itself and in the hands of a class. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char plain[64], llama[64];
    static const char *const none[] = {NULL};
    static const char *const class[] = {
        "tokenizer_config.json",
        "{\"tokenizer_class\": \"LlamaTokenizer\", \"legacy\": true, \"pad_token\": \"<pad>\"}", NULL};
    if (!*plain) {
        input_folder(plain, "tokenizer.json", none);
        input_folder(llama, "tokenizer.json", class);
    }
    try_folder(plain, data, bytes);
    try_folder(llama, data, bytes);
    return 0;
}
