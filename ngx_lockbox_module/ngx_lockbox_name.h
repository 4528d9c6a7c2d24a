/*
 * The names and identifiers that everything else is built from.
 */

#ifndef _NGX_LOCKBOX_NAME_H_INCLUDED_
#define _NGX_LOCKBOX_NAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_LOCKBOX_ID_LEN  36      /* RFC 9562 text form, without a NUL */


/* 1 if both texts are the same bytes, else 0. */
ngx_uint_t ngx_lockbox_name_same(const ngx_str_t *a, const ngx_str_t *b);

/*
 * 1 if the text is a tenant, [A-Za-z0-9._-]{1,64}, else 0.  "." and ".." are
 * refused besides: a tenant stands in a path.
 */
ngx_uint_t ngx_lockbox_tenant_valid(const ngx_str_t *text);

/* 1 if the text is a service or label, [a-z0-9][a-z0-9._-]{0,63}, else 0. */
ngx_uint_t ngx_lockbox_name_valid(const ngx_str_t *text);

/*
 * 1 if the text is a method that an access item may list: 1 to 32 upper-case
 * letters, '-' or '_', but not CONNECT, TRACE, nor HEAD (which goes with
 * GET).
 */
ngx_uint_t ngx_lockbox_method_valid(const ngx_str_t *text);

/* 1 if the text is a request id: a UUIDv7 in lower case (RFC 9562), else 0. */
ngx_uint_t ngx_lockbox_id_valid(const ngx_str_t *text);

/*
 * Random bytes in stock, for who needs many ids: OpenSSL takes as long for a
 * few bytes as for hundreds.  Zeroed memory is an empty stock; one that was
 * filled must not be copied, nor kept over a fork().
 */
typedef struct {
    size_t    left;
    u_char    bytes[2048];
} ngx_lockbox_random_t;


/*
 * Writes a UUIDv7 (RFC 9562 section 5.7) of NGX_LOCKBOX_ID_LEN bytes to "id".
 * "msec" is Unix time in milliseconds; "stock" may be NULL.  NGX_ERROR when
 * OpenSSL has no random bytes to give.
 */
ngx_int_t ngx_lockbox_id_create(u_char *id, uint64_t msec,
    ngx_lockbox_random_t *stock);


#endif /* _NGX_LOCKBOX_NAME_H_INCLUDED_ */
