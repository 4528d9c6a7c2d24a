/*
 * Requests as the module believes them.
 */

#include "ngx_http_lockbox_admin_seals.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_SEALS_MAX  64


static ngx_int_t ngx_http_lockbox_case_fields(ngx_pool_t *pool,
    const json_t *fields, ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_number(const json_t *fields,
    const char *name, int64_t *value);
static ngx_int_t ngx_http_lockbox_case_seals(ngx_pool_t *pool,
    const json_t *fields, ngx_str_t **texts, ngx_uint_t *n);
static ngx_int_t ngx_http_lockbox_case_verify(
    ngx_http_lockbox_admin_call_t *call, const ngx_str_t *texts, ngx_uint_t n,
    ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_deciders(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_name(ngx_pool_t *pool,
    const ngx_str_t *iss, const ngx_str_t *sub, ngx_str_t *name);


ngx_int_t
ngx_http_lockbox_admin_case_open(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields, ngx_http_lockbox_admin_case_t *request)
{
    ngx_int_t    rc;
    ngx_str_t   *texts;
    ngx_uint_t   n;
    ngx_pool_t  *pool;

    pool = call->request->pool;

    ngx_memzero(request, sizeof(ngx_http_lockbox_admin_case_t));

    rc = ngx_http_lockbox_case_fields(pool, fields, request);

    if (rc == NGX_OK) {
        rc = ngx_http_lockbox_case_seals(pool, fields, &texts, &n);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lockbox_case_verify(call, texts, n, request);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lockbox_case_deciders(call, request);
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                      "lockbox: the stored request \"%V\" of the tenant "
                      "\"%V\" is not what was sealed",
                      &call->id, &call->tenant);
    }

    return rc;
}


static ngx_int_t
ngx_http_lockbox_case_fields(ngx_pool_t *pool, const json_t *fields,
    ngx_http_lockbox_admin_case_t *request)
{
    json_t     *list;
    ngx_str_t   access;

    if (ngx_lockbox_json_string(fields, "state", &request->state) != NGX_OK
        || ngx_lockbox_json_string(fields, "engineer_iss",
                                   &request->engineer_iss) != NGX_OK
        || ngx_lockbox_json_string(fields, "engineer_sub",
                                   &request->engineer_sub) != NGX_OK
        || ngx_lockbox_json_string(fields, "access", &access) != NGX_OK
        || ngx_http_lockbox_case_number(fields, "version", &request->version)
           != NGX_OK
        || ngx_http_lockbox_case_number(fields, "duration",
                                        &request->duration) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    list = json_loadb((char *) access.data, access.len,
                      JSON_REJECT_DUPLICATES, NULL);
    if (list == NULL) {
        return NGX_DECLINED;
    }

    list = ngx_lockbox_json_own(pool, list);
    if (list == NULL) {
        return NGX_ERROR;
    }

    return ngx_lockbox_scope_parse(pool, list, NGX_LOCKBOX_SCOPE_ACCESS, "",
                                   &request->scope, NULL);
}


static ngx_int_t
ngx_http_lockbox_case_number(const json_t *fields, const char *name,
    int64_t *value)
{
    ngx_int_t  n;
    ngx_str_t  text;

    if (ngx_lockbox_json_string(fields, name, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    n = ngx_atoi(text.data, text.len);
    *value = n;

    return n != NGX_ERROR ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_lockbox_case_seals(ngx_pool_t *pool, const json_t *fields,
    ngx_str_t **texts, ngx_uint_t *n)
{
    char         name[sizeof("decision:") + NGX_INT_T_LEN];
    json_t      *decision;
    int64_t      decisions;
    ngx_str_t    text;
    ngx_uint_t   i;

    if (ngx_http_lockbox_case_number(fields, "decisions", &decisions) != NGX_OK
        || decisions < 1 || decisions > NGX_HTTP_LOCKBOX_SEALS_MAX)
    {
        return NGX_DECLINED;
    }

    *n = (ngx_uint_t) decisions;
    *texts = ngx_palloc(pool, *n * sizeof(ngx_str_t));

    if (*texts == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < *n; i++) {
        *ngx_sprintf((u_char *) name, "decision:%ui", i) = '\0';

        if (ngx_lockbox_json_string(fields, name, &text) != NGX_OK) {
            return NGX_DECLINED;
        }

        decision = ngx_lockbox_json_parse(pool, text.data, text.len);

        if (decision == NULL
            || ngx_lockbox_json_string(decision, "seal", &(*texts)[i])
               != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_case_verify(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *texts, ngx_uint_t n,
    ngx_http_lockbox_admin_case_t *request)
{
    ngx_int_t                      rc;
    ngx_pool_t                    *pool;
    ngx_lockbox_seal_subject_t     subject;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);
    pool = call->request->pool;

    subject.request = call->id;
    subject.tenant = call->tenant;
    subject.engineer_iss = request->engineer_iss;
    subject.engineer_sub = request->engineer_sub;
    subject.duration = request->duration;

    request->nseals = n;
    request->seals = ngx_pcalloc(pool, n * sizeof(ngx_lockbox_seal_t));

    if (request->seals == NULL
        || ngx_lockbox_scope_hash(pool, &request->scope, &subject.access_hash)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_lockbox_seal_open(pool, &mcf->accepted, &mcf->grant_issuer,
                               texts, n, ngx_time(), &subject,
                               request->seals);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_lockbox_base64url_sha256(pool, &texts[n - 1], &request->last);
}


static ngx_int_t
ngx_http_lockbox_case_deciders(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request)
{
    ngx_str_t                 *name;
    ngx_uint_t                 i;
    const ngx_lockbox_seal_t  *seal;

    for (i = 1; i < request->nseals; i++) {
        seal = &request->seals[i];

        if (!ngx_lockbox_text_is(&seal->decision, "approve")) {
            continue;
        }

        name = ngx_lockbox_text_is(&seal->stage, "manager")
               ? &call->leg->manager : &call->leg->customer;

        if (ngx_http_lockbox_case_name(call->request->pool, &seal->by_iss,
                                       &seal->by_sub, name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_case_name(ngx_pool_t *pool, const ngx_str_t *iss,
    const ngx_str_t *sub, ngx_str_t *name)
{
    u_char  *p;

    p = ngx_pnalloc(pool, iss->len + 1 + sub->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name->data = p;
    name->len = iss->len + 1 + sub->len;

    p = ngx_cpymem(p, iss->data, iss->len);
    *p++ = ' ';
    ngx_memcpy(p, sub->data, sub->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_lockbox_admin_seal(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_seal_t *seal, const ngx_lockbox_scope_t *scope,
    const ngx_str_t *comment, ngx_str_t *access, ngx_str_t *decision)
{
    json_t                        *list, *text;
    ngx_str_t                      jws;
    ngx_pool_t                    *pool;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);
    pool = call->request->pool;

    seal->request = call->id;
    seal->tenant = call->tenant;
    seal->by_iss = call->identity.iss;
    seal->by_sub = call->identity.sub;
    seal->at = ngx_lockbox_clock_msec();

    list = ngx_lockbox_json_own(pool,
                      ngx_lockbox_scope_json(scope, NGX_LOCKBOX_SCOPE_ACCESS));

    if (list == NULL
        || ngx_lockbox_json_dump(pool, list, access) != NGX_OK
        || ngx_lockbox_scope_hash(pool, scope, &seal->access_hash) != NGX_OK
        || ngx_lockbox_seal_sign(pool, mcf->signing.elts, &mcf->grant_issuer,
                                 seal, &jws)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    text = ngx_lockbox_json_own(pool,
               json_pack("{s:o, s:o, s:{s:o, s:o}, s:o, s:o}",
                         "stage", ngx_lockbox_json_text(&seal->stage),
                         "decision", ngx_lockbox_json_text(&seal->decision),
                         "by",
                         "iss", ngx_lockbox_json_text(&seal->by_iss),
                         "sub", ngx_lockbox_json_text(&seal->by_sub),
                         "at", ngx_http_lockbox_admin_view_time(seal->at),
                         "seal", ngx_lockbox_json_text(&jws)));

    if (text == NULL
        || (comment != NULL && comment->len != 0
            && ngx_lockbox_json_set(text, "comment",
                                    ngx_lockbox_json_text(comment))
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_json_dump(pool, text, decision);
}
