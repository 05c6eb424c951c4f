#include "tools/tool_prompts.h"

#include <stdio.h>

#include "loader/stop_ids.h"

osv_prompt_options tool_prompt_options(const tool_model *m)
{
    return (osv_prompt_options){.tokenizer = m->tokenizer,
                                .tokenizer_missing = m->error_of_tokenizer.text,
                                .chat = m->chat,
                                .chat_missing = m->error_of_chat.text,
                                .V = m->config.V};
}

int tool_prompts_read(osv_prompts **out, const tool_model *m, const char *file, const char *text,
                      osv_error *e)
{
    const osv_prompt_options options = tool_prompt_options(m);
    return file ? osv_prompts_read(out, file, &options, e) : osv_prompts_of_text(out, text, &options, e);
}

const char *tool_prompt_where(char *where, size_t room, const char *file, const osv_prompt_line *line)
{
    if (file)
        snprintf(where, room, "%s:%d", file, line->line);
    else
        snprintf(where, room, "--prompt");
    return where;
}

int tool_stop_ids(osv_ids *ids, const tool_model *m, osv_error *e)
{
    OSV_TRY(osv_stop_ids_read(ids, m->dir, m->config.V, e));
    const char *end = m->chat ? osv_chat_end_of_turn(m->chat) : "";
    return m->tokenizer && *end ? osv_stop_ids_add(ids, m->tokenizer, end, e) : OSV_OK;
}

int tool_prompts_longest(const osv_prompts *p)
{
    int longest = 0;
    for (int i = 0; i < p->count; i++)
        if (p->line[i].ids.count > longest) longest = p->line[i].ids.count;
    return longest;
}

int tool_prompts_check(const osv_prompts *p, const tool_model *m, const char *file, int more, osv_error *e)
{
    char where[512];
    for (int i = 0; i < p->count; i++) {
        int count = p->line[i].ids.count, most = m->config.positions;
        if (count + more <= most) continue;
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: a prompt of %d tokens and --max-tokens %d make %d, the model takes at most %d",
                        tool_prompt_where(where, sizeof where, file, &p->line[i]), count, more, count + more,
                        most);
    }
    return OSV_OK;
}
