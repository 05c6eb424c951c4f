/* cosine and norm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "optim/vector_math.h"
#include "tools/program.h"
#include "tools/text.h"
#include "tools/vector_verbs.h"

int vector_input_open(vector_input *v, const char *path, const vector_options *o, osv_error *e)
{
    v->path = path;
    OSV_TRY(osv_vector_open(&v->file, path, e));
    if (v->file.layers > 1)
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: is for %d layers at once; osv-vector %s takes files with one vector for one layer, "
            "osv-vector show tells what is in it",
            path, v->file.layers, vector_verb_name(o->verb));
    if (v->file.rows > 1)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: holds %s; osv-vector %s takes files with a vector alone, osv-vector show tells "
                        "what is in it",
                        path, v->file.form.offset ? "a clamp with an offset" : "an affine map",
                        vector_verb_name(o->verb));
    return OSV_OK;
}

/* ---- output as a whole ---- */

typedef struct {
    FILE *out;
    char *text;
    size_t bytes;
} page;

static int page_open(page *p, osv_error *e)
{
    *p = (page){0};
    p->out = open_memstream(&p->text, &p->bytes);
    return p->out ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "out of memory");
}

/* To standard output, or to the file `path`. */
static int page_write(page *p, const char *path, osv_error *e)
{
    int status = fclose(p->out) ? OSV_FAIL(e, OSV_DEVICE, "out of memory") : OSV_OK;
    if (!status)
        status = path ? osv_file_write(path, &(osv_piece){p->text, p->bytes}, 1, e)
                      : osv_program_write(p->text, p->bytes, e);
    free(p->text);
    return status;
}

static int print_line(FILE *out, json_t *line, osv_error *e)
{
    int failed = line ? json_dumpf(line, out, JSON_REAL_PRECISION(9)) : -1;
    json_decref(line);
    if (failed) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the results");
    fputc('\n', out);
    return OSV_OK;
}

/* ---- norm ---- */

static int print_norm(FILE *out, const vector_input *v, bool json, osv_error *e)
{
    const osv_vector_file *f = &v->file;
    double norm = osv_vector_norm(f->vector, f->D);
    char name[4096];
    if (json)
        return print_line(out,
                          json_pack("{s:o, s:f, s:i, s:o}", "file", osv_text_json(v->path), "norm", norm,
                                    "elements", f->D, "layer",
                                    f->layer[0] < 0 ? json_null() : json_integer(f->layer[0])),
                          e);
    fprintf(out, "%.9g  %s\n", norm, osv_show_name(name, sizeof name, v->path));
    return OSV_OK;
}

int vector_norm(const vector_options *o, osv_error *e)
{
    page p;
    OSV_TRY(page_open(&p, e));
    int status = OSV_OK;
    for (int i = 0; i < o->files && !status; i++) {
        vector_input v = {0};
        status = vector_input_open(&v, o->file[i], o, e);
        if (!status) status = print_norm(p.out, &v, o->json, e);
        osv_vector_free(&v.file);
    }
    int written = status ? OSV_OK : page_write(&p, NULL, e);
    if (status) {
        fclose(p.out);
        free(p.text);
    }
    return status ? status : written;
}

/* ---- cosine ---- */

typedef struct {
    int n;
    vector_input *input; /* [n] */
    double *cosine;      /* [n, n] */
} matrix;

static int fill(matrix *m, const vector_options *o, osv_error *e)
{
    size_t n = (size_t)o->files;
    *m = (matrix){.n = o->files, .input = calloc(n, sizeof *m->input)};
    m->cosine = calloc(n * n, sizeof *m->cosine);
    if (!m->input || !m->cosine) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %d vectors", m->n);
    for (int i = 0; i < m->n; i++) {
        OSV_TRY(vector_input_open(&m->input[i], o->file[i], o, e));
        const osv_vector_file *a = &m->input[0].file, *b = &m->input[i].file;
        if (a->D != b->D)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s has %d elements, %s has %d; only vectors of one length can be compared",
                            o->file[0], a->D, o->file[i], b->D);
        for (int j = 0; j <= i; j++)
            m->cosine[i * m->n + j] = m->cosine[j * m->n + i] =
                osv_vector_cosine(m->input[j].file.vector, b->vector, b->D);
    }
    return OSV_OK;
}

static void print_table(FILE *out, const matrix *m)
{
    bool color = osv_program_color();
    char name[4096];
    fputs(color ? "\033[1m     " : "     ", out);
    for (int j = 0; j < m->n; j++) fprintf(out, " %8d", j + 1);
    fprintf(out, "%s\n", color ? "\033[0m" : "");
    for (int i = 0; i < m->n; i++) {
        fprintf(out, "%5d", i + 1);
        for (int j = 0; j < m->n; j++) {
            double x = m->cosine[i * m->n + j];
            fprintf(out, isnan(x) ? "      nan" : " %8.5f", x);
        }
        fprintf(out, "  %s\n", osv_show_name(name, sizeof name, m->input[i].path));
    }
}

/* RFC 4180: in quotes, which are doubled within. */
static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_csv(FILE *out, const matrix *m)
{
    fputs("file", out);
    for (int j = 0; j < m->n; j++) {
        fputc(',', out);
        print_quoted(out, m->input[j].path);
    }
    for (int i = 0; i < m->n; i++) {
        fputc('\n', out);
        print_quoted(out, m->input[i].path);
        for (int j = 0; j < m->n; j++) {
            double x = m->cosine[i * m->n + j];
            fprintf(out, isnan(x) ? ",nan" : ",%.9g", x); /* without the sign that a NaN may have */
        }
    }
    fputc('\n', out);
}

static int print_matrix_json(FILE *out, const matrix *m, osv_error *e)
{
    json_t *files = json_array(), *rows = json_array();
    for (int i = 0; i < m->n; i++) {
        json_t *row = json_array();
        for (int j = 0; j < m->n; j++) json_array_append_new(row, osv_number_json(m->cosine[i * m->n + j]));
        json_array_append_new(files, osv_text_json(m->input[i].path));
        json_array_append_new(rows, row);
    }
    return print_line(out, json_pack("{s:o, s:o}", "files", files, "cosine", rows), e);
}

static int print(const matrix *m, const vector_options *o, osv_error *e)
{
    bool csv_only = o->csv && strcmp(o->csv, "-") == 0;
    page p;
    int shown = OSV_OK;
    OSV_TRY(page_open(&p, e));
    if (csv_only)
        print_csv(p.out, m);
    else if (o->json)
        shown = print_matrix_json(p.out, m, e);
    else
        print_table(p.out, m);
    int written = page_write(&p, NULL, e);
    if (!shown) shown = written;
    if (!o->csv || csv_only) return shown;
    /* After what is shown, which is not to be lost for a file that cannot be written. */
    OSV_TRY(page_open(&p, e));
    print_csv(p.out, m);
    written = page_write(&p, o->csv, e);
    return written ? written : shown;
}

int vector_cosine(const vector_options *o, osv_error *e)
{
    matrix m;
    int status = fill(&m, o, e);
    if (!status) status = print(&m, o, e);
    for (int i = 0; m.input && i < m.n; i++) osv_vector_free(&m.input[i].file);
    free(m.input);
    free(m.cosine);
    return status;
}
