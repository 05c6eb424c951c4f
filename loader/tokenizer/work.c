#include <stdlib.h>

#include "loader/tokenizer/parts.h"

void osv_tok_work_free(osv_tok_work *w)
{
    free(w->text.data);
    free(w->next_text.data);
    free(w->a.data);
    free(w->b.data);
    free(w->spans.data);
    free(w->next_spans.data);
    osv_tok_search_free(w->search);
    osv_tok_bpe_work_free(w->bpe);
}
