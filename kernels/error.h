/* Status codes and the one sticky first error.
 *
 * Every function that can fail returns an int: OSV_OK (0) or one of the codes below, which are also the exit
 * codes of the tools. The text travels beside it in an osv_error that the caller owns and passes down; the
 * first failure is kept with its place, later ones are ignored, so the message a user reads is always the
 * cause and not a consequence. Messages say what is wrong, where (file, tensor, key, line, byte), and what
 * was expected or what to do. */
#ifndef OSV_KERNELS_ERROR_H
#define OSV_KERNELS_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    OSV_OK = 0,
    OSV_USAGE = 2,         /* the command line, or a combination of options, makes no sense */
    OSV_BAD_INPUT = 3,     /* a file is wrong, missing, or asks for what is not supported */
    OSV_DEVICE = 4,        /* device, memory or communication */
    OSV_INTERRUPTED = 130, /* SIGINT, after saving */
    OSV_TERMINATED = 143,  /* SIGTERM, after saving */
} osv_status;

typedef struct {
    int status;       /* OSV_OK until the first failure */
    const char *file; /* source file and line of the failure, for bug reports */
    int line;
    char text[1024]; /* one sentence for the user */
} osv_error;

/* Keeps the failure if it is the first; returns the status that is kept (never OSV_OK). */
int osv_error_set(osv_error *e, int status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* return OSV_FAIL(e, OSV_BAD_INPUT, "%s: ...", path); */
#define OSV_FAIL(e, status, ...) osv_error_set(e, status, __FILE__, __LINE__, __VA_ARGS__)

/* Relays a failure upwards. Functions with something to release use `if ((status = f())) goto done;` instead.
 */
#define OSV_TRY(call)                \
    do {                             \
        int status_ = (call);        \
        if (status_) return status_; \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
