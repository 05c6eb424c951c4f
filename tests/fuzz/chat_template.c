#include <ctype.h>

#include "fuzz.h"
#include "loader/chat_parts.h"

static void fingerprint(const char *text, char out[OSV_CHAT_FINGERPRINT + 1])
{
    osv_error e = {0};
    char *lead;
    int status = osv_chat_fingerprint(text, out, &lead, &e);
    check_error(status, &e);
    MUST(status == OSV_OK);
    MUST(!*out || strspn(out, "0123456789abcdef") == OSV_CHAT_FINGERPRINT);
    MUST(*out || !lead);
    for (const char *c = lead; c && *c; c++)
        MUST((unsigned char)*c >= ' ' || strchr("\t\n" OSV_CHAT_DATE, *c));
    const osv_chat_format *f = osv_chat_format_recognized(out);
    MUST(!f || *out);
    free(lead);
}

/* Any text has a fingerprint or is no template, and what does not change what it prints does not change it.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char a[OSV_CHAT_FINGERPRINT + 1], b[OSV_CHAT_FINGERPRINT + 1];
    char *text = strndup((const char *)data, bytes), *more;
    MUST(text);
    size_t length = strlen(text);
    fingerprint(text, a);
    if (*text && !isspace((unsigned char)*text)) {
        MUST(asprintf(&more, "{# why #}%s", text) > 0);
        fingerprint(more, b);
        MUST(strcmp(a, b) == 0);
        free(more);
    }
    if (length > 0 && text[length - 1] != '\n' && text[length - 1] != '\r') {
        MUST(asprintf(&more, "%s\n", text) > 0);
        fingerprint(more, b);
        MUST(strcmp(a, b) == 0);
        free(more);
    }
    free(text);
    return 0;
}
