/* White space as Python has it. */
#include <utf8proc.h>

#include "loader/chat_parts.h"

/* ---- white space, as Python has it */

static bool is_space(utf8proc_int32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

static utf8proc_int32_t character(const char *s, size_t bytes, size_t *length)
{
    utf8proc_int32_t c = -1;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)bytes, &c);
    *length = n > 0 ? (size_t)n : 1;
    return c;
}

const char *osv_chat_strip(const char *text, size_t *bytes)
{
    size_t start = 0, end = *bytes, length;
    while (start < end && is_space(character(text + start, end - start, &length))) start += length;
    while (start < end) {
        size_t last = end - 1;
        while (last > start && ((unsigned char)text[last] & 0xc0) == 0x80) last--;
        if (!is_space(character(text + last, end - last, &length))) break;
        end = last;
    }
    *bytes = end - start;
    return text + start;
}
