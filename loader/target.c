#include "loader/target.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loader/json.h"

bool osv_target_parse(osv_target *t, const char *text)
{
    const char *end = text + strspn(text, "+-.0123456789eE");
    char *read;
    *t = (osv_target){.kind = OSV_TARGET_UNSTEERED, .x = 1};
    if (strcmp(text, "unsteered") == 0) return true;
    t->x = strtod(text, &read);
    return end > text && read == end && strcmp(end, "x") == 0 && isfinite(t->x) && t->x > 0;
}

int osv_target_times(osv_target *t, const json_t *object, const char *where, osv_error *e)
{
    *t = (osv_target){OSV_TARGET_UNSTEERED, 1};
    OSV_TRY(osv_json_number(object, "times", false, &t->x, where, e));
    if (t->x > 0) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"times\" is %g; it must be above 0", where, t->x);
}

static int read_under(osv_target *t, osv_ids *under, const json_t *value, const osv_prompt_options *options,
                      const char *where, osv_error *e)
{
    OSV_TRY(osv_json_keys(value, "prompt, messages, prefill, times", where, e));
    OSV_TRY(osv_target_times(t, value, where, e));
    return osv_prompt_ids(under, value, options, where, e);
}

int osv_target_read(osv_target *t, osv_ids *under, const json_t *value, const osv_prompt_options *options,
                    const char *where, osv_error *e)
{
    char shown[64];
    *under = (osv_ids){0};
    if (json_is_object(value)) return read_under(t, under, value, options, where, e);
    *t = (osv_target){OSV_TARGET_NATS, json_number_value(value)};
    if (json_is_number(value)) return OSV_OK;
    if (json_is_string(value) && osv_target_parse(t, json_string_value(value))) return OSV_OK;
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s must be nats, \"unsteered\", a multiple such as \"0.75x\", {\"prompt\": ..} or null, "
                    "not %s",
                    where, osv_json_show(value, shown, sizeof shown));
}
