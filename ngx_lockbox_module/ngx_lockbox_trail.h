/*
 * Audit records on their way to the streams of their tenants: a bounded ring
 * of entries, and a count of what did not fit.  Pure: no I/O, no clock.
 *
 * An entry is a line "count size +tenant" and, behind it, the records of one
 * tenant that follow each other: so many (4 digits), with their line feeds.
 * "size" is that of the whole entry in bytes (7 digits).  The sign is "-" when
 * no stream is to begin with any of them.
 */

#ifndef _NGX_LOCKBOX_TRAIL_H_INCLUDED_
#define _NGX_LOCKBOX_TRAIL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Bytes of the longest tenant that is taken. */
#define NGX_LOCKBOX_TRAIL_TENANT  64

/* Bytes of the longest entry. */
#define NGX_LOCKBOX_TRAIL_ENTRY   9999999

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
    u_char                   *pos;          /* the oldest entry */
    u_char                   *last;         /* where the next record goes */
    u_char                   *wrap;         /* the end of what lies before
                                               "start" again; NULL: nothing */
    size_t                    share;        /* bytes of an entry that several
                                               records share, at most */
    u_char                   *open;         /* the newest entry, while it may
                                               get more; NULL: it may not */
    ngx_str_t                 tenant;       /* of "open", in it */
    ngx_uint_t                count;        /* records in "open" */
    uint64_t                  number;       /* of the record that "pos" begins
                                               with, from 1 */
    ngx_uint_t                nameless;     /* lost beyond all of "losses" */
    ngx_lockbox_trail_loss_t  losses[NGX_LOCKBOX_TRAIL_LOSSES];
} ngx_lockbox_trail_t;


/*
 * An empty ring over the caller's memory, which must outlive it.  Records
 * share an entry while it has "share" bytes at most.
 */
void ngx_lockbox_trail_init(ngx_lockbox_trail_t *trail, u_char *memory,
    size_t size, size_t share);

/*
 * Puts a record behind the others, in an entry with the one before it or in
 * its own; "begins" if a stream may begin with it.  The record ends with a
 * line feed and has no other; the tenant is 1 to NGX_LOCKBOX_TRAIL_TENANT
 * bytes without a blank or a line feed.  NGX_DECLINED when there is no room:
 * nothing was put then.
 */
ngx_int_t ngx_lockbox_trail_put(ngx_lockbox_trail_t *trail,
    const ngx_str_t *tenant, ngx_uint_t begins, const ngx_str_t *record);

/*
 * The oldest entries that lie together, of "max" bytes at most, but at least
 * one if there is any; empty when there is none.  They stay where and as they
 * are until they are taken off.  Returns 1 if they are all there is.
 */
ngx_uint_t ngx_lockbox_trail_look(ngx_lockbox_trail_t *trail, size_t max,
    ngx_str_t *entries);

/* Takes off the oldest "len" bytes, which ngx_lockbox_trail_look() gave. */
void ngx_lockbox_trail_take(ngx_lockbox_trail_t *trail, size_t len);

/* Bytes that wait. */
size_t ngx_lockbox_trail_left(const ngx_lockbox_trail_t *trail);

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
