#include "loader/config_parts.h"
#include "loader/json.h"

int osv_config_fail_value(const json_t *json, const char *key, const char *expected, const char *path,
                          osv_error *e)
{
    char shown[80];
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" is %s; supported: %s", path, key,
                    osv_json_show(json_object_get(json, key), shown, sizeof shown), expected);
}

int osv_config_above_zero(const json_t *json, const char *key, bool required, double *out, const char *path,
                          osv_error *e)
{
    OSV_TRY(osv_json_number(json, key, required, out, path, e));
    return *out > 0 ? OSV_OK : osv_config_fail_value(json, key, "a number above 0", path, e);
}
