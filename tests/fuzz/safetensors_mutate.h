/* Mutations that know what a safetensors file is: the header's offsets fit the data, but for one field that
 * is broken on purpose in half of the files. A target that reads such files says what they are made of. */
#ifndef OSV_TESTS_FUZZ_SAFETENSORS_MUTATE_H
#define OSV_TESTS_FUZZ_SAFETENSORS_MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const char *const fuzz_names[];    /* of tensors; NULL ends them */
extern const char *const fuzz_metadata[]; /* key, value, key, value, .., NULL */

/* Called for every file that is made: `whole` has to be read, any other refused. */
void fuzz_made(const uint8_t *data, size_t bytes, bool whole);

#endif
