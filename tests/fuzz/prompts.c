#include "loader/prompts.h"

#include "texts.h"

enum { V = 600 };

/* Any file is refused, or gives prompts whose ids a model of V rows can take. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *path = as_file(data, bytes);
    for (int with = 0; with < 2; with++) { /* with a tokenizer and a chat format, and without */
        const osv_prompt_options options = {
            .tokenizer = with ? a_tokenizer() : NULL, .chat = with ? a_chat() : NULL, .V = V};
        osv_prompts *p = NULL;
        osv_error e = {0};
        int status = osv_prompts_read(&p, path, &options, &e);
        check_error(status, &e);
        if (status) continue;
        MUST(p->count >= 1);
        for (int i = 0; i < p->count; i++) {
            const osv_prompt_line *line = &p->line[i];
            osv_source source = osv_prompt_source(line);
            MUST(line->line >= 1 && line->id && line->json && line->ids.count >= 1);
            MUST(line->text || !with);
            MUST(source.text || source.ids);
            MUST(!line->chat || line->complete);
            for (int t = 0; t < line->ids.count; t++) MUST(line->ids.data[t] >= 0 && line->ids.data[t] < V);
        }
        osv_prompts_free(p);
    }
    return 0;
}
