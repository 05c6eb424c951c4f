/* JSON Lines in, JSON Lines out: text to ids, ids to text, conversations to text. */
#ifndef OSV_TOOLS_INSPECT_LINES_H
#define OSV_TOOLS_INSPECT_LINES_H

#include "tools/inspect_options.h"

/* --tokenize, --detokenize or --render, whichever was given. A line of output is written as soon as its line
 * of input is there. */
int inspect_lines(const inspect_options *o, osv_error *e);

#endif
