/* --vector, --layer, --positions and --apply -> what enters a model's residual stream while it writes. Shared
 * by the tools that use vectors.
 *
 * Owned by tool_steering and released by tool_steering_close; the options' strings must outlive it. */
#ifndef OSV_TOOLS_STEERING_H
#define OSV_TOOLS_STEERING_H

#include "engine/decode.h"
#include "optim/vector_file.h"
#include "tools/options.h"
#include "tools/tool_model.h"

typedef struct {
    osv_option_list vector; /* FILE[:SCALE] */
    int layer;              /* -1: as the files say */
    const char *positions;  /* NULL: as the files say */
    const char *apply;      /* NULL: as the files say; add, add-norm, clamp[:C], ablate, affine */
    bool teacher;           /* the options are --teacher and --teacher-apply */
} steering_options;

/* A file in use. */
typedef struct {
    char *path;
    double scale;
    osv_vector_file file;
    const char *positions;
    osv_form form;
    int first, count; /* its entries of tool_steering.steering */
} steering_vector;

typedef struct {
    int vectors;
    steering_vector *vector; /* [vectors] in the order given */
    int steerings;           /* one for each vector and layer */
    osv_steering *steering;  /* [steerings] */
    osv_real *p;             /* their parameters, scaled */
    int D;
    int notes; /* what a user should know: another form than trained, ... */
    char **note;
} tool_steering;

/* Without the model, for cheap mistakes: OSV_USAGE. */
int steering_options_check(const steering_options *o, osv_error *e);

/* Reads the files; `config` of the model at `dir`. Vectors of another width are OSV_BAD_INPUT. */
int tool_steering_open(tool_steering *s, const steering_options *o, const osv_config *config, const char *dir,
                       osv_error *e);
void tool_steering_close(tool_steering *s);

/* Adds a note for each vector that was trained on other weights than these. */
int tool_steering_check_model(tool_steering *s, const char *sha256, const char *dir, osv_error *e);

/* Which vectors enter where: steer [prompt + more], bit i: steering[i], `more` being tokens that follow the
 * prompt. Positions that a prompt does not have are OSV_BAD_INPUT. */
int tool_steering_mask(const tool_steering *s, int prompt, int more, uint32_t *steer, const char *where,
                       osv_error *e);

#endif
