/* The rotation angles of rotary embeddings as a table, computed once in double. */
#ifndef OSV_ENGINE_ROPE_H
#define OSV_ENGINE_ROPE_H

#include "engine/config.h"

/* table [positions, rot]: for each position rot/2 cosines, then rot/2 sines of position * frequency[i]. Host
 * memory. */
void osv_rope_table(osv_real *table, const osv_config *config, int positions);

#endif
