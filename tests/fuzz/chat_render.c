#include <jansson.h>

#include "fuzz.h"
#include "loader/chat.h"
#include "loader/chat_parts.h"
#include "loader/file.h"

enum { FORMATS = 64 };

/* Any conversation is refused or rendered, by every format: as text that is UTF-8 and has what it was to
 * start with at its end. The first byte says how. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static osv_chat *chat[FORMATS];
    static int formats;
    osv_error e = {0};
    for (; osv_chat_format_at(formats); formats++) {
        MUST(formats < FORMATS);
        MUST(osv_chat_open(&chat[formats], OSV_GOLDEN "/../../organisms/llama-2m",
                           osv_chat_format_at(formats)->name, &e) == OSV_OK);
    }
    if (bytes == 0) return 0;
    json_t *messages = json_loadb((const char *)data + 1, bytes - 1, 0, NULL);
    if (!messages) return 0;
    const char *prefill = data[0] & 2 ? "So, " : NULL;
    for (int i = 0; i < formats; i++) {
        char *text = NULL;
        e = (osv_error){0};
        int status = osv_chat_render(chat[i], messages, data[0] & 1, prefill, &text, "data.jsonl:1", &e);
        check_error(status, &e);
        MUST((text != NULL) == (status == OSV_OK));
        if (!text) continue;
        size_t length = strlen(text);
        MUST(osv_utf8_check(text, length) == length);
        MUST(!prefill || strstr(text, "So,"));
        if (prefill) MUST(!strstr(text, "\5prefill\5")); /* the mark of the place where it ends */
        free(text);
    }
    json_decref(messages);
    return 0;
}
