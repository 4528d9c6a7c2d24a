/*
 * Variables: what the gate decided, for logs and for the upstream.
 */

#include "ngx_http_lockbox_audit.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_lockbox_record.h"


static ngx_int_t ngx_http_lockbox_variable_decision(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lockbox_variable_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lockbox_variable_labels(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lockbox_variable_expires(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_lockbox_variable_event_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_http_lockbox_variable_set(ngx_http_variable_value_t *v,
    const u_char *data, size_t len);


static ngx_http_variable_t  ngx_http_lockbox_variables[] = {

    { ngx_string("lockbox_decision"), NULL,
      ngx_http_lockbox_variable_decision, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lockbox_request_id"), NULL,
      ngx_http_lockbox_variable_text,
      offsetof(ngx_http_lockbox_leg_t, request_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lockbox_subject"), NULL,
      ngx_http_lockbox_variable_text,
      offsetof(ngx_http_lockbox_leg_t, user_sub),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lockbox_tenant"), NULL,
      ngx_http_lockbox_variable_text,
      offsetof(ngx_http_lockbox_leg_t, tenant),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lockbox_service"), NULL,
      ngx_http_lockbox_variable_text,
      offsetof(ngx_http_lockbox_leg_t, service),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lockbox_labels"), NULL,
      ngx_http_lockbox_variable_labels, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lockbox_expires"), NULL,
      ngx_http_lockbox_variable_expires, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lockbox_event_id"), NULL,
      ngx_http_lockbox_variable_event_id, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_lockbox_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_lockbox_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_variable_decision(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    const ngx_str_t         *word;
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    word = &ngx_lockbox_decision_info(leg->decision)->word;

    ngx_http_lockbox_variable_set(v, word->data, word->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_variable_text(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    const ngx_str_t         *text;
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    text = (ngx_str_t *) (void *) ((u_char *) leg + data);

    ngx_http_lockbox_variable_set(v, text->data, text->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_variable_labels(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    size_t                   len;
    u_char                  *p, *start;
    ngx_uint_t               i;
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg == NULL || leg->labels.nelts == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    len = 0;

    for (i = 0; i < leg->labels.nelts; i++) {
        len += leg->labels.elts[i].len + 1;
    }

    start = ngx_pnalloc(r->pool, len);
    if (start == NULL) {
        return NGX_ERROR;
    }

    p = start;

    for (i = 0; i < leg->labels.nelts; i++) {
        p = ngx_cpymem(p, leg->labels.elts[i].data, leg->labels.elts[i].len);
        *p++ = ',';
    }

    ngx_http_lockbox_variable_set(v, start, len - 1);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_variable_expires(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                  *p;
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg == NULL || leg->expires == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_LOCKBOX_TIME_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_lockbox_record_time(p, (int64_t) leg->expires * 1000);

    ngx_http_lockbox_variable_set(v, p, NGX_LOCKBOX_TIME_LEN);

    return NGX_OK;
}


/* What links the call that an upstream sees with its records. */

static ngx_int_t
ngx_http_lockbox_variable_event_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_lockbox_variable_set(v, leg->id, NGX_LOCKBOX_ID_LEN);

    return NGX_OK;
}


static void
ngx_http_lockbox_variable_set(ngx_http_variable_value_t *v,
    const u_char *data, size_t len)
{
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;
    v->data = (u_char *) data;
    v->len = (unsigned) len & 0x0fffffff;
}
