/* The ids that end a text, as the model folder says. */
#ifndef OSV_LOADER_STOP_IDS_H
#define OSV_LOADER_STOP_IDS_H

#include "loader/tokenizer.h"

/* Appends eos_token_id of `dir`/generation_config.json, an id or a list; where that file is missing or has
 * none, of config.json. No id at all is no error: then only the number of tokens ends a text. Ids that the
 * model of V rows cannot give are left out. */
int osv_stop_ids_read(osv_ids *ids, const char *dir, int V, osv_error *e);

/* Appends the id of an added or ordinary token spelled `token`, if there is one. */
int osv_stop_ids_add(osv_ids *ids, const osv_tokenizer *t, const char *token, osv_error *e);

#endif
