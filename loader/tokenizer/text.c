#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "loader/file.h"
#include "loader/tokenizer/parts.h"

int osv_tok_grow(void **items, size_t size, size_t count, size_t more, size_t *room, osv_error *e)
{
    if (more <= *room - count) return OSV_OK;
    if (more > SIZE_MAX / 4 / size - count)
        return OSV_FAIL(e, OSV_DEVICE, "tokenizer: a text too large for memory");
    size_t wider = *room + *room / 2 + 16;
    if (wider < count + more) wider = count + more;
    void *moved = realloc(*items, wider * size);
    if (!moved) return OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for %zu bytes", wider * size);
    *items = moved;
    *room = wider;
    return OSV_OK;
}

int osv_tok_text_reserve(osv_tok_text *text, size_t more, osv_error *e)
{
    void *data = text->data;
    int status = osv_tok_grow(&data, 1, text->bytes, more, &text->room, e);
    text->data = data;
    return status;
}

int osv_tok_text_add(osv_tok_text *text, const char *bytes, size_t count, osv_error *e)
{
    OSV_TRY(osv_tok_text_reserve(text, count, e));
    if (count) memcpy(text->data + text->bytes, bytes, count);
    text->bytes += count;
    return OSV_OK;
}

int osv_tok_span_add(osv_tok_spans *spans, size_t start, size_t end, int id, bool first, osv_error *e)
{
    if (id < 0 && start >= end) return OSV_OK;
    if (spans->count == spans->room) {
        void *data = spans->data;
        OSV_TRY(osv_tok_grow(&data, sizeof *spans->data, spans->count, 1, &spans->room, e));
        spans->data = data;
    }
    spans->data[spans->count++] = (osv_tok_span){start, end, id, first};
    return OSV_OK;
}

bool osv_tok_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

bool osv_tok_is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    /* Joiners, and the symbols that count as alphabetic: letters in circles, squares and the like. */
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* Bytes that are printable in Latin-1 stand for themselves, the other 68 get the characters from U+0100 on,
 * in order: 0x00..0x20, 0x7f..0xa0, 0xad. */
uint32_t osv_tok_byte_char(int byte)
{
    if (byte <= 0x20) return 0x100 + (uint32_t)byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x121 + (uint32_t)(byte - 0x7f);
    return byte == 0xad ? 0x143 : (uint32_t)byte;
}

int osv_tok_char_byte(uint32_t c)
{
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121) + 0x7f;
    if (c == 0x143) return 0xad;
    return c > 0x20 && c <= 0xff && osv_tok_byte_char((int)c) == c ? (int)c : -1;
}

int osv_tok_base64(osv_tok_text *out, const char *text, size_t bytes, const char *where, osv_error *e)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t filled = bytes; /* before the padding, of at most two characters */
    while (filled > 0 && bytes - filled < 2 && text[filled - 1] == '=') filled--;
    bool good = bytes % 4 == 0 && bytes <= INT_MAX;
    for (size_t i = 0; i < filled && good; i++) good = text[i] && strchr(digits, text[i]);
    if (!good) {
        char shown[64];
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" is not base64", where,
                        osv_tok_show(text, bytes, shown));
    }
    OSV_TRY(osv_tok_text_reserve(out, bytes / 4 * 3, e));
    EVP_DecodeBlock((unsigned char *)out->data + out->bytes, (const unsigned char *)text, (int)bytes);
    out->bytes += bytes / 4 * 3 - (bytes - filled);
    return OSV_OK;
}

const char *osv_tok_show(const char *text, size_t bytes, char shown[64])
{
    size_t kept = bytes < 60 ? bytes : 60;
    memcpy(shown, text, kept);
    kept = osv_utf8_check(shown, kept); /* not in the middle of a character */
    for (size_t i = 0; i < kept; i++)
        if ((unsigned char)shown[i] < 0x20 || shown[i] == 0x7f) shown[i] = ' ';
    strcpy(shown + kept, kept < bytes ? "..." : "");
    return shown;
}
