/* --teacher: the vectors that steer whoever is matched, and the tokens that it writes where "match" is true.
 * The files are read with the data, the tokens are written when the weights are there. */
#ifndef OSV_TOOLS_TRAIN_TEACHER_H
#define OSV_TOOLS_TRAIN_TEACHER_H

#include "loader/datapoints.h"
#include "tools/steering.h"
#include "tools/train_options.h"

/* One teacher for all matches, or, of the folder of a run, one for each "job" of the data. */
typedef struct {
    const char *data; /* the file, for messages */
    int count;
    tool_steering *steering; /* [count] */
    const char **job;        /* [count] of whom; NULL: of all */
    char **text;             /* [texts] what the steerings' options point to */
    int texts;
} train_teachers;

/* Without --teacher there is none; only a plan goes without, where the data have matches. */
int train_teachers_open(train_teachers *t, const train_options *o, const osv_dataset *data,
                        const tool_model *m, osv_error *e);
void train_teachers_close(train_teachers *t);

/* Of whom the datapoint learns; NULL: there is nobody. */
const tool_steering *train_teacher_of(const train_teachers *t, const osv_datapoint *p);

/* "data.jsonl:7"; cut at the room. Returns `where`. */
enum { TRAIN_WHERE_ROOM = 512 };
const char *train_teachers_where(char where[TRAIN_WHERE_ROOM], const train_teachers *t,
                                 const osv_datapoint *p);

/* Is there a completion whose tokens the teacher still has to write? */
bool train_unwritten(const osv_dataset *data);
/* Writes them: greedily, up to a stop token, which is kept where there is room for it. */
int train_teachers_write(const train_teachers *t, osv_dataset *data, const tool_model *m, int tokens);

#endif
