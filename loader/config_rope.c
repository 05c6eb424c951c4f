/* Rotary embeddings in a config.json, in the old keys ("rope_theta", "rope_scaling", ...), the new one
 * ("rope_parameters"), or mixed. */
#include <math.h>
#include <string.h>

#include "loader/config_keys.h"
#include "loader/config_parts.h"
#include "loader/json.h"

/* Which blocks an embedding belongs to, where sliding blocks have one of their own. */
enum { GLOBAL, LOCAL };
static const char *const LAYER_TYPE[] = {"full_attention", "sliding_attention"};

/* ---- old keys and new ones ---- */

static int no_memory(const char *path, osv_error *e)
{
    return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", path);
}

/* Adds the keys of `part`, which stood under `name`, to the union; those that are there must agree. */
static int add_keys(json_t *merged, json_t *part, const char *path, osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(part, key, value)
    {
        const json_t *other = json_object_get(merged, key);
        if (other && !json_equal(other, value))
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: \"rope_scaling\" and \"rope_parameters\" disagree about \"%s\"", path, key);
        if (json_object_set(merged, key, value)) return no_memory(path, e);
    }
    return OSV_OK;
}

/* Old files have "rope_scaling" and a "rope_theta" of its own, new ones "rope_parameters" that holds both.
 * Where a file has both, they must agree in what they share; *merged (owned by the caller) is their union. */
static int merge(json_t **merged, const json_t *json, const char *path, osv_error *e)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    *merged = json_object();
    if (!*merged) return no_memory(path, e);
    for (int i = 0; i < 2; i++) {
        json_t *part = json_object_get(json, keys[i]);
        if (!part || json_is_null(part)) continue;
        if (!json_is_object(part)) return osv_config_fail_value(json, keys[i], "an object, or null", path, e);
        OSV_TRY(add_keys(*merged, part, path, e));
    }
    return OSV_OK;
}

/* The same for a family whose sliding blocks have an embedding of their own: "rope_parameters" holds an
 * object for each type of block, "rope_scaling" is of the full ones. */
static int merge_typed(json_t **merged, const json_t *json, int which, const char *path, osv_error *e)
{
    json_t *scaling = json_object_get(json, "rope_scaling"), *all = json_object_get(json, "rope_parameters");
    if (json_is_null(scaling)) scaling = NULL;
    if (json_is_null(all)) all = NULL;
    *merged = json_object();
    if (!*merged) return no_memory(path, e);
    if (scaling && !json_is_object(scaling))
        return osv_config_fail_value(json, "rope_scaling", "an object, or null", path, e);
    if (scaling && which == GLOBAL) OSV_TRY(add_keys(*merged, scaling, path, e));
    if (!all) return OSV_OK;
    if (!json_is_object(all))
        return osv_config_fail_value(json, "rope_parameters", "an object, or null", path, e);
    const char *key;
    json_t *value;
    json_object_foreach(all, key, value)
    {
        bool typed = strcmp(key, LAYER_TYPE[GLOBAL]) == 0 || strcmp(key, LAYER_TYPE[LOCAL]) == 0;
        if (!typed || !(json_is_object(value) || json_is_null(value)))
            return osv_config_fail_value(
                all, key, "an object each for \"full_attention\" and \"sliding_attention\"", path, e);
    }
    json_t *part = json_object_get(all, LAYER_TYPE[which]);
    return json_is_object(part) ? add_keys(*merged, part, path, e) : OSV_OK;
}

/* ---- one embedding ---- */

/* Where an original context is missing, it is the whole one; a key beside the embedding's object wins. */
static int read_original(osv_rope *r, double missing, const json_t *rope, const json_t *json,
                         const char *path, osv_error *e)
{
    r->original = missing;
    OSV_TRY(osv_config_above_zero(rope, "original_max_position_embeddings", false, &r->original, path, e));
    return osv_config_above_zero(json, "original_max_position_embeddings", false, &r->original, path, e);
}

static int read_llama3(osv_rope *r, const json_t *rope, const char *path, osv_error *e)
{
    OSV_TRY(osv_config_above_zero(rope, "factor", true, &r->factor, path, e));
    OSV_TRY(osv_config_above_zero(rope, "low_freq_factor", true, &r->low_freq, path, e));
    OSV_TRY(osv_config_above_zero(rope, "high_freq_factor", true, &r->high_freq, path, e));
    if (!(r->high_freq > r->low_freq))
        return osv_config_fail_value(rope, "high_freq_factor", "above low_freq_factor", path, e);
    return OSV_OK;
}

/* 0.1 m ln(factor) + 1: how much sharper attention becomes over a longer context */
static double sharpness(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static int read_yarn(osv_rope *r, const osv_config *c, const json_t *rope, const char *path, osv_error *e)
{
    double mscale = 0, mscale_all = 0;
    r->factor = c->positions / r->original; /* where it is null */
    if (!json_is_null(json_object_get(rope, "factor")))
        OSV_TRY(osv_config_above_zero(rope, "factor", true, &r->factor, path, e));
    r->beta_fast = 32;
    r->beta_slow = 1;
    r->truncate = true;
    OSV_TRY(osv_config_above_zero(rope, "beta_fast", false, &r->beta_fast, path, e));
    OSV_TRY(osv_config_above_zero(rope, "beta_slow", false, &r->beta_slow, path, e));
    OSV_TRY(osv_json_bool(rope, "truncate", false, &r->truncate, path, e));
    OSV_TRY(osv_json_number(rope, "mscale", false, &mscale, path, e));
    OSV_TRY(osv_json_number(rope, "mscale_all_dim", false, &mscale_all, path, e));
    r->scale = sharpness(r->factor, 1);
    if (mscale != 0 && mscale_all != 0)
        r->scale = sharpness(r->factor, mscale) / sharpness(r->factor, mscale_all);
    if (!(r->scale > 0) || !isfinite(r->scale))
        return osv_config_fail_value(rope, "mscale", "above 0", path, e);
    if (!(r->theta > 1))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"rope_theta\" is %g; supported with yarn: above 1", path,
                        r->theta);
    return osv_config_above_zero(rope, "attention_factor", false, &r->scale, path, e);
}

static int read_factors(double *out, int pairs, const json_t *rope, const char *key, const char *path,
                        osv_error *e)
{
    const json_t *list = json_object_get(rope, key);
    bool good = json_array_size(list) == (size_t)pairs;
    for (int i = 0; good && i < pairs; i++) {
        out[i] = json_number_value(json_array_get(list, (size_t)i));
        good = out[i] > 0 && isfinite(out[i]);
    }
    if (good) return OSV_OK;
    return OSV_FAIL(
        e, OSV_BAD_INPUT,
        "%s: \"%s\" must be an array of %d numbers above 0, one for each pair of rotary components", path,
        key, pairs);
}

static int read_longrope(osv_rope *r, const osv_config *c, const json_t *rope, const char *path, osv_error *e)
{
    double factor = c->positions / r->original;
    int pairs = c->rot / 2;
    if (pairs > OSV_MAX_PAIRS)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: longrope of %d rotary components; supported: at most %d", path,
                        c->rot, 2 * OSV_MAX_PAIRS);
    if (!(r->original > 1))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"original_max_position_embeddings\" is %g; supported with longrope: above 1",
                        path, r->original);
    OSV_TRY(osv_config_above_zero(rope, "factor", false, &factor, path, e));
    OSV_TRY(read_factors(r->short_factor, pairs, rope, "short_factor", path, e));
    OSV_TRY(read_factors(r->long_factor, pairs, rope, "long_factor", path, e));
    r->scale = factor <= 1 ? 1 : sqrt(1 + log(factor) / log(r->original));
    return osv_config_above_zero(rope, "attention_factor", false, &r->scale, path, e);
}

static int find_kind(osv_rope_kind *kind, const osv_family *f, const json_t *rope, const char *path,
                     osv_error *e)
{
    static const struct {
        const char *name;
        osv_rope_kind kind;
    } kinds[] = {{"default", OSV_ROPE_DEFAULT},
                 {"linear", OSV_ROPE_LINEAR},
                 {"llama3", OSV_ROPE_LLAMA3},
                 {"yarn", OSV_ROPE_YARN},
                 {"longrope", OSV_ROPE_LONGROPE}};
    const char *type = "default", *type_key = json_object_get(rope, "rope_type") ? "rope_type" : "type";
    OSV_TRY(osv_json_string(rope, type_key, false, &type, path, e));
    /* Phi-3's older names of the same */
    if (f->longrope_only && (strcmp(type, "su") == 0 || strcmp(type, "yarn") == 0)) type = "longrope";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        *kind = kinds[i].kind;
        bool here = !f->longrope_only || *kind == OSV_ROPE_DEFAULT || *kind == OSV_ROPE_LONGROPE;
        if (strcmp(type, kinds[i].name) == 0 && here) return OSV_OK;
    }
    return osv_config_fail_value(
        rope, type_key, f->longrope_only ? "default, longrope" : "default, linear, llama3, yarn, longrope",
        path, e);
}

/* One embedding from the union of its keys; `theta` where there is none. */
static int read_one(osv_rope *r, const osv_config *c, const osv_family *f, double theta, const json_t *rope,
                    const json_t *json, const char *path, osv_error *e)
{
    r->theta = theta;
    r->scale = 1;
    OSV_TRY(osv_config_above_zero(rope, "rope_theta", false, &r->theta, path, e));
    OSV_TRY(find_kind(&r->kind, f, rope, path, e));
    OSV_TRY(osv_config_known_rope_keys(rope, r->kind, path, e));
    OSV_TRY(read_original(r, f->original > 0 ? f->original : c->positions, rope, json, path, e));
    switch (r->kind) {
    case OSV_ROPE_DEFAULT: return OSV_OK;
    case OSV_ROPE_LINEAR: return osv_config_above_zero(rope, "factor", true, &r->factor, path, e);
    case OSV_ROPE_LLAMA3: return read_llama3(r, rope, path, e);
    case OSV_ROPE_YARN: return read_yarn(r, c, rope, path, e);
    case OSV_ROPE_LONGROPE: return read_longrope(r, c, rope, path, e);
    }
    return OSV_OK;
}

/* ---- partial rotary ---- */

static int read_rot(osv_config *c, const osv_family *f, const json_t *rope, const json_t *json,
                    const char *path, osv_error *e)
{
    const json_t *places[] = {json, rope};
    double partial = 1;
    for (int i = 0; i < 2; i++) {
        double given = partial;
        OSV_TRY(osv_json_number(places[i], "partial_rotary_factor", false, &given, path, e));
        if (given != 1 && !f->partial_rope)
            return osv_config_fail_value(places[i], "partial_rotary_factor", "1 in this family", path, e);
        int rot = given > 0 && given <= 1 ? (int)(c->E * given) : 0;
        if (rot < 2 || rot % 2)
            return osv_config_fail_value(places[i], "partial_rotary_factor",
                                         "above 0 and at most 1, and an even share of head_dim", path, e);
        partial = given; /* the embedding's own wins */
        c->rot = rot;
    }
    return OSV_OK;
}

/* ---- all of it ---- */

/* The embedding of `which` blocks; GLOBAL: of all, where the family has one alone. */
static int read_rope(osv_config *c, const osv_family *f, int which, const json_t *json, const char *path,
                     osv_error *e)
{
    double theta = which == LOCAL ? 1e4 : f->theta;
    const char *theta_key = which == LOCAL ? "rope_local_base_freq" : "rope_theta";
    json_t *rope;
    int status = f->local_rope ? merge_typed(&rope, json, which, path, e) : merge(&rope, json, path, e);
    if (!status) status = read_rot(c, f, rope, json, path, e);
    if (!status) status = osv_config_above_zero(json, theta_key, false, &theta, path, e);
    if (!status) status = read_one(&c->rope[which], c, f, theta, rope, json, path, e);
    json_decref(rope);
    return status;
}

int osv_config_rope(osv_config *c, const osv_family *f, const json_t *json, const char *path, osv_error *e)
{
    c->ropes = f->local_rope ? 2 : 1;
    OSV_TRY(read_rope(c, f, GLOBAL, json, path, e));
    return f->local_rope ? read_rope(c, f, LOCAL, json, path, e) : OSV_OK;
}
