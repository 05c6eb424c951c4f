/* What lets forward and backward read as lists of maths: OP(rmsnorm, h, x, ...) calls the operator of the
 * step's filling, with whoever looks on being told; ACROSS does it for an operator between ranks; lists of
 * outputs, inputs and weights for matmul. BEGIN and END enclose a part of the work in the same way. */
#ifndef OSV_ENGINE_MATHS_H
#define OSV_ENGINE_MATHS_H

#define BEGIN(name, number) (o->watch ? o->watch->begin(o->watch->context, o, name, number) : (void)0)
#define END(name, number)   (o->watch ? o->watch->end(o->watch->context, o, name, number) : (void)0)

#define OP(name, ...)     (BEGIN(#name, -1), o->name(o, __VA_ARGS__), END(#name, -1))
#define ACROSS(name, ...) (BEGIN(#name, -1), g->comm->name(g->comm, __VA_ARGS__), END(#name, -1))
#define OUT(...)        \
    (osv_real *const[]) \
    {                   \
        __VA_ARGS__     \
    }
#define IN(...)               \
    (const osv_real *const[]) \
    {                         \
        __VA_ARGS__           \
    }
#define W(...)                  \
    (const osv_weight *const[]) \
    {                           \
        __VA_ARGS__             \
    }

#endif
