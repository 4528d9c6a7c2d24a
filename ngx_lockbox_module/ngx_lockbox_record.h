/*
 * One audit record: a flat JSON object on a line of its own.
 */

#ifndef _NGX_LOCKBOX_RECORD_H_INCLUDED_
#define _NGX_LOCKBOX_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Bytes of a text that are recorded; what is longer is cut and marked. */
#define NGX_LOCKBOX_RECORD_TEXT_MAX  1024


typedef enum {
    NGX_LOCKBOX_FIELD_TEXT = 0,     /* left out when empty */
    NGX_LOCKBOX_FIELD_TEXTS,        /* an array, left out when empty */
    NGX_LOCKBOX_FIELD_INTEGER,
    NGX_LOCKBOX_FIELD_TIME,         /* Unix milliseconds, as RFC 3339 UTC */
    NGX_LOCKBOX_FIELD_PART          /* what ngx_lockbox_record_part() wrote;
                                       has no name, left out when empty */
} ngx_lockbox_field_type_e;


typedef struct {
    ngx_lockbox_field_type_e   type;
    ngx_str_t                  name;    /* plain ASCII */
    const ngx_str_t           *text;    /* TEXT, PART, or the first of TEXTS */
    int64_t                    number;  /* INTEGER, TIME, or how many TEXTS */
} ngx_lockbox_field_t;


#define NGX_LOCKBOX_TIME_LEN  (sizeof("1970-01-01T00:00:00.000Z") - 1)


/*
 * Writes the fields as one line of valid UTF-8 JSON (RFC 8259), ended by a
 * line feed, to "room" if that is sure to be enough, which may be NULL, else
 * to pool memory.  Whatever the texts hold, the line has no raw
 * control, no invisible and no bidirectional formatting character: those are
 * escaped, bytes that are no UTF-8 become U+FFFD.  A text that is too long is
 * cut, with its length and SHA-256 behind the cut.  NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_record_write(ngx_pool_t *pool, const ngx_str_t *room,
    const ngx_lockbox_field_t *fields, ngx_uint_t n, ngx_str_t *line);

/*
 * Writes the fields as they stand in a line, without what encloses them, to
 * pool memory: for lines that have them in common.  NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_record_part(ngx_pool_t *pool,
    const ngx_lockbox_field_t *fields, ngx_uint_t n, ngx_str_t *part);

/*
 * Writes Unix milliseconds as RFC 3339 UTC, NGX_LOCKBOX_TIME_LEN bytes, and
 * returns the end.  Times outside of the years 1970 to 9999 are clamped.
 */
u_char *ngx_lockbox_record_time(u_char *p, int64_t msec);


#endif /* _NGX_LOCKBOX_RECORD_H_INCLUDED_ */
