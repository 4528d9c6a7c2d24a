/*
 * Work that takes long and can wait: little of it in each turn of the event
 * loop, but one piece at least, when all else that was ready has been done.
 */

#ifndef _NGX_LOCKBOX_TURNS_H_INCLUDED_
#define _NGX_LOCKBOX_TURNS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef struct {
    ngx_queue_t             waiting;    /* of ngx_lockbox_turn_t */
    ngx_event_t             event;
} ngx_lockbox_turns_t;


/* A piece of work; memory of the caller's, zeroed. */
typedef struct {
    ngx_queue_t             queue;
    void                  (*handler)(void *data);
    void                   *data;
    unsigned                waits:1;
} ngx_lockbox_turn_t;


/* Pool memory; to be called in a worker.  NULL without memory. */
ngx_lockbox_turns_t *ngx_lockbox_turns_create(ngx_pool_t *pool,
    ngx_log_t *log);

/*
 * Waits behind all others.  The handler is called once, never from within
 * this function, unless the turn is given up before.
 */
void ngx_lockbox_turn_wait(ngx_lockbox_turns_t *turns,
    ngx_lockbox_turn_t *turn);

/* Gives the turn up; safe when it does not wait (any more). */
void ngx_lockbox_turn_leave(ngx_lockbox_turn_t *turn);


#endif /* _NGX_LOCKBOX_TURNS_H_INCLUDED_ */
