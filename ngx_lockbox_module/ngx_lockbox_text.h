/*
 * Comparing texts that have a length.
 */

#ifndef _NGX_LOCKBOX_TEXT_H_INCLUDED_
#define _NGX_LOCKBOX_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* 1 if both texts are the same bytes, else 0. */
static ngx_inline ngx_uint_t
ngx_lockbox_text_same(const ngx_str_t *a, const ngx_str_t *b)
{
    /* an empty text may have no data, which memcmp() must not be given */

    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


/* 1 if the text is the same bytes as a C string without its NUL, else 0. */
static ngx_inline ngx_uint_t
ngx_lockbox_text_is(const ngx_str_t *text, const char *literal)
{
    return text->len == ngx_strlen(literal)
           && ngx_memcmp(text->data, literal, text->len) == 0;
}


/* 1 if the text is one of a list of C strings that ends with NULL, else 0. */
static ngx_inline ngx_uint_t
ngx_lockbox_text_among(const ngx_str_t *text, const char *const *list)
{
    for ( /* void */ ; *list != NULL; list++) {
        if (ngx_lockbox_text_is(text, *list)) {
            return 1;
        }
    }

    return 0;
}


#endif /* _NGX_LOCKBOX_TEXT_H_INCLUDED_ */
