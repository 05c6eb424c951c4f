/* Where the jobs of a batch meet its rows, and the rows of their parameters. */
#ifndef OSV_ENGINE_SITES_H
#define OSV_ENGINE_SITES_H

#include "engine/batch.h"

/* Fills P, G, job_param, sums and sites of a batch whose live rows are there, with their jobs and signs. */
int osv_sites_build(osv_batch *b, const osv_batch_job *job, osv_error *e);
void osv_sites_free(osv_batch *b);

#endif
