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

static int check_keys(const json_t *value, const char *where, osv_error *e)
{
    static const char *const known[] = {"prompt", "messages", "prefill", "times"};
    const char *key;
    json_t *ignored;
    json_object_foreach((json_t *)value, key, ignored)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) found |= strcmp(key, known[i]) == 0;
        if (!found)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: unknown key \"%.80s\"; known are prompt, messages, prefill, times", where,
                            key);
    }
    return OSV_OK;
}

static int read_under(osv_target *t, osv_ids *under, const json_t *value, const osv_prompt_options *options,
                      const char *where, osv_error *e)
{
    osv_prompt_line prompt = {0};
    *t = (osv_target){OSV_TARGET_UNSTEERED, 1};
    OSV_TRY(check_keys(value, where, e));
    OSV_TRY(osv_json_number(value, "times", false, &t->x, where, e));
    if (!(t->x > 0))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"times\" is %g; it must be above 0", where, t->x);
    int status = osv_prompt_read(&prompt, value, options, where, e);
    *under = prompt.ids; /* the caller's from here */
    prompt.ids = (osv_ids){0};
    osv_prompt_line_free(&prompt);
    return status;
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
