#include "tokenizer.h"

/* Any tokenizer.model, of sentencepiece or tiktoken, is refused, or encodes and decodes; as sentencepiece
 * reads it, and as classes of transformers do. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char bare[64], llama[64], file[64];
    static const char *const none[] = {NULL};
    static const char *const class[] = {
        "tokenizer_config.json", "{\"tokenizer_class\": \"LlamaTokenizer\", \"add_bos_token\": true}", NULL};
    static const char *const tokens[] = {"config.json", "{\"model_type\": \"llama\"}",
                                         "tokenizer_config.json",
                                         "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", "
                                         "\"added_tokens_decoder\": {\"5\": {\"content\": \"<|x|>\"}}}",
                                         NULL};
    if (!*bare) {
        input_folder(bare, "tokenizer.model", none);
        input_folder(llama, "tokenizer.model", class);
        input_folder(file, "tokenizer.model", tokens);
    }
    try_folder(bare, data, bytes);
    try_folder(llama, data, bytes);
    try_folder(file, data, bytes);
    return 0;
}
