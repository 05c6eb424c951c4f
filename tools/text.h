/* Text from models and data, made fit for one line of a terminal. */
#ifndef OSV_TOOLS_TEXT_H
#define OSV_TOOLS_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum { OSV_KEEP_HEAD, OSV_KEEP_TAIL } osv_keep;

/* Writes `text` in quotes, with control characters and bytes that are not UTF-8 escaped, and at most
 * `characters` of it: where it is longer, "..." stands for what is left out. The result is cut at `room` as
 * well. Returns `out`. */
const char *osv_show_text(char *out, size_t room, const char *text, int characters, osv_keep keep);

/* The same for a name: no quotes, no shortening but for `room`. */
const char *osv_show_name(char *out, size_t room, const char *text);

/* As a JSON string; bytes that are not UTF-8 (a path, a half-decoded completion) are escaped, NULL is null.
 */
json_t *osv_text_json(const char *text);

/* For a terminal: text with its line ends and tabs, but with other control characters and bytes that are not
 * UTF-8 escaped. malloc'ed [*out_bytes]; NULL: no memory. */
char *osv_text_plain(const char *text, size_t bytes, size_t *out_bytes);

/* The shortest decimal that reads back as `x`: 0.1 is "0.1". Returns `text`. */
enum { OSV_NUMBER_ROOM = 32 };
const char *osv_show_number(char text[OSV_NUMBER_ROOM], double x);

/* JSON has no NaN and no infinity: they are null. */
json_t *osv_number_json(double x);

/* "512 B", "3.6 MB", "80.0 GB": powers of 1000, as memory is sold. */
const char *osv_show_bytes(char *out, size_t room, size_t bytes);

/* "[5, 17, 3, ...]" */
const char *osv_show_ids(char *out, size_t room, const int *ids, int count, int most);

#endif
