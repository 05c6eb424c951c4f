/* The rotation angles of rotary embeddings as a table, computed once in double. */
#ifndef OSV_ENGINE_ROPE_H
#define OSV_ENGINE_ROPE_H

#include "engine/config.h"

/* LongRoPE has two sets of factors, for sequences within the positions that a model was first trained on and
 * for longer ones. Which of them holds is decided once for a whole run, by its longest sequence (in tokens,
 * the last one included), so that the result of a job depends neither on what shares its batch nor on how far
 * a text has been written. Whoever begins a run calls this before anything is computed; without the call the
 * factors for short sequences hold, and longer ones are refused. No other kind of embedding changes. */
void osv_rope_fit(osv_config *config, int longest);

/* Fails where a table of so many positions contradicts what osv_rope_fit was told. */
int osv_rope_check(const osv_config *config, int positions, osv_error *e);

/* table [positions, rot]: for each position rot/2 cosines, then rot/2 sines of position * frequency[i], times
 * the scale of the embedding. Host memory. `which`: of config->rope. */
void osv_rope_table(osv_real *table, const osv_config *config, int which, int positions);

#endif
