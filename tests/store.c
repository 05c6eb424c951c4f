#include "loader/store.h"

#include <stdint.h>

#include "files.h"

/* ---- indexes ---- */

#define MAP(entries) "{\"weight_map\": {" entries "}}"

/* To add a case: name, the index, what the message must say. good.safetensors holds a tensor "x". */
static const struct {
    const char *name, *index, *piece;
} indexes[] = {
    {"missing shard", MAP("\"x\": \"good.safetensors\", \"y\": \"gone.safetensors\""),
     "the shard gone.safetensors that"},
    {"parent folder", MAP("\"x\": \"../good.safetensors\""),
     "\"x\": expected the name of a .safetensors file in the same"},
    {"absolute path", MAP("\"x\": \"/etc/x.safetensors\""), "not \"/etc/x.safetensors\""},
    {"folder inside", MAP("\"x\": \"sub/good.safetensors\""), "not \"sub/good.safetensors\""},
    {"two dots", MAP("\"x\": \"..\""), "not \"..\""},
    {"hidden file", MAP("\"x\": \".safetensors\""), "not \".safetensors\""},
    {"other ending", MAP("\"x\": \"pytorch_model.bin\""), "not \"pytorch_model.bin\""},
    {"empty name", MAP("\"x\": \"\""), "not \"\""},
    {"control character", MAP("\"x\": \"a\\u0007.safetensors\""), "expected the name"},
    {"not a string", MAP("\"x\": 3"), "not 3"},
    {"tensor not in its file", MAP("\"x\": \"good.safetensors\", \"z\": \"good.safetensors\""),
     "says that tensor z is in good.safetensors, but it is not"},
    {"tensor in two files", MAP("\"x\": \"good.safetensors\", \"w\": \"twin.safetensors\""),
     "tensor x is also in"},
    {"broken shard", MAP("\"x\": \"cut.safetensors\""), "cut.safetensors: 3 bytes, too short"},
    {"shard is a folder", MAP("\"x\": \"dir.safetensors\""), "dir.safetensors: is not a regular file"},
    {"no map", "{}", "\"weight_map\" must be an object"},
    {"empty map", MAP(""), "\"weight_map\" must be an object"},
    {"map is a list", "{\"weight_map\": [\"good.safetensors\"]}", "\"weight_map\" must be an object"},
    {"array", "[]", "\"weight_map\" must be an object"},
    {"broken JSON", "{\"weight_map\": {\"x\"}}", "model.safetensors.index.json:1:"},
    {"the same tensor twice", MAP("\"x\": \"good.safetensors\", \"x\": \"good.safetensors\""),
     "duplicate object key"},
};

Test(store, broken_indexes, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    static const float one[1] = {1};
    osv_tensor_out out[] = {{"x", "F32", 1, {1}, one}, {"w", "F32", 1, {1}, one}};
    cr_assert_eq(osv_safetensors_write(temp_path("good.safetensors"), out, 1, NULL, 0, &e), OSV_OK);
    cr_assert_eq(osv_safetensors_write(temp_path("twin.safetensors"), out, 2, NULL, 0, &e), OSV_OK);
    temp_text("cut.safetensors", "abc");
    mkdir(temp_path("dir.safetensors"), 0777);
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        temp_text("model.safetensors.index.json", indexes[i].index);
        osv_store s;
        e = (osv_error){0};
        check_failure(indexes[i].name, osv_store_open(&s, temp_dir, &e), &e, OSV_BAD_INPUT, indexes[i].piece);
    }
    remove(temp_path("model.safetensors.index.json"));
    osv_store s;
    e = (osv_error){0};
    check_failure("no weights", osv_store_open(&s, temp_dir, &e), &e, OSV_BAD_INPUT,
                  "has neither model.safetensors nor model.safetensors.index.json");
}

/* ---- hash ---- */

static void hash_of(char hex[65], const char *config)
{
    osv_error e = {0};
    osv_store s;
    cr_assert_eq(osv_store_open(&s, temp_dir, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(osv_store_sha256(&s, config, strlen(config), hex, &e), OSV_OK, "%s", e.text);
    osv_store_close(&s);
}

static void hash_with_byte(char hex[65], size_t bytes, size_t changed)
{
    unsigned char *data = calloc(bytes, 1);
    if (changed < bytes) data[changed] = 1;
    osv_tensor_out out = {"t", "U8", 1, {(int64_t)bytes}, data};
    osv_error e = {0};
    cr_assert_eq(osv_safetensors_write(temp_path("model.safetensors"), &out, 1, NULL, 0, &e), OSV_OK);
    free(data);
    hash_of(hex, "{}");
}

Test(store, hash, .init = temp_open, .fini = temp_close)
{
    /* sha256 of "osv-model/1\n", 2 as 64 bits, "{}", "t\0U8\0" "3\0" and three zeros, by another program. */
    char plain[65], other[65];
    hash_with_byte(plain, 3, 3);
    cr_expect_str_eq(plain, "ce79437f2c5dfb0f0dd38f65439445ea62595a51f25abe96c5712c98d6ab083a");
    hash_with_byte(other, 3, 1);
    cr_expect_str_neq(other, plain);
    hash_with_byte(other, 3, 3);
    cr_expect_str_eq(other, plain);
    hash_of(other, "{ }");
    cr_expect_str_neq(other, plain);

    /* Beyond 1 MiB: the first and the last byte are seen, and byte 65536, between two windows, is not. */
    enum { BIG = (1 << 20) + (1 << 19) };
    hash_with_byte(plain, BIG, BIG);
    cr_expect_str_eq(plain, "b16c40b1e69130e18be540438fbba7c371de70b78509e0b18ee0064ac6d2003c");
    hash_with_byte(other, BIG, 0);
    cr_expect_str_neq(other, plain);
    hash_with_byte(other, BIG, BIG - 1);
    cr_expect_str_neq(other, plain);
    hash_with_byte(other, BIG, 65536);
    cr_expect_str_eq(other, plain);
}

/* An index of another maker. */
Test(store, foreign_index)
{
    const char *data = getenv("OSV_TEST_DATA");
    if (!data) cr_skip_test("OSV_TEST_DATA is not set: no foreign index to read");
    char dir[512];
    osv_error e = {0};
    osv_store s;
    snprintf(dir, sizeof dir, "%s/models/tiny-random-mlxd/tiny_qwen3_sharded_q4", data);
    cr_assert_eq(osv_store_open(&s, dir, &e), OSV_OK, "%s", e.text);
    cr_expect(s.files == 2 && s.count == 57 && osv_store_find(&s, "model.norm.weight"));
    osv_store_close(&s);
}
