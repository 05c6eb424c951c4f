/* For the targets that read texts: a tokenizer and a chat format, opened once. */
#ifndef OSV_TESTS_FUZZ_TEXTS_H
#define OSV_TESTS_FUZZ_TEXTS_H

#include "fuzz.h"
#include "loader/chat.h"
#include "loader/tokenizer.h"

static inline const osv_tokenizer *a_tokenizer(void)
{
    static osv_tokenizer *tokenizer;
    osv_error e = {0};
    if (!tokenizer) MUST(osv_tokenizer_open(&tokenizer, OSV_GOLDEN "/tokenizer/gpt2", &e) == OSV_OK);
    return tokenizer;
}

static inline const osv_chat *a_chat(void)
{
    static osv_chat *chat;
    osv_error e = {0};
    if (!chat) MUST(osv_chat_open(&chat, OSV_GOLDEN "/../../organisms/llama-2m", "auto", &e) == OSV_OK);
    return chat;
}

#endif
