#include "tools/text_stream.h"

#include <stdlib.h>
#include <string.h>

/* Decoding begins anew so many tokens back: long enough that what decoders do to the beginning of a text
 * (stripping blanks) is done to tokens that have been given out, short enough that a token costs little. */
enum { WINDOW = 32 };

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
enum { REPLACEMENT = sizeof replacement - 1 };

/* "<0x0A>": a byte of text, where the tokenizer has no better piece */
static bool is_byte(const osv_tokenizer *t, int id)
{
    const char *piece = osv_tokenizer_piece(t, id);
    return piece && strlen(piece) == 6 && memcmp(piece, "<0x", 3) == 0 && piece[5] == '>';
}

/* Special tokens are left out of the text, so bytes before and after one are neighbours. */
static int is_nothing(bool *nothing, const osv_tokenizer *t, int id, osv_error *e)
{
    char *text;
    size_t bytes;
    OSV_TRY(osv_tokenizer_decode(t, &id, 1, true, &text, &bytes, e));
    free(text);
    *nothing = bytes == 0;
    return OSV_OK;
}

/* The tokens before a run of bytes at the end, of which nothing is certain: one byte more can change the
 * whole run. */
static int before_bytes(int *count, const text_stream *s, osv_error *e)
{
    int n = s->ids.count;
    *count = n;
    for (bool nothing; n > s->start; n--) {
        int id = s->ids.data[n - 1];
        if (is_byte(s->tokenizer, id)) {
            *count = n - 1;
            continue;
        }
        OSV_TRY(is_nothing(&nothing, s->tokenizer, id, e));
        if (!nothing) break;
    }
    return OSV_OK;
}

/* Bytes that both begin with, whole characters only. */
static size_t common(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    size_t n = 0;
    while (n < a_bytes && n < b_bytes && a[n] == b[n]) n++;
    while (n > 0 && ((n < a_bytes && (a[n] & 0xc0) == 0x80) || (n < b_bytes && (b[n] & 0xc0) == 0x80))) n--;
    return n;
}

int text_stream_open(text_stream *s, const osv_tokenizer *t, const int *prompt, int count, osv_error *e)
{
    *s = (text_stream){.tokenizer = t, .prompt = count, .mark = count};
    int status = osv_tokenizer_decode(t, prompt, count, true, &s->prompt_text, &s->prompt_bytes, e);
    for (int i = 0; i < count && !status; i++) status = osv_ids_push(&s->ids, prompt[i], e);
    if (status) text_stream_close(s);
    return status;
}

void text_stream_close(text_stream *s)
{
    osv_ids_free(&s->ids);
    free(s->prompt_text);
    free(s->text);
    *s = (text_stream){0};
}

/* Gives out what the first `count` tokens say beyond what was given out; *whole: and nothing is held back. */
static int give(text_stream *s, int count, bool last, const char **text, size_t *bytes, bool *whole,
                osv_error *e)
{
    size_t length, settled;
    free(s->text);
    s->text = NULL;
    OSV_TRY(osv_tokenizer_decode(s->tokenizer, s->ids.data + s->start, count - s->start, true, &s->text,
                                 &length, e));
    for (settled = length; !last && settled >= REPLACEMENT; settled -= REPLACEMENT)
        if (memcmp(s->text + settled - REPLACEMENT, replacement, REPLACEMENT) != 0) break;
    size_t from = s->begun ? s->out : common(s->prompt_text, s->prompt_bytes, s->text, length);
    *text = s->text + from;
    *bytes = settled > from ? settled - from : 0;
    *whole = settled == length;
    if (*bytes == 0) return OSV_OK;
    s->begun = true;
    s->out = settled;
    return OSV_OK;
}

/* Everything so far is out: decoding may begin at the last such place from now on. */
static int move_window(text_stream *s, osv_error *e)
{
    char *text;
    if (!s->begun || s->ids.count - s->mark < WINDOW) return OSV_OK;
    s->start = s->mark;
    s->mark = s->ids.count;
    OSV_TRY(osv_tokenizer_decode(s->tokenizer, s->ids.data + s->start, s->mark - s->start, true, &text,
                                 &s->out, e));
    free(text);
    return OSV_OK;
}

int text_stream_push(text_stream *s, int id, const char **text, size_t *bytes, osv_error *e)
{
    int certain;
    bool whole;
    *text = "";
    *bytes = 0;
    OSV_TRY(osv_ids_push(&s->ids, id, e));
    OSV_TRY(before_bytes(&certain, s, e));
    if (certain <= s->prompt) return OSV_OK; /* tokens of the prompt only */
    OSV_TRY(give(s, certain, false, text, bytes, &whole, e));
    return whole && certain == s->ids.count ? move_window(s, e) : OSV_OK;
}

int text_stream_end(text_stream *s, const char **text, size_t *bytes, osv_error *e)
{
    bool whole;
    return give(s, s->ids.count, true, text, bytes, &whole, e);
}

int text_of_continuation(char **text, size_t *bytes, const osv_tokenizer *t, const int *prompt, int count,
                         const int *ids, int more, osv_error *e)
{
    text_stream s;
    const char *found;
    *text = NULL;
    OSV_TRY(text_stream_open(&s, t, prompt, count, e));
    int status = OSV_OK;
    for (int i = 0; i < more && !status; i++) status = osv_ids_push(&s.ids, ids[i], e);
    if (!status) status = text_stream_end(&s, &found, bytes, e);
    if (!status && !(*text = calloc(*bytes + 1, 1)))
        status = OSV_FAIL(e, OSV_DEVICE, "out of memory for a text");
    if (!status) memcpy(*text, found, *bytes);
    text_stream_close(&s);
    return status;
}
