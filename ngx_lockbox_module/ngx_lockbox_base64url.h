/*
 * Base64url without padding (RFC 4648 section 5), in its one canonical form.
 */

#ifndef _NGX_LOCKBOX_BASE64URL_H_INCLUDED_
#define _NGX_LOCKBOX_BASE64URL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Bytes that the base64url form of "n" bytes takes. */
#define ngx_lockbox_base64url_len(n)  (((n) * 4 + 2) / 3)


/* Writes the base64url form of "src" to "dst", whose memory must suffice. */
void ngx_lockbox_base64url_encode(ngx_str_t *dst, const u_char *src,
    size_t len);

/*
 * Decodes into pool memory (NUL-terminated behind its length).  NGX_DECLINED
 * for padding, bytes outside of the alphabet, a length of 4n + 1 and unused
 * bits that are set; NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_base64url_decode(ngx_pool_t *pool,
    const ngx_str_t *src, ngx_str_t *dst);

/*
 * SHA-256 of the text in base64url, 43 bytes of pool memory.  NGX_ERROR
 * without memory.
 */
ngx_int_t ngx_lockbox_base64url_sha256(ngx_pool_t *pool,
    const ngx_str_t *text, ngx_str_t *dst);


#endif /* _NGX_LOCKBOX_BASE64URL_H_INCLUDED_ */
