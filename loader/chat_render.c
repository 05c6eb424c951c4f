/* Messages by a format -> text. */
#include <stdlib.h>
#include <string.h>

#include "loader/chat_parts.h"

/* ---- pieces */

static void put(FILE *out, const char *piece, const osv_chat_values *v)
{
    for (; piece && *piece; piece++) {
        if (*piece == *OSV_CHAT_BOS)
            fputs(v->bos, out);
        else if (*piece == *OSV_CHAT_EOS)
            fputs(v->eos, out);
        else if (*piece == *OSV_CHAT_DATE)
            fputs(v->date, out);
        else
            putc(*piece, out);
    }
}

static void put_content(FILE *out, const char *text, bool strip)
{
    size_t bytes = strlen(text);
    if (strip) text = osv_chat_strip(text, &bytes);
    fwrite(text, 1, bytes, out);
}

/* ---- messages that belong together */

static int append(char **text, const char *more, osv_error *e)
{
    char *joined;
    if (asprintf(&joined, "%s\n\n%s", *text, more) < 0)
        return OSV_FAIL(e, OSV_DEVICE, "no memory for a message");
    free(*text);
    *text = joined;
    return OSV_OK;
}

/* Appends message `from` to message `to`, which is before it, and closes the gap. */
static int join(osv_chat_message *message, int *count, int to, int from, osv_error *e)
{
    OSV_TRY(append(&message[to].text, message[from].text, e));
    free(message[from].text);
    memmove(message + from, message + from + 1, (size_t)(*count - from - 1) * sizeof *message);
    --*count;
    return OSV_OK;
}

/* All system messages to the front, in one. */
static int gather_system(osv_chat_message *message, int *count, osv_error *e)
{
    bool found = false;
    for (int i = 0; i < *count;) {
        if (message[i].role != OSV_CHAT_SYSTEM) {
            i++;
        } else if (found) {
            OSV_TRY(join(message, count, 0, i, e));
        } else {
            osv_chat_message system = message[i];
            memmove(message + 1, message, (size_t)i * sizeof *message);
            message[0] = system;
            found = true;
            i++;
        }
    }
    return OSV_OK;
}

static int merge(osv_chat_message *message, int *count, osv_error *e)
{
    for (int i = 1; i < *count;) {
        if (message[i].role != message[i - 1].role || message[i].role == OSV_CHAT_SYSTEM)
            i++;
        else
            OSV_TRY(join(message, count, i - 1, i, e));
    }
    return OSV_OK;
}

/* ---- rules */

static int refuse(const osv_chat_format *f, const char *text, const char *where, osv_error *e)
{
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: chat format %s: %s", where, f->name, text);
}

/* May message i of `count` stand where it stands? */
static int check_order(const osv_chat_format *f, const osv_chat_message *message, int i, const char *where,
                       osv_error *e)
{
    osv_chat_role role = message[i].role;
    if (f->order == OSV_ORDER_ALTERNATE && (role == OSV_CHAT_USER) != (i % 2 == 0))
        return refuse(f, f->order_error, where, e);
    if (f->order == OSV_ORDER_USER_FIRST && i == 0 && role == OSV_CHAT_ASSISTANT)
        return refuse(f, f->order_error, where, e);
    if (f->order == OSV_ORDER_USER_FIRST && i > 0 && role == OSV_CHAT_SYSTEM &&
        message[i - 1].role == OSV_CHAT_ASSISTANT)
        return refuse(f, "Unexpected role 'system' after role 'assistant'", where, e);
    if (role == OSV_CHAT_SYSTEM && !f->system.open)
        return refuse(f, f->system_error ? f->system_error : "it has no place for a system message here",
                      where, e);
    if (role == OSV_CHAT_ASSISTANT && f->empty_error && !*message[i].text)
        return refuse(f, f->empty_error, where, e);
    return OSV_OK;
}

/* Which of the messages takes in the lead; -1: none. */
static int find_host(const osv_chat_format *f, const osv_chat_message *message, int count)
{
    if (f->lead == OSV_LEAD_FIRST) return count > 0 && message[0].role == OSV_CHAT_USER ? 0 : -1;
    if (f->lead == OSV_LEAD_LAST_MESSAGE)
        return count > 0 && message[count - 1].role == OSV_CHAT_USER ? count - 1 : -1;
    int host = -1;
    for (int i = 0; i < count; i++)
        if (message[i].role == OSV_CHAT_USER) host = i;
    return host;
}

/* The lead and the user's content, in one text. */
static int join_lead(char **text, const osv_chat_format *f, const char *lead, const char *content, bool strip,
                     osv_error *e)
{
    size_t bytes = strlen(content);
    if (strip) content = osv_chat_strip(content, &bytes);
    if (asprintf(text, "%s%s%s%.*s", f->head.open, lead, f->head.close, (int)bytes, content) < 0)
        return OSV_FAIL(e, OSV_DEVICE, "no memory for a message");
    return OSV_OK;
}

/* ---- the whole */

typedef struct {
    const osv_chat_format *format;
    const osv_chat_values *values;
    const osv_chat_message *message; /* [count], without the lead */
    int count;
    const char *lead; /* NULL: there is none */
    int host;         /* which message takes in the lead; -1: none */
} conversation;

/* Parts the lead from the turns, and refuses what the template would refuse or leave out. */
static int check(conversation *c, const char *where, osv_error *e)
{
    const osv_chat_format *f = c->format;
    if (c->message[0].role == OSV_CHAT_SYSTEM && f->lead != OSV_LEAD_TURN) {
        if (f->lead == OSV_LEAD_REFUSED) return refuse(f, f->system_error, where, e);
        c->lead = c->message[0].text;
        c->message++;
        c->count--;
    }
    for (int i = 0; i < c->count; i++) OSV_TRY(check_order(f, c->message, i, where, e));
    if (f->lead == OSV_LEAD_HEAD || !c->lead || (!*c->lead && (f->flags & OSV_SKIP_EMPTY_SYSTEM)))
        return OSV_OK;
    c->host = find_host(f, c->message, c->count);
    if (c->host >= 0) return OSV_OK;
    return refuse(f,
                  "the system message would be left out: it goes into a user turn, and there is none for it",
                  where, e);
}

static int put_message(FILE *out, const conversation *c, int i, bool answers, osv_error *e)
{
    static const unsigned trims[] = {OSV_TRIM_SYSTEM, OSV_TRIM_USER, OSV_TRIM_ASSISTANT};
    const osv_chat_format *f = c->format;
    const osv_chat_turn *const turns[] = {&f->system, &f->user, &f->assistant};
    osv_chat_role role = c->message[i].role;
    const char *text = c->message[i].text;
    if (role == OSV_CHAT_SYSTEM && !*text && (f->flags & OSV_SKIP_EMPTY_SYSTEM)) return OSV_OK;

    bool strip = f->flags & trims[role], joined_first = f->flags & OSV_TRIM_JOINED;
    char *joined = NULL;
    if (i == c->host) {
        OSV_TRY(join_lead(&joined, f, c->lead, text, strip && !joined_first, e));
        strip = strip && joined_first;
        text = joined;
    }
    bool goes_on = role == OSV_CHAT_ASSISTANT && (f->flags & OSV_OPEN_ONCE) && i > 0 &&
                   c->message[i - 1].role == OSV_CHAT_ASSISTANT;
    bool too_early = role == OSV_CHAT_ASSISTANT && (f->flags & OSV_OPEN_AFTER_USER) && !answers;
    if (!goes_on && !too_early) put(out, turns[role]->open, c->values);
    int status = OSV_OK;
    if (role == OSV_CHAT_ASSISTANT && f->thoughts != OSV_THOUGHTS_KEPT)
        status = osv_chat_put_answer(out, f->thoughts, text, i > osv_chat_last_query(c->message, c->count),
                                     i == c->count - 1, e);
    else
        put_content(out, text, strip);
    put(out, turns[role]->close, c->values);
    free(joined);
    return status;
}

/* The system message within the head of the text, or the default one. */
static int put_head(FILE *out, const conversation *c, const char *where, osv_error *e)
{
    const osv_chat_format *f = c->format;
    const char *usual = c->values->lead ? c->values->lead : f->lead_default, *lead = c->lead;
    size_t bytes = lead ? strlen(lead) : 0;
    if (lead && (f->flags & OSV_MODE_IN_SYSTEM)) {
        if (strstr(lead, "/think") || strstr(lead, "/no_think"))
            return refuse(f, "the system message has /think or /no_think, which this program cannot switch",
                          where, e);
        const char *stripped = osv_chat_strip(lead, &bytes);
        bytes += (size_t)(stripped - lead); /* blanks in front stay */
        if (bytes == (size_t)(stripped - lead)) lead = NULL;
    } else if (lead && (f->flags & OSV_TRIM_SYSTEM)) {
        lead = osv_chat_strip(lead, &bytes);
    }
    if (!lead && !usual)
        return refuse(f,
                      "it needs a system message here: the usual one stands only in the model's own template",
                      where, e);
    put(out, f->head.open, c->values);
    if (lead)
        fwrite(lead, 1, bytes, out);
    else
        put(out, usual, c->values);
    put(out, f->head.close, c->values);
    return OSV_OK;
}

int osv_chat_format_render(FILE *out, const osv_chat_format *f, const osv_chat_values *values,
                           osv_chat_message *message, int *count, bool generation, const char *where,
                           osv_error *e)
{
    if (f->flags & OSV_GATHER_SYSTEM) OSV_TRY(gather_system(message, count, e));
    if (f->flags & OSV_MERGE) OSV_TRY(merge(message, count, e));
    conversation c = {f, values, message, *count, NULL, -1};
    OSV_TRY(check(&c, where, e));

    put(out, f->begin, values);
    if (f->lead == OSV_LEAD_HEAD) OSV_TRY(put_head(out, &c, where, e));
    bool user = false; /* has some user spoken? */
    for (int i = 0; i < c.count; i++) {
        OSV_TRY(put_message(out, &c, i, user, e));
        user = user || c.message[i].role == OSV_CHAT_USER;
    }
    put(out, generation || (f->flags & OSV_ALWAYS_OPEN) ? f->generation : f->end, values);
    return OSV_OK;
}
