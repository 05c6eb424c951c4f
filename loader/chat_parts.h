/* Inside the chat formats: what a format is, and who does what.
 *
 *     chat_template.c   the model's template -> fingerprint
 *     chat_formats.c    the table of formats and the fingerprints they go by
 *     chat_render.c     messages by a format -> text
 *     chat_thoughts.c   what of a thought is rendered
 *     chat.c            the public functions: files, checks of messages, prefill
 *
 * Formats are constants of the program. Messages own their text. */
#ifndef OSV_LOADER_CHAT_PARTS_H
#define OSV_LOADER_CHAT_PARTS_H

#include <stdbool.h>
#include <stdio.h>

#include "kernels/error.h"

/* ---- what a format is */

/* In the pieces of a format these stand for the model's tokens and for the date. */
#define OSV_CHAT_BOS  "\1"
#define OSV_CHAT_EOS  "\2"
#define OSV_CHAT_DATE "\3"

typedef struct {
    const char *open, *close; /* around the content; open NULL: the format has no such turn */
} osv_chat_turn;

/* What becomes of a system message at the beginning. */
typedef enum {
    OSV_LEAD_TURN,    /* nothing special: a system turn like any other */
    OSV_LEAD_REFUSED, /* an error */
    OSV_LEAD_HEAD,    /* printed within `head`, which is there without a message too, around lead_default */
    OSV_LEAD_FIRST,   /* within `head` before the content of the first user turn */
    OSV_LEAD_LAST,    /* the same for the last user turn */
    OSV_LEAD_LAST_MESSAGE, /* the same, and only where that is the last message: else an error */
} osv_chat_lead;

/* Which roles may follow each other; a leading system message that is no turn does not count. */
typedef enum {
    OSV_ORDER_ANY,
    OSV_ORDER_ALTERNATE, /* user first, then every other message: whether it is a user's is what is checked */
    OSV_ORDER_USER_FIRST, /* no assistant first; no system message after an assistant's */
} osv_chat_order;

enum {
    OSV_TRIM_SYSTEM = 1 << 0, /* contents lose white space at both ends, as Python's strip() */
    OSV_TRIM_USER = 1 << 1,
    OSV_TRIM_ASSISTANT = 1 << 2,
    OSV_TRIM_ALL = OSV_TRIM_SYSTEM | OSV_TRIM_USER | OSV_TRIM_ASSISTANT,
    OSV_TRIM_JOINED = 1 << 3, /* a lead is joined to the user's content before trimming, not after */
    OSV_SKIP_EMPTY_SYSTEM = 1 << 4,
    OSV_GATHER_SYSTEM = 1 << 5,   /* all system messages are one lead, with empty lines between */
    OSV_MERGE = 1 << 6,           /* so are neighbouring messages of one user or assistant */
    OSV_OPEN_AFTER_USER = 1 << 7, /* assistant.open only where some user has spoken */
    OSV_OPEN_ONCE = 1 << 8,       /* assistant.open only where no assistant has spoken just before */
    OSV_ALWAYS_OPEN = 1 << 9,     /* `generation` also when not asked for */
    OSV_ADDS_SPECIAL = 1 << 10,   /* osv_chat_adds_special */
    OSV_MODE_IN_SYSTEM = 1 << 11, /* "/think" in a system message would switch something; its end is trimmed,
                                     and an empty one is none */
};

/* What becomes of the thoughts in an answer. */
typedef enum {
    OSV_THOUGHTS_KEPT,    /* they are text like any other */
    OSV_THOUGHTS_PARTED,  /* <think>..</think>, also an empty one, in the last answer; none in earlier ones */
    OSV_THOUGHTS_OF_LAST, /* only what is behind </think>, but for the last message, which is kept whole */
    OSV_THOUGHTS_DROPPED, /* only what is behind </think> */
    OSV_THOUGHTS_LINES,   /* kept, but for empty lines at the beginning */
    OSV_THOUGHTS_CHANNEL, /* without <|channel>..<channel|> */
} osv_chat_thoughts;

typedef struct {
    const char *name;
    const char *templates; /* fingerprints, with blanks between; NULL: only by name */
    const char *begin;     /* before everything; NULL: nothing */
    osv_chat_turn system, user, assistant, head;
    const char *generation;   /* opens the turn to be generated; NULL: the template has nothing there */
    const char *end;          /* in place of `generation` where none is asked for; or NULL */
    const char *lead_default; /* NULL: only the model's own template has one */
    const char *date;         /* where none is given; NULL: 26 Jul 2024 */
    osv_chat_lead lead;
    osv_chat_order order;
    osv_chat_thoughts thoughts;
    unsigned flags;
    /* The template's words when it refuses. */
    const char *system_error, *order_error, *empty_error; /* empty_error: of an assistant's message */
} osv_chat_format;

/* ---- chat_formats.c */

const osv_chat_format *osv_chat_format_named(const char *name);             /* also other names; or NULL */
const osv_chat_format *osv_chat_format_recognized(const char *fingerprint); /* or NULL */
const osv_chat_format *osv_chat_format_at(int index);                       /* or NULL at the end */

/* Whether some piece of the format has this marker, e.g. OSV_CHAT_BOS. */
bool osv_chat_format_prints(const osv_chat_format *f, const char *marker);

/* ---- chat_template.c */

enum { OSV_CHAT_FINGERPRINT = 16 }; /* hexadecimal digits */

/* The fingerprint of a template, its layout left out of it, and the text of the default system message if
 * that is where one can tell (malloc'ed, else NULL). A template that cannot be cut into tags has the
 * fingerprint "". */
int osv_chat_fingerprint(const char *text, char fingerprint[OSV_CHAT_FINGERPRINT + 1], char **lead,
                         osv_error *e);

/* ---- chat_render.c */

typedef enum { OSV_CHAT_SYSTEM, OSV_CHAT_USER, OSV_CHAT_ASSISTANT } osv_chat_role;

typedef struct {
    osv_chat_role role;
    char *text; /* malloc'ed */
} osv_chat_message;

typedef struct {
    const char *bos, *eos, *date, *lead; /* lead NULL: the format's own lead_default */
} osv_chat_values;

/* Messages may be merged: *count shrinks. */
int osv_chat_format_render(FILE *out, const osv_chat_format *f, const osv_chat_values *values,
                           osv_chat_message *message, int *count, bool generation, const char *where,
                           osv_error *e);

/* ---- chat_thoughts.c */

/* An assistant's content. late: it is behind the last question; last: it is the last message. */
int osv_chat_put_answer(FILE *out, osv_chat_thoughts thoughts, const char *text, bool late, bool last,
                        osv_error *e);
/* Index of the last user's message that is not the answer of a tool; of the last message if there is none. */
int osv_chat_last_query(const osv_chat_message *message, int count);

/* ---- chat_strip.c */

/* Takes what Python's str.strip() takes off both ends; returns the new start. */
const char *osv_chat_strip(const char *text, size_t *bytes);

#endif
