#include <criterion/criterion.h>
#include <string.h>

#include "kernels/error.h"

Test(error, first_failure_sticks)
{
    osv_error e = {0};
    cr_assert_eq(OSV_FAIL(&e, OSV_BAD_INPUT, "%s: first", "model.safetensors"), OSV_BAD_INPUT);
    cr_assert_eq(OSV_FAIL(&e, OSV_DEVICE, "second"), OSV_BAD_INPUT);
    cr_assert_str_eq(e.text, "model.safetensors: first");
    cr_assert(strstr(e.file, "error.c") != NULL);
}
