#include "loader/beam_wish.h"

#include <stdio.h>

#include "loader/json.h"

static int read_minus(osv_beam_wish *wish, const json_t *value, const osv_prompt_options *options,
                      const char *where, osv_error *e)
{
    char shown[64], place[512];
    if (!value || json_is_null(value)) return OSV_OK;
    snprintf(place, sizeof place, "%s: \"minus\"", where);
    if (!json_is_object(value))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s must be {\"prompt\": ..} or {\"messages\": ..}, not %s", place,
                        osv_json_show(value, shown, sizeof shown));
    OSV_TRY(osv_json_keys(value, "prompt, messages, prefill", place, e));
    return osv_prompt_ids(&wish->minus, value, options, place, e);
}

int osv_beam_wish_read(osv_beam_wish *wish, osv_target *target, const json_t *value,
                       const osv_prompt_options *options, const char *where, osv_error *e)
{
    char shown[64];
    *wish = (osv_beam_wish){0};
    if (json_is_true(value)) return OSV_OK;
    if (!json_is_object(value))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s must be true, false or an object, not %s", where,
                        osv_json_show(value, shown, sizeof shown));
    OSV_TRY(osv_json_keys(value, "prompt, messages, prefill, minus, times", where, e));
    if (json_object_get(value, "times")) OSV_TRY(osv_target_times(target, value, where, e));
    if (json_object_get(value, "prompt") || json_object_get(value, "messages") ||
        json_object_get(value, "prefill"))
        OSV_TRY(osv_prompt_ids(&wish->prompt, value, options, where, e));
    return read_minus(wish, json_object_get(value, "minus"), options, where, e);
}

void osv_beam_wish_free(osv_beam_wish *wish)
{
    osv_ids_free(&wish->prompt);
    osv_ids_free(&wish->minus);
}
