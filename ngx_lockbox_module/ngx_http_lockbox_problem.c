/*
 * Answers in JSON: refusals as problem details (RFC 9457) with the challenge
 * of RFC 6750.
 */

#include "ngx_http_lockbox_problem.h"
#include "ngx_http_lockbox_headers.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_lockbox_json.h"


static ngx_int_t ngx_http_lockbox_challenge(ngx_http_request_t *r,
    const ngx_lockbox_decision_info_t *info, const ngx_str_t *realm);
static json_t *ngx_http_lockbox_problem_body(ngx_http_request_t *r,
    const ngx_lockbox_decision_info_t *info, const char *detail,
    json_t *more);


ngx_int_t
ngx_http_lockbox_problem_send(ngx_http_request_t *r,
    ngx_lockbox_decision_t decision, const ngx_str_t *realm,
    const char *detail, json_t *more)
{
    json_t                             *body;
    const ngx_lockbox_decision_info_t  *info;

    info = ngx_lockbox_decision_info(decision);

    if (info->status == 0) {
        /* nothing that permits is ever answered as a refusal */
        info = ngx_lockbox_decision_info(NGX_LOCKBOX_INTERNAL_ERROR);
    }

    if ((info->status == NGX_HTTP_UNAUTHORIZED || info->error.len != 0)
        && ngx_http_lockbox_challenge(r, info, realm) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body = ngx_http_lockbox_problem_body(r, info, detail, more);

    return ngx_http_lockbox_json_send(r, info->status,
                                      "application/problem+json", body);
}


static ngx_int_t
ngx_http_lockbox_challenge(ngx_http_request_t *r,
    const ngx_lockbox_decision_info_t *info, const ngx_str_t *realm)
{
    u_char     *p;
    ngx_str_t   value;

    value.len = sizeof("Bearer realm=\"\", error=\"\", "
                       "error_description=\"\"") - 1
                + realm->len + info->error.len + info->title.len;

    value.data = ngx_pnalloc(r->pool, value.len);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_slprintf(value.data, value.data + value.len,
                     "Bearer realm=\"%V\"", realm);

    if (info->error.len != 0) {
        p = ngx_slprintf(p, value.data + value.len,
                         ", error=\"%V\", error_description=\"%V\"",
                         &info->error, &info->title);
    }

    value.len = (size_t) (p - value.data);

    return ngx_http_lockbox_header_add(r, "WWW-Authenticate", &value);
}


static json_t *
ngx_http_lockbox_problem_body(ngx_http_request_t *r,
    const ngx_lockbox_decision_info_t *info, const char *detail, json_t *more)
{
    u_char                         type[64];
    json_t                        *body;
    ngx_str_t                      urn, text;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_module);

    urn.data = type;
    urn.len = (size_t) (ngx_slprintf(type, type + sizeof(type),
                                     "urn:lockbox:problem:%V", &info->word)
                        - type);

    text = info->detail;

    if (detail != NULL) {
        text.data = (u_char *) detail;
        text.len = ngx_strlen(detail);
    }

    body = json_object();

    if (ngx_lockbox_json_set(body, "type", ngx_lockbox_json_text(&urn))
        != NGX_OK
        || ngx_lockbox_json_set(body, "title",
                                ngx_lockbox_json_text(&info->title)) != NGX_OK
        || ngx_lockbox_json_set(body, "status",
                                json_integer((json_int_t) info->status))
           != NGX_OK
        || ngx_lockbox_json_set(body, "code",
                                ngx_lockbox_json_text(&info->word)) != NGX_OK
        || ngx_lockbox_json_set(body, "detail",
                                ngx_lockbox_json_text(&text)) != NGX_OK
        || (mcf->help_url.len != 0
            && ngx_lockbox_json_set(body, "help",
                                    ngx_lockbox_json_text(&mcf->help_url))
               != NGX_OK)
        || (more != NULL && json_object_update_missing(body, more) != 0))
    {
        json_decref(body);
        return NULL;
    }

    return body;
}


ngx_int_t
ngx_http_lockbox_json_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, json_t *value)
{
    size_t     size;
    ngx_str_t  text;

    if (value == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the order of the members is for whoever reads the answer */

    size = json_dumpb(value, NULL, 0, JSON_COMPACT);

    text.data = ngx_pnalloc(r->pool, size + 1);

    if (size == 0
        || text.data == NULL
        || json_dumpb(value, (char *) text.data, size, JSON_COMPACT) != size)
    {
        json_decref(value);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    json_decref(value);

    text.data[size] = LF;
    text.len = size + 1;

    return ngx_http_lockbox_text_send(r, status, type, &text);
}


ngx_int_t
ngx_http_lockbox_text_send(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, const ngx_str_t *text)
{
    ngx_int_t               rc;
    ngx_buf_t              *b;
    ngx_chain_t             out;
    static const ngx_str_t  no_store = ngx_string("no-store");

    /*
     * With the answer known, a body that waits for "100 Continue" is not asked
     * for; and as it may not come, nothing else can on this connection (RFC
     * 9110 section 10.1.1).
     */

    if (r->headers_in.expect != NULL && !r->expect_tested) {
        r->expect_tested = 1;
        r->keepalive = 0;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_lockbox_header_add(r, "Cache-Control", &no_store) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* an error page or redirect that this replaces must not lend its status */
    r->err_status = 0;

    r->headers_out.status = status;
    r->headers_out.content_length_n = (off_t) text->len;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = text->data;
    b->last = text->data + text->len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}
