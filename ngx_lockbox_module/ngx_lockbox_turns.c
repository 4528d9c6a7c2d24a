/*
 * Work that takes long and can wait: little of it in each turn of the event
 * loop, when all else that was ready has been done.
 */

#include "ngx_lockbox_turns.h"


/* Microseconds of a turn after which nothing more is begun in it. */
#define NGX_LOCKBOX_TURNS_ENOUGH  50


static void ngx_lockbox_turns_handler(ngx_event_t *ev);
static void ngx_lockbox_turns_one(ngx_lockbox_turns_t *turns);
static int64_t ngx_lockbox_turns_clock(void);


ngx_lockbox_turns_t *
ngx_lockbox_turns_create(ngx_pool_t *pool, ngx_log_t *log)
{
    ngx_lockbox_turns_t  *turns;

    turns = ngx_pcalloc(pool, sizeof(ngx_lockbox_turns_t));
    if (turns == NULL) {
        return NULL;
    }

    ngx_queue_init(&turns->waiting);

    turns->event.handler = ngx_lockbox_turns_handler;
    turns->event.data = turns;
    turns->event.log = log;

    return turns;
}


void
ngx_lockbox_turn_wait(ngx_lockbox_turns_t *turns, ngx_lockbox_turn_t *turn)
{
    ngx_queue_insert_tail(&turns->waiting, &turn->queue);
    turn->waits = 1;

    /* unless it is due in the next turn already */

    if (!turns->event.posted) {
        ngx_post_event(&turns->event, &ngx_posted_events);
    }
}


void
ngx_lockbox_turn_leave(ngx_lockbox_turn_t *turn)
{
    if (turn->waits) {
        ngx_queue_remove(&turn->queue);
        turn->waits = 0;
    }
}


static void
ngx_lockbox_turns_handler(ngx_event_t *ev)
{
    int64_t               start;
    ngx_lockbox_turns_t  *turns = ev->data;

    start = ngx_lockbox_turns_clock();

    while (!ngx_queue_empty(&turns->waiting)) {
        ngx_lockbox_turns_one(turns);

        if (ngx_lockbox_turns_clock() - start >= NGX_LOCKBOX_TURNS_ENOUGH) {
            break;
        }
    }

    /* whoever came to wait in the meantime may have posted it already */

    if (!ngx_queue_empty(&turns->waiting)) {
        if (ev->posted) {
            ngx_delete_posted_event(ev);
        }

        ngx_post_event(ev, &ngx_posted_next_events);
    }
}


static void
ngx_lockbox_turns_one(ngx_lockbox_turns_t *turns)
{
    ngx_queue_t         *q;
    ngx_lockbox_turn_t  *turn;

    q = ngx_queue_head(&turns->waiting);
    turn = ngx_queue_data(q, ngx_lockbox_turn_t, queue);

    ngx_lockbox_turn_leave(turn);

    turn->handler(turn->data);
}


/* nginx's own clock stands still within a turn. */

static int64_t
ngx_lockbox_turns_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
