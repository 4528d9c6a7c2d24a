/*
 * Audit records on their way to the streams of their tenants: a bounded ring
 * of lines, and a count of what did not fit.  Pure: no I/O, no clock.
 */

#ifndef _NGX_LOCKBOX_TRAIL_H_INCLUDED_
#define _NGX_LOCKBOX_TRAIL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Bytes of the longest tenant that is taken. */
#define NGX_LOCKBOX_TRAIL_TENANT  64

/* Tenants whose losses are counted apart. */
#define NGX_LOCKBOX_TRAIL_LOSSES  256


typedef struct {
    u_char                    text[NGX_LOCKBOX_TRAIL_TENANT];
    ngx_str_t                 tenant;       /* in "text" */
    ngx_uint_t                lost;         /* records; 0: the place is free */
    int64_t                   since;        /* of the first, Unix ms */
    int64_t                   until;        /* of the last */
} ngx_lockbox_trail_loss_t;


typedef struct {
    u_char                   *start;
    u_char                   *end;
    u_char                   *pos;          /* the oldest line */
    u_char                   *last;         /* where the next one goes */
    u_char                   *wrap;         /* the end of what lies before
                                               "start" again; NULL: nothing */
    uint64_t                  number;       /* of the line at "pos", from 1 */
    ngx_uint_t                nameless;     /* lost beyond all of "losses" */
    ngx_lockbox_trail_loss_t  losses[NGX_LOCKBOX_TRAIL_LOSSES];
} ngx_lockbox_trail_t;


/* An empty ring over the caller's memory, which must outlive it. */
void ngx_lockbox_trail_init(ngx_lockbox_trail_t *trail, u_char *memory,
    size_t size);

/*
 * Puts a record behind the others, as the line "+tenant record" or, when no
 * stream is to begin with it, "-tenant record".  The record ends with a line
 * feed and has no other; the tenant is 1 to NGX_LOCKBOX_TRAIL_TENANT bytes
 * without a blank.  NGX_DECLINED when there is no room: nothing was put then.
 */
ngx_int_t ngx_lockbox_trail_put(ngx_lockbox_trail_t *trail,
    const ngx_str_t *tenant, ngx_uint_t begins, const ngx_str_t *record);

/*
 * The oldest lines that lie together, whole ones of "max" bytes at most, but
 * at least one if there is any; empty when there is none.  They stay where
 * they are until they are taken off.  Returns 1 if they are all there is.
 */
ngx_uint_t ngx_lockbox_trail_look(const ngx_lockbox_trail_t *trail,
    size_t max, ngx_str_t *lines);

/* Takes off the oldest "len" bytes, which ngx_lockbox_trail_look() gave. */
void ngx_lockbox_trail_take(ngx_lockbox_trail_t *trail, size_t len);

/* Bytes that wait. */
size_t ngx_lockbox_trail_left(const ngx_lockbox_trail_t *trail);

/* Lines in a text of whole lines. */
ngx_uint_t ngx_lockbox_trail_count(const ngx_str_t *lines);

/* Counts a record of the tenant as lost at this time (Unix ms). */
void ngx_lockbox_trail_lose(ngx_lockbox_trail_t *trail,
    const ngx_str_t *tenant, int64_t now);

/*
 * The first tenant with losses at or behind "loss" (NULL: of all), or NULL.
 * The caller sets "lost" to 0 when they are marked.
 */
ngx_lockbox_trail_loss_t *ngx_lockbox_trail_loss(ngx_lockbox_trail_t *trail,
    ngx_lockbox_trail_loss_t *loss);


#endif /* _NGX_LOCKBOX_TRAIL_H_INCLUDED_ */
