/* --resume: is the run in --out the one that the command line describes, and where does it go on? */
#ifndef OSV_TOOLS_TRAIN_RESUME_H
#define OSV_TOOLS_TRAIN_RESUME_H

#include "optim/run_directory.h"
#include "optim/saved_run.h"
#include "tools/train_setup.h"

/* Is there a run to go on with? A folder without one is begun as without --resume, so that a job of a batch
 * system can be started again and again with the same command. */
bool train_resume_wanted(const train_options *o);

/* Compares with run.json. Another option that has a say in the result is OSV_USAGE and named, other data or
 * another model OSV_BAD_INPUT; what may be different is in a table. As long as there are no weights the
 * model's are not compared. Costs little: done before long loading, and once more with the weights. The model
 * gets the name that it has in the run: vector files tell it, and its folder may have been moved. */
int train_resume_check(train_setup *s);

/* Takes the run and its lock, reads the checkpoint into *saved, if there is one (*from_start: there is none),
 * and cuts the trace back to it. Says where it goes on. The caller closes the run and frees *saved, whatever
 * came of it. */
int train_resume_open(osv_run_directory *run, osv_saved_run *saved, bool *from_start, const train_setup *s);

/* s->units of the run that is there; none where one replica has begun it. */
int train_resume_units(train_setup *s);

/* The checkpoint alone, for ranks that do not write. */
int train_resume_read(osv_saved_run *saved, bool *from_start, const train_setup *s);

/* Of this run's checkpoint. */
osv_saved_shape train_resume_shape(const train_setup *s);

#endif
