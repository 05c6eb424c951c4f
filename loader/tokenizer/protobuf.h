/* The wire format of protocol buffers, as much of it as reading sentencepiece's model needs. */
#ifndef OSV_LOADER_TOKENIZER_PROTOBUF_H
#define OSV_LOADER_TOKENIZER_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const unsigned char *at, *end;
    bool broken; /* a field that cannot be read; nothing comes after it */
} osv_protobuf;

typedef struct {
    uint32_t number;
    uint64_t value;    /* of integers, booleans, enums and, as its bits, a float */
    const char *bytes; /* of strings, bytes and messages, else NULL */
    size_t count;
} osv_protobuf_field;

static inline uint64_t osv_protobuf_varint(osv_protobuf *p)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (p->at == p->end) break;
        unsigned char byte = *p->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    p->broken = true;
    return 0;
}

static inline uint64_t osv_protobuf_fixed(osv_protobuf *p, int bytes)
{
    uint64_t value = 0;
    if (p->end - p->at < bytes) p->broken = true;
    for (int i = 0; i < bytes && !p->broken; i++) value |= (uint64_t)*p->at++ << (8 * i);
    return value;
}

/* The next field; false at the end, and where there is none that can be read (`broken`). */
static inline bool osv_protobuf_next(osv_protobuf *p, osv_protobuf_field *f)
{
    if (p->broken || p->at == p->end) return false;
    uint64_t tag = osv_protobuf_varint(p);
    *f = (osv_protobuf_field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case 0: f->value = osv_protobuf_varint(p); break;
    case 1: f->value = osv_protobuf_fixed(p, 8); break;
    case 5: f->value = osv_protobuf_fixed(p, 4); break;
    case 2:
        f->value = osv_protobuf_varint(p);
        if (f->value > (uint64_t)(p->end - p->at)) p->broken = true;
        if (p->broken) break;
        f->bytes = (const char *)p->at;
        f->count = (size_t)f->value;
        p->at += f->count;
        break;
    default: p->broken = true;
    }
    if (tag >> 3 == 0 || tag >> 3 > UINT32_MAX) p->broken = true;
    return !p->broken;
}

#endif
