/*
 * Header fields of requests and responses.
 */

#include "ngx_http_lockbox_headers.h"


#define NGX_HTTP_LOCKBOX_SCHEME      "Bearer"
#define NGX_HTTP_LOCKBOX_SCHEME_LEN  (sizeof(NGX_HTTP_LOCKBOX_SCHEME) - 1)


static ngx_uint_t ngx_http_lockbox_header_same(const ngx_str_t *key,
    const ngx_str_t *name);
static ngx_uint_t ngx_http_lockbox_header_among(const ngx_str_t *key,
    const ngx_str_t *names);


/*
 * CGI and its heirs read any mark in a name as a hyphen, and nginx passes such
 * names on where underscores_in_headers or ignore_invalid_headers says so.
 */

static ngx_uint_t
ngx_http_lockbox_header_same(const ngx_str_t *key, const ngx_str_t *name)
{
    u_char  c;
    size_t  i;

    if (key->len != name->len) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {

        /* most are spelt alike */

        if (key->data[i] == name->data[i]) {
            continue;
        }

        c = ngx_tolower(key->data[i]);

        if (c != ngx_tolower(name->data[i])
            && (name->data[i] != '-'
                || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_lockbox_header_among(const ngx_str_t *key, const ngx_str_t *names)
{
    for ( /* void */ ; names->len != 0; names++) {
        if (key->len == names->len
            && ngx_http_lockbox_header_same(key, names))
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_lockbox_header_find(ngx_http_request_t *r, const ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    n = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_lockbox_header_same(&header[i].key, name)
                && n++ == 0 && value != NULL)
            {
                *value = header[i].value;
            }
        }
    }

    return n;
}


ngx_int_t
ngx_http_lockbox_header_list(ngx_http_request_t *r, const ngx_str_t *name,
    ngx_str_t *list)
{
    u_char           *p;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    ngx_str_null(list);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_lockbox_header_same(&header[i].key, name)) {
                list->len += header[i].value.len + 1;
            }
        }
    }

    if (list->len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, list->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    list->data = p;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_lockbox_header_same(&header[i].key, name)) {
                p = ngx_cpymem(p, header[i].value.data, header[i].value.len);
                *p++ = ',';
            }
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_lockbox_header_any(ngx_http_request_t *r, const ngx_str_t *names)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_lockbox_header_among(&header[i].key, names)) {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_http_lockbox_header_add(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* nginx 1.23 links headers of one name; older ones have no such member */
    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return NGX_OK;
}


void
ngx_http_lockbox_header_remove(ngx_http_request_t *r, const ngx_str_t *names)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (ngx_http_lockbox_header_among(&header[i].key, names)) {
                header[i].hash = 0;
            }
        }
    }
}


ngx_lockbox_decision_t
ngx_http_lockbox_header_bearer(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_uint_t              n;
    static const ngx_str_t  name = ngx_string("Authorization");

    n = ngx_http_lockbox_header_find(r, &name, token);

    if (n > 1) {
        return NGX_LOCKBOX_TWO_TOKENS;
    }

    if (n == 0
        || token->len < NGX_HTTP_LOCKBOX_SCHEME_LEN
        || ngx_strncasecmp(token->data, (u_char *) NGX_HTTP_LOCKBOX_SCHEME,
                           NGX_HTTP_LOCKBOX_SCHEME_LEN)
           != 0)
    {
        return NGX_LOCKBOX_NO_TOKEN;
    }

    token->data += NGX_HTTP_LOCKBOX_SCHEME_LEN;
    token->len -= NGX_HTTP_LOCKBOX_SCHEME_LEN;

    if (token->len == 0) {
        return NGX_LOCKBOX_ALLOW;
    }

    if (token->data[0] != ' ') {
        return NGX_LOCKBOX_NO_TOKEN;
    }

    token->data++;
    token->len--;

    return NGX_LOCKBOX_ALLOW;
}
