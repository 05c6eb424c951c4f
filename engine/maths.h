/* What lets forward and backward read as lists of maths: OP(rmsnorm, h, x, ...) calls the operator of the
 * step's filling; lists of outputs, inputs and weights for matmul. */
#ifndef OSV_ENGINE_MATHS_H
#define OSV_ENGINE_MATHS_H

#define OP(name, ...) o->name(o, __VA_ARGS__)
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
