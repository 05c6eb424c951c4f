#include <limits.h>
#include <stdlib.h>

#include "loader/tokenizer.h"

void osv_ids_free(osv_ids *ids)
{
    free(ids->data);
    *ids = (osv_ids){0};
}

int osv_ids_push(osv_ids *ids, int id, osv_error *e)
{
    if (ids->count == ids->room) {
        if (ids->room > INT_MAX / 2 - 64)
            return OSV_FAIL(e, OSV_DEVICE, "%d ids, more than an array takes", ids->count);
        int room = 2 * ids->room + 64;
        int *data = realloc(ids->data, (size_t)room * sizeof *data);
        if (!data) return OSV_FAIL(e, OSV_DEVICE, "no memory for %d ids", room);
        ids->data = data;
        ids->room = room;
    }
    ids->data[ids->count++] = id;
    return OSV_OK;
}
