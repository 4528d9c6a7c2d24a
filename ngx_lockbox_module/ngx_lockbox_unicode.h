/*
 * Characters of texts that people read.
 */

#ifndef _NGX_LOCKBOX_UNICODE_H_INCLUDED_
#define _NGX_LOCKBOX_UNICODE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Stands for what is no character. */
#define NGX_LOCKBOX_UNICODE_NONE  0xfffd


/*
 * Takes one code point in the only UTF-8 form it has (RFC 3629) from "s",
 * which is before "end", and returns how many bytes that are.  Anything else
 * is one byte that stands for NGX_LOCKBOX_UNICODE_NONE.
 */
size_t ngx_lockbox_unicode_decode(const u_char *s, const u_char *end,
    uint32_t *code);

/*
 * 1 if a terminal or a browser acts on the code point instead of showing it,
 * else 0.  C0 controls (below 0x20) are for the caller to judge.
 */
ngx_uint_t ngx_lockbox_unicode_hidden(uint32_t code);


#endif /* _NGX_LOCKBOX_UNICODE_H_INCLUDED_ */
