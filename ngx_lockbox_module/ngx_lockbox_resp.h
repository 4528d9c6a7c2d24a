/*
 * RESP2, the wire format of Redis: the only user of hiredis, and only of its
 * codec.
 */

#ifndef _NGX_LOCKBOX_RESP_H_INCLUDED_
#define _NGX_LOCKBOX_RESP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_LOCKBOX_RESP_NIL = 0,
    NGX_LOCKBOX_RESP_STATUS,
    NGX_LOCKBOX_RESP_ERROR,
    NGX_LOCKBOX_RESP_INTEGER,
    NGX_LOCKBOX_RESP_STRING,
    NGX_LOCKBOX_RESP_ARRAY
} ngx_lockbox_resp_type_e;


/* A view of one value of a reply; lives as long as the reply. */
typedef struct {
    ngx_lockbox_resp_type_e   type;
    ngx_str_t                 text;      /* STATUS, ERROR, STRING */
    int64_t                   integer;   /* INTEGER */
    size_t                    nelts;     /* ARRAY */
    void                     *node;      /* the codec's own */
} ngx_lockbox_reply_t;


typedef struct ngx_lockbox_resp_s  ngx_lockbox_resp_t;


/*
 * A reader of replies.  No single reply may take more than "max" bytes on the
 * wire.  NULL without memory.
 */
ngx_lockbox_resp_t *ngx_lockbox_resp_create(size_t max);

void ngx_lockbox_resp_destroy(ngx_lockbox_resp_t *resp);

/*
 * Hands bytes from the wire to the reader, which copies them; to be followed
 * by ngx_lockbox_resp_next() until that says NGX_AGAIN, for it is where the
 * size of a reply is judged.  NGX_ERROR without memory and after an earlier
 * NGX_ERROR.
 */
ngx_int_t ngx_lockbox_resp_feed(ngx_lockbox_resp_t *resp, const u_char *data,
    size_t len);

/* Bytes that were fed and belong to no reply handed out so far. */
size_t ngx_lockbox_resp_left(const ngx_lockbox_resp_t *resp);

/*
 * NGX_OK and the next whole reply, which the caller releases with
 * ngx_lockbox_resp_release(); NGX_AGAIN when more bytes are needed; NGX_ERROR
 * without memory, when the reply exceeds or announces more than its limit, and
 * on anything that is not RESP2.  After NGX_ERROR the place in the stream is
 * lost, and the connection must be dropped.
 */
ngx_int_t ngx_lockbox_resp_next(ngx_lockbox_resp_t *resp,
    ngx_lockbox_reply_t *reply);

void ngx_lockbox_resp_release(ngx_lockbox_reply_t *reply);

/*
 * The view of element "i" of an array.  NGX_ERROR when the reply is no array
 * or has no such element.
 */
ngx_int_t ngx_lockbox_resp_at(const ngx_lockbox_reply_t *reply, size_t i,
    ngx_lockbox_reply_t *element);

/*
 * Writes a command in RESP2, built from lengths, never from a format, so that
 * any byte may occur in an argument.  The text is the caller's, who releases
 * it with ngx_lockbox_resp_command_free().  NGX_ERROR without memory, without
 * arguments, or when the command would be absurdly long.
 */
ngx_int_t ngx_lockbox_resp_command(const ngx_str_t *argv, size_t argc,
    ngx_str_t *text);

/*
 * The same, but up to where the bytes of the last argument begin: the caller
 * writes them and a line end behind the text, and need not copy what is long.
 */
ngx_int_t ngx_lockbox_resp_command_head(const ngx_str_t *argv, size_t argc,
    ngx_str_t *text);

/* Frees what either of them has written. */
void ngx_lockbox_resp_command_free(ngx_str_t *text);


#endif /* _NGX_LOCKBOX_RESP_H_INCLUDED_ */
