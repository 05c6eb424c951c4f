/* bench-tokenizer: how long a tokenizer takes to load, and how fast it encodes and decodes text made here.
 * CSV on standard output; bench/README.md says what the columns mean.
 *
 * Words of the text are drawn from a list by Zipf's law, as those of a language are, since an encoder that
 * remembers words lives from their frequencies. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/host.h"
#include "loader/tokenizer.h"
#include "tools/options.h"
#include "version.h"

static const char program[] = "bench-tokenizer";

/* ---- options ---- */

typedef struct {
    double megabytes;
    int repeats;
    bool help;
} options;

#define FIELD(name) .offset = offsetof(options, name)

static const osv_option option_table[] = {
    {"megabytes", "X", "1", "of text, 10^6 bytes", OSV_OPTION_NUMBER, FIELD(megabytes), .low = 0.001,
     .high = 100, .group = "What is measured:"},
    {"repeats", "N", "5", "the best of so many is printed", OSV_OPTION_INT, FIELD(repeats), .low = 1,
     .high = 1000},
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {0},
};

/* ---- text ---- */

enum { WORDS = 20000, WORD_ROOM = 24 };

typedef struct {
    char word[WORDS][WORD_ROOM];
    double up_to[WORDS]; /* sum of the frequencies, by Zipf's law */
    unsigned long long state;
    char *text;
    size_t bytes, room;
} writer;

/* splitmix64: the same text on every machine. */
static unsigned long long draw(writer *w)
{
    unsigned long long z = w->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(writer *w, size_t n)
{
    return (size_t)(draw(w) % n);
}

static void make_words(writer *w)
{
    static const char *const onset[] = {"b",  "c",  "d",  "f",  "g",  "h",  "l",  "m",  "n",  "p",
                                        "r",  "s",  "t",  "w",  "st", "th", "ch", "sh", "pr", "br",
                                        "tr", "gr", "cl", "pl", "",   "qu", "v",  "k",  "j",  "y"};
    static const char *const rhyme[] = {"a",  "e",   "i",  "o",  "u",   "ing", "er", "on", "an", "al",
                                        "in", "ent", "ly", "es", "ate", "ion", "ed", "ou", "ea", "ight"};
    double sum = 0;
    for (int i = 0; i < WORDS; i++) {
        char *to = w->word[i];
        size_t syllables = i < 100 ? 1 : i < 2000 ? 1 + below(w, 2) : 1 + below(w, 4);
        for (size_t k = 0; k < syllables; k++)
            to += sprintf(to, "%s%s", onset[below(w, sizeof onset / sizeof *onset)],
                          rhyme[below(w, sizeof rhyme / sizeof *rhyme)]);
        w->up_to[i] = sum += 1.0 / (i + 2.7);
    }
}

static const char *word(writer *w)
{
    double x = (double)(draw(w) >> 11) * 0x1p-53 * w->up_to[WORDS - 1];
    int low = 0, high = WORDS - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (w->up_to[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return w->word[low];
}

static void say(writer *w, const char *text)
{
    size_t bytes = strlen(text);
    if (w->bytes + bytes > w->room) return;
    memcpy(w->text + w->bytes, text, bytes);
    w->bytes += bytes;
}

static void write_prose(writer *w)
{
    static const char *const end[] = {".", ".", ".", ",", ",", "!", "?", ";", ".\n", "\"", "'s", " -"};
    size_t words = 4 + below(w, 12);
    for (size_t i = 0; i < words; i++) {
        char first[WORD_ROOM];
        snprintf(first, sizeof first, "%s", word(w));
        if (i == 0 && first[0] >= 'a' && first[0] <= 'z') first[0] += 'A' - 'a';
        say(w, first);
        if (below(w, 60) == 0) {
            char number[16];
            snprintf(number, sizeof number, " %zu", below(w, 10000));
            say(w, number);
        }
        if (i + 1 == words || below(w, 9) == 0) say(w, end[below(w, sizeof end / sizeof *end)]);
        say(w, " ");
    }
}

static void write_code(writer *w)
{
    char line[128];
    static const char *const form[] = {"    %s = %s(%s, 0x%zx);\n", "if (%s->%s != %s[%zu]) {\n",
                                       "\treturn %s.%s + %s * %zu;\n", "// %s %s %s %zu\n",
                                       "        self.%s_%s = {\"%s\": %zu}\n"};
    switch (below(w, 5)) {
    case 0: snprintf(line, sizeof line, form[0], word(w), word(w), word(w), below(w, 65536)); break;
    case 1: snprintf(line, sizeof line, form[1], word(w), word(w), word(w), below(w, 100)); break;
    case 2: snprintf(line, sizeof line, form[2], word(w), word(w), word(w), below(w, 100)); break;
    case 3: snprintf(line, sizeof line, form[3], word(w), word(w), word(w), below(w, 1000)); break;
    default: snprintf(line, sizeof line, form[4], word(w), word(w), word(w), below(w, 10)); break;
    }
    say(w, line);
}

/* Letters of several scripts, each with its own frequencies, and emoji. */
static void write_scripts(writer *w)
{
    static const struct {
        unsigned first, count;
    } script[] = {{0x3b1, 24}, {0x430, 32},  {0x5d0, 26},    {0x627, 36},    {0x905, 50},
                  {0xe01, 40}, {0x3042, 80}, {0x4e00, 6000}, {0xac00, 9000}, {0x1f600, 60}};
    size_t which = below(w, sizeof script / sizeof *script), words = 2 + below(w, 8);
    for (size_t i = 0; i < words; i++) {
        for (size_t letters = 1 + below(w, 8); letters > 0; letters--) {
            size_t x = below(w, script[which].count), y = below(w, script[which].count);
            unsigned c = script[which].first + (unsigned)(x < y ? x : y);
            char utf8[5] = {0};
            if (c < 0x800) {
                utf8[0] = (char)(0xc0 | c >> 6), utf8[1] = (char)(0x80 | (c & 63));
            } else if (c < 0x10000) {
                utf8[0] = (char)(0xe0 | c >> 12), utf8[1] = (char)(0x80 | (c >> 6 & 63));
                utf8[2] = (char)(0x80 | (c & 63));
            } else {
                utf8[0] = (char)(0xf0 | c >> 18), utf8[1] = (char)(0x80 | (c >> 12 & 63));
                utf8[2] = (char)(0x80 | (c >> 6 & 63)), utf8[3] = (char)(0x80 | (c & 63));
            }
            say(w, utf8);
        }
        say(w, " ");
    }
}

static const struct {
    const char *name;
    void (*write)(writer *w);
} kinds[] = {{"prose", write_prose}, {"code", write_code}, {"scripts", write_scripts}};

/* ---- measuring ---- */

/* Time on the processor: what else the machine does counts for nothing. */
static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct {
    const options *o;
    const char *dir;
    osv_tokenizer *t;
    double load; /* seconds */
} bench;

static int measure(const bench *b, const writer *w, const char *kind, osv_error *e)
{
    double encode = INFINITY, decode = INFINITY;
    int count = 0;
    for (int i = 0; i < b->o->repeats; i++) {
        osv_ids ids = {0};
        char *text = NULL;
        double start = seconds();
        int status = osv_tokenizer_encode(b->t, w->text, w->bytes, false, &ids, e);
        double middle = seconds();
        if (!status) status = osv_tokenizer_decode(b->t, ids.data, ids.count, false, &text, NULL, e);
        decode = fmin(decode, seconds() - middle);
        encode = fmin(encode, middle - start);
        count = ids.count;
        free(text);
        osv_ids_free(&ids);
        OSV_TRY(status);
    }
    char about[128]; /* without the commas of the table */
    snprintf(about, sizeof about, "%s", osv_tokenizer_about(b->t));
    for (char *c = about; *c; c++)
        if (*c == ',') *c = ';';
    printf("%s,%s,%s,%d,%.1f,%zu,%d,%.2f,%.2f\n", b->dir, about, kind, osv_tokenizer_size(b->t),
           1e3 * b->load, w->bytes, count, 1e-6 * (double)w->bytes / encode,
           1e-6 * (double)w->bytes / decode);
    fflush(stdout);
    return OSV_OK;
}

static int measure_dir(bench *b, writer *w, osv_error *e)
{
    b->load = INFINITY;
    for (int i = 0; i < b->o->repeats; i++) {
        osv_tokenizer_close(b->t);
        double start = seconds();
        OSV_TRY(osv_tokenizer_open(&b->t, b->dir, e));
        b->load = fmin(b->load, seconds() - start);
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        w->state = k;
        w->bytes = 0;
        while (w->bytes + 256 < w->room) kinds[k].write(w);
        OSV_TRY(measure(b, w, kinds[k].name, e));
    }
    return OSV_OK;
}

static int run(const options *o, const char **dir, int dirs, osv_error *e)
{
    char processor[64];
    if (dirs == 0) return OSV_FAIL(e, OSV_USAGE, "no model directory given");
    writer *w = calloc(1, sizeof *w);
    if (w) w->room = (size_t)(1e6 * o->megabytes);
    if (!w || !(w->text = malloc(w->room))) return OSV_FAIL(e, OSV_DEVICE, "no memory for the text");
    make_words(w);
    osv_host_processor(processor, sizeof processor);
    printf("# program: %s %s, commit %s\n# hardware: %s, 1 thread\n", program, OSV_VERSION, OSV_COMMIT,
           processor);
    printf("directory,tokenizer,text,size,load_ms,bytes,ids,encode_mbytes_per_s,decode_mbytes_per_s\n");
    int status = OSV_OK;
    for (int i = 0; i < dirs && !status; i++) {
        bench b = {.o = o, .dir = dir[i]};
        status = measure_dir(&b, w, e);
        osv_tokenizer_close(b.t);
    }
    free(w->text);
    free(w);
    return status;
}

int main(int argc, char **argv)
{
    osv_error e = {0};
    options o = {0};
    const char **dir = calloc((size_t)argc + 1, sizeof *dir);
    int dirs = 0;
    int status = dir ? osv_options_parse_operands(option_table, argc, argv, &o, dir, &dirs, &e)
                     : OSV_FAIL(&e, OSV_DEVICE, "out of memory");
    if (!status && o.help)
        osv_options_help(stdout, option_table, "usage: bench-tokenizer [options] MODEL_DIRECTORY...\n", "");
    else if (!status)
        status = run(&o, dir, dirs, &e);
    free(dir);
    if (status) fprintf(stderr, "%s: %s\n", program, e.text);
    return status;
}
