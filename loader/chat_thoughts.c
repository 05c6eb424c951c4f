/* What a model thought before its answer: which of it a later turn still has. */
#include <stdlib.h>
#include <string.h>

#include "loader/chat_parts.h"

static const char THINK[] = "<think>", END_THINK[] = "</think>", TOOL[] = "<tool_response>",
                  END_TOOL[] = "</tool_response>";

static const char *find_last(const char *text, size_t bytes, const char *what)
{
    size_t length = strlen(what);
    for (size_t i = bytes; i >= length; i--)
        if (memcmp(text + i - length, what, length) == 0) return text + i - length;
    return NULL;
}

static const char *strip_lines(const char *text, size_t *bytes)
{
    while (*bytes > 0 && *text == '\n') text++, --*bytes;
    while (*bytes > 0 && text[*bytes - 1] == '\n') --*bytes;
    return text;
}

/* The last question: after it the template keeps thoughts. A user's message that is the answer of a tool is
 * none. */
int osv_chat_last_query(const osv_chat_message *message, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        const char *text = message[i].text;
        size_t bytes = strlen(text);
        bool tool = strncmp(text, TOOL, strlen(TOOL)) == 0 && bytes >= strlen(END_TOOL) &&
                    strcmp(text + bytes - strlen(END_TOOL), END_TOOL) == 0;
        if (message[i].role == OSV_CHAT_USER && !tool) return i;
    }
    return count - 1;
}

/* Qwen 3: thought and answer are parted; the thought is printed, also an empty one, in the
 * last message, and in others after the last question where there is one. */
static void put_parted(FILE *out, const char *text, bool late, bool last)
{
    const char *thought = "", *answer = text, *end = strstr(text, END_THINK);
    size_t bytes = 0;
    if (end) {
        bytes = (size_t)(end - text);
        while (bytes > 0 && text[bytes - 1] == '\n') bytes--;
        const char *start = find_last(text, bytes, THINK);
        thought = start ? start + strlen(THINK) : text;
        bytes -= (size_t)(thought - text);
        thought = strip_lines(thought, &bytes);
        answer = find_last(text, strlen(text), END_THINK) + strlen(END_THINK);
        answer += strspn(answer, "\n");
    }
    if (late && (last || bytes > 0)) {
        fprintf(out, "%s\n%.*s\n%s\n\n", THINK, (int)bytes, thought, END_THINK);
        answer += strspn(answer, "\n");
    }
    fputs(answer, out);
}

/* What is behind the last </think>, all of it where there is none. */
static const char *behind_thought(const char *text)
{
    const char *end = find_last(text, strlen(text), END_THINK);
    return end ? end + strlen(END_THINK) : text;
}

/* Gemma 4: what stands in <|channel>..<channel|> is left out, also where one of the two is missing. */
static int put_without_channels(FILE *out, const char *text, osv_error *e)
{
    static const char open[] = "<|channel>", close[] = "<channel|>";
    char *kept = malloc(strlen(text) + 1);
    size_t bytes = 0;
    if (!kept) return OSV_FAIL(e, OSV_DEVICE, "no memory for a message");
    for (const char *part = text, *next; part; part = next) {
        const char *end = strstr(part, close);
        next = end ? end + strlen(close) : NULL;
        size_t length = end ? (size_t)(end - part) : strlen(part);
        const char *channel = memmem(part, length, open, strlen(open));
        if (channel) length = (size_t)(channel - part);
        memcpy(kept + bytes, part, length);
        bytes += length;
    }
    const char *answer = osv_chat_strip(kept, &bytes);
    fwrite(answer, 1, bytes, out);
    free(kept);
    return OSV_OK;
}

int osv_chat_put_answer(FILE *out, osv_chat_thoughts thoughts, const char *text, bool late, bool last,
                        osv_error *e)
{
    switch (thoughts) {
    case OSV_THOUGHTS_PARTED: put_parted(out, text, late, last); break;
    case OSV_THOUGHTS_DROPPED: fputs(behind_thought(text), out); break;
    case OSV_THOUGHTS_OF_LAST:
        if (!last) {
            text = behind_thought(text);
            text += strspn(text, "\n");
        }
        fputs(text, out);
        break;
    case OSV_THOUGHTS_LINES: fputs(text + strspn(text, "\n"), out); break;
    case OSV_THOUGHTS_CHANNEL: return put_without_channels(out, text, e);
    case OSV_THOUGHTS_KEPT: break;
    }
    return OSV_OK;
}
