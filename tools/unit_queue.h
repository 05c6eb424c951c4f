/* Who trains which unit of a run: kept by rank 0 of all ranks, asked by the first rank of every replica.
 * Knows no network. Calls may come from several threads. */
#ifndef OSV_TOOLS_UNIT_QUEUE_H
#define OSV_TOOLS_UNIT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/error.h"

typedef struct unit_queue unit_queue;

/* What a replica says. It may go from machine to machine as it is. */
typedef enum {
    UNIT_HELLO, /* it is there, and has this memory for bins */
    UNIT_NEXT,  /* what is to be trained now? */
    UNIT_LEAVE, /* it goes, because it was interrupted or has failed */
    UNIT_STILL, /* is what it trains still wanted? */
} unit_question;
typedef struct {
    int run; /* --reentrant makes two of them, numbered from 0 */
    unit_question question;
    int unit;      /* NEXT, LEAVE: that it had, or less than 0; */
    int ended;     /* trained to its end, else it is handed back */
    int status;    /* LEAVE: with this one */
    size_t memory; /* HELLO */
} unit_request;

/* What it is told. */
enum {
    UNIT_WAIT = -1, /* nothing yet: ask again */
    UNIT_ALL = -2,  /* all units have ended; told to replica 0 alone */
    UNIT_OVER = -3, /* the run is over, or has to end */
};
typedef struct {
    int unit;      /* to be trained, 0 or more, or one of these */
    int status;    /* UNIT_OVER: how it ended */
    size_t memory; /* HELLO: the least of all replicas */
} unit_answer;

int unit_queue_open(unit_queue **q, int replicas, osv_error *e);
void unit_queue_close(unit_queue *q);

unit_answer unit_queue_answer(unit_queue *q, int replica, const unit_request *request);
/* The replica is gone: its unit is for others. */
void unit_queue_lost(unit_queue *q, int replica);

/* The units of the run at hand; ended [units]: those that have been trained before. */
int unit_queue_fill(unit_queue *q, int units, const bool *ended, osv_error *e);
/* The run is to end: who asks is told, with this status. */
void unit_queue_stop(unit_queue *q, int status);
/* Has no replica a unit any more? */
bool unit_queue_idle(unit_queue *q);
/* The run is over, with this status; requests are of the next one from here. */
void unit_queue_finish(unit_queue *q, int status);

/* How many there are, and how many of them have ended. */
int unit_queue_count(unit_queue *q, int *units);
/* A replica that is lost, each once; -1: none. */
int unit_queue_news(unit_queue *q);

#endif
