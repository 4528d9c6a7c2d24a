/*
 * Requests as the module believes them.
 */

#include "ngx_http_lockbox_admin_seals.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_SEALS_MAX  64


/* As they are stored; the hashes are of what is stored beside them. */
typedef struct {
    ngx_str_t   *texts;
    ngx_str_t   *hashes;
    ngx_uint_t   n;
} ngx_http_lockbox_seals_t;


static ngx_int_t ngx_http_lockbox_case_read(
    ngx_http_lockbox_admin_call_t *call, const ngx_str_t *id,
    const json_t *fields, time_t now, ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_fields(ngx_pool_t *pool,
    const json_t *fields, ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_number(const json_t *fields,
    const char *name, int64_t *value);
static ngx_int_t ngx_http_lockbox_case_seals(ngx_pool_t *pool,
    const json_t *fields, ngx_http_lockbox_seals_t *stored);
static ngx_int_t ngx_http_lockbox_case_said(ngx_pool_t *pool,
    const json_t *object, const char *const *names, ngx_str_t *hash);
static ngx_int_t ngx_http_lockbox_case_verify(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_seals_t *stored, time_t now,
    ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_asked(
    ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_deciders(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request);
static ngx_int_t ngx_http_lockbox_case_name(ngx_pool_t *pool,
    const ngx_str_t *iss, const ngx_str_t *sub, ngx_str_t *name);
static const ngx_lockbox_seal_t *ngx_http_lockbox_case_once_approved(
    const ngx_http_lockbox_admin_case_t *request, ngx_uint_t n,
    ngx_uint_t managers);
static ngx_int_t ngx_http_lockbox_said_hash(ngx_pool_t *pool, json_t *said,
    ngx_str_t *hash);
static void ngx_http_lockbox_seal_by_caller(
    const ngx_http_lockbox_admin_call_t *call, ngx_lockbox_seal_t *seal);
static json_t *ngx_http_lockbox_seal_decision(ngx_pool_t *pool,
    const ngx_lockbox_seal_t *seal);


/* What people write: in the fields of a request, and in later decisions. */

static const char *const  ngx_http_lockbox_filing_said[] = {
    "justification", "reason", "ticket", NULL
};

static const char *const  ngx_http_lockbox_decision_said[] = {
    "comment", "access", "duration", "preapproval", "policy_version", NULL
};


ngx_int_t
ngx_http_lockbox_admin_case_open(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields, ngx_http_lockbox_admin_case_t *request)
{
    ngx_int_t  rc;

    rc = ngx_http_lockbox_case_read(call, &call->id, fields, ngx_time(),
                                    request);

    return rc == NGX_OK ? ngx_http_lockbox_case_deciders(call, request) : rc;
}


ngx_int_t
ngx_http_lockbox_admin_case_old(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *id, const json_t *fields,
    ngx_http_lockbox_admin_case_t *request)
{
    time_t   now;
    int64_t  ended;

    now = ngx_time();

    if (ngx_http_lockbox_case_number(fields, "ended_at", &ended) == NGX_OK) {
        now = ngx_min(now, (time_t) (ended / 1000));
    }

    return ngx_http_lockbox_case_read(call, id, fields, now, request);
}


static ngx_int_t
ngx_http_lockbox_case_read(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *id, const json_t *fields, time_t now,
    ngx_http_lockbox_admin_case_t *request)
{
    ngx_int_t                  rc;
    ngx_pool_t                *pool;
    ngx_http_lockbox_seals_t   stored;

    pool = call->request->pool;

    ngx_memzero(request, sizeof(ngx_http_lockbox_admin_case_t));
    request->id = *id;

    rc = ngx_http_lockbox_case_fields(pool, fields, request);

    if (rc == NGX_OK) {
        rc = ngx_http_lockbox_case_seals(pool, fields, &stored);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lockbox_case_verify(call, &stored, now, request);
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                      "lockbox: the stored request \"%V\" of the tenant "
                      "\"%V\" is not what was sealed",
                      id, &call->tenant);
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
        || ngx_http_lockbox_case_number(fields, "lapses_at",
                                        &request->lapses_at) != NGX_OK
        || ngx_http_lockbox_case_number(fields, "duration",
                                        &request->duration) != NGX_OK
        || ngx_lockbox_json_string(fields, "extends", &request->extends)
           == NGX_ERROR)
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
    ngx_http_lockbox_seals_t *stored)
{
    char        name[sizeof("decision:") + NGX_INT_T_LEN];
    json_t     *decision;
    int64_t     decisions;
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  i;

    if (ngx_http_lockbox_case_number(fields, "decisions", &decisions) != NGX_OK
        || decisions < 1 || decisions > NGX_HTTP_LOCKBOX_SEALS_MAX)
    {
        return NGX_DECLINED;
    }

    stored->n = (ngx_uint_t) decisions;
    stored->texts = ngx_palloc(pool, 2 * stored->n * sizeof(ngx_str_t));

    if (stored->texts == NULL) {
        return NGX_ERROR;
    }

    stored->hashes = stored->texts + stored->n;

    for (i = 0; i < stored->n; i++) {
        *ngx_sprintf((u_char *) name, "decision:%ui", i) = '\0';

        if (ngx_lockbox_json_string(fields, name, &text) != NGX_OK) {
            return NGX_DECLINED;
        }

        decision = ngx_lockbox_json_parse(pool, text.data, text.len);

        if (decision == NULL
            || ngx_lockbox_json_string(decision, "seal", &stored->texts[i])
               != NGX_OK)
        {
            return NGX_DECLINED;
        }

        rc = i == 0
             ? ngx_http_lockbox_case_said(pool, fields,
                                          ngx_http_lockbox_filing_said,
                                          &stored->hashes[i])
             : ngx_http_lockbox_case_said(pool, decision,
                                          ngx_http_lockbox_decision_said,
                                          &stored->hashes[i]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_case_said(ngx_pool_t *pool, const json_t *object,
    const char *const *names, ngx_str_t *hash)
{
    json_t  *said, *value;

    said = ngx_lockbox_json_own(pool, json_object());

    for ( /* void */ ; *names != NULL; names++) {
        value = json_object_get(object, *names);

        if (value != NULL
            && ngx_lockbox_json_set(said, *names, json_incref(value))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_lockbox_said_hash(pool, said, hash);
}


static ngx_int_t
ngx_http_lockbox_said_hash(ngx_pool_t *pool, json_t *said, ngx_str_t *hash)
{
    ngx_str_t  text;

    if (ngx_lockbox_json_dump(pool, said, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_lockbox_base64url_sha256(pool, &text, hash);
}


static ngx_int_t
ngx_http_lockbox_case_verify(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_seals_t *stored, time_t now,
    ngx_http_lockbox_admin_case_t *request)
{
    ngx_int_t                      rc;
    ngx_pool_t                    *pool;
    ngx_lockbox_seal_subject_t     subject;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);
    pool = call->request->pool;

    subject.request = request->id;
    subject.tenant = call->tenant;
    subject.engineer_iss = request->engineer_iss;
    subject.engineer_sub = request->engineer_sub;
    subject.duration = request->duration;
    subject.extends = request->extends;
    subject.text_hashes = stored->hashes;

    request->nseals = stored->n;
    request->seals = ngx_pcalloc(pool,
                                 stored->n * sizeof(ngx_lockbox_seal_t));

    if (request->seals == NULL
        || ngx_lockbox_scope_hash(pool, &request->scope, &subject.access_hash)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_lockbox_seal_open(pool, &mcf->accepted, &mcf->grant_issuer,
                               stored->texts, stored->n, now, &subject,
                               request->seals);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_lockbox_case_asked(request) != NGX_OK) {
        return NGX_DECLINED;
    }

    return ngx_lockbox_base64url_sha256(pool, &stored->texts[stored->n - 1],
                                        &request->last);
}


/* A question that is open is the last seal, and the state says so. */

static ngx_int_t
ngx_http_lockbox_case_asked(ngx_http_lockbox_admin_case_t *request)
{
    const ngx_lockbox_seal_t  *last;

    last = &request->seals[request->nseals - 1];

    if (ngx_lockbox_text_is(&last->decision, "ask")) {
        request->asked = last->stage;

        return ngx_lockbox_text_is(&request->state, "approved")
               || ngx_strncmp(request->state.data, "awaiting_", 9) == 0
               ? NGX_DECLINED : NGX_OK;
    }

    return ngx_lockbox_text_is(&request->state, "needs_info")
           ? NGX_DECLINED : NGX_OK;
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

        if (name == &call->leg->customer) {
            call->leg->preapproval = seal->preapproval;
        }

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
ngx_http_lockbox_admin_window(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request, time_t *begins,
    time_t *ends)
{
    ngx_int_t                       rc;
    ngx_uint_t                      n;
    const ngx_lockbox_seal_t       *approved;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);

    /* handed back, it was approved all the same */

    n = request->nseals;

    if (ngx_lockbox_text_is(&request->state, "completed")) {
        n -= ngx_lockbox_text_is(&request->seals[n - 1].decision, "complete");
    }

    approved = ngx_lockbox_seal_approved(request->seals, n,
                                         conf->manager_needed,
                                         ngx_http_lockbox_admin_customers(conf,
                                                            &call->tenant));
    rc = NGX_OK;

    if (approved == NULL) {
        approved = ngx_http_lockbox_case_once_approved(request, n,
                                                       conf->manager_needed);
        rc = NGX_DECLINED;
    }

    if (approved == NULL) {
        ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                      "lockbox: the request \"%V\" of the tenant \"%V\" is "
                      "stored as approved without the approvals it needs",
                      &request->id, &call->tenant);
        return NGX_ERROR;
    }

    *begins = (time_t) ngx_lockbox_seal_begins(approved);
    *ends = *begins + (time_t) request->duration;

    return rc;
}


/*
 * The last approval of what was approved when less was needed.  How many
 * customers that took is sealed; how many managers is not, but a customer
 * approves only behind as many as it took.
 */

static const ngx_lockbox_seal_t *
ngx_http_lockbox_case_once_approved(
    const ngx_http_lockbox_admin_case_t *request, ngx_uint_t n,
    ngx_uint_t managers)
{
    const ngx_lockbox_seal_t  *approved;

    approved = ngx_lockbox_seal_approved(request->seals, n, managers, 0);

    return approved != NULL
           ? approved : ngx_lockbox_seal_approved(request->seals, n, 1, 1);
}


ngx_int_t
ngx_http_lockbox_admin_seal(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_seal_t *seal, const ngx_lockbox_scope_t *scope, json_t *said,
    ngx_str_t *access, ngx_str_t *decision)
{
    ngx_http_lockbox_seal_by_caller(call, seal);

    return ngx_http_lockbox_admin_seal_by(call, seal, scope, said, access,
                                          decision);
}


static void
ngx_http_lockbox_seal_by_caller(const ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_seal_t *seal)
{
    seal->by_iss = call->identity.iss;
    seal->by_sub = call->identity.sub;
    seal->token_hash = call->identity.token_hash;
    seal->auth_time = call->identity.auth_time;
    seal->acr = call->identity.acr;
    seal->at = ngx_lockbox_clock_msec();
}


ngx_int_t
ngx_http_lockbox_admin_seal_by(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_seal_t *seal, const ngx_lockbox_scope_t *scope, json_t *said,
    ngx_str_t *access, ngx_str_t *decision)
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

    list = ngx_lockbox_json_own(pool,
                      ngx_lockbox_scope_json(scope, NGX_LOCKBOX_SCOPE_ACCESS));

    if (list == NULL
        || ngx_lockbox_json_dump(pool, list, access) != NGX_OK
        || ngx_lockbox_scope_hash(pool, scope, &seal->access_hash) != NGX_OK
        || ngx_http_lockbox_said_hash(pool, said, &seal->text_hash) != NGX_OK
        || ngx_lockbox_seal_sign(pool, mcf->signing.elts, &mcf->grant_issuer,
                                 seal, &jws)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    text = ngx_http_lockbox_seal_decision(pool, seal);

    if (ngx_lockbox_json_set(text, "seal", ngx_lockbox_json_text(&jws))
        != NGX_OK
        || (seal->version != 0 && json_object_update(text, said) != 0))
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_json_dump(pool, text, decision);
}


static json_t *
ngx_http_lockbox_seal_decision(ngx_pool_t *pool,
    const ngx_lockbox_seal_t *seal)
{
    return ngx_lockbox_json_own(pool,
               json_pack("{s:o, s:o, s:o, s:o, s:o}",
                         "stage", ngx_lockbox_json_text(&seal->stage),
                         "decision", ngx_lockbox_json_text(&seal->decision),
                         "by", ngx_http_lockbox_admin_decider(seal),
                         "at", ngx_http_lockbox_admin_view_time(seal->at),
                         "token_hash",
                         ngx_lockbox_json_text(&seal->token_hash)));
}


ngx_int_t
ngx_http_lockbox_admin_unsealed(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_seal_t *seal, json_t *said, ngx_str_t *decision)
{
    json_t      *text;
    ngx_pool_t  *pool;

    pool = call->request->pool;

    ngx_http_lockbox_seal_by_caller(call, seal);

    text = ngx_http_lockbox_seal_decision(pool, seal);

    if (text == NULL || json_object_update(text, said) != 0) {
        return NGX_ERROR;
    }

    return ngx_lockbox_json_dump(pool, text, decision);
}


json_t *
ngx_http_lockbox_admin_decider(const ngx_lockbox_seal_t *seal)
{
    json_t  *by;

    by = json_pack("{s:o, s:o}",
                   "iss", ngx_lockbox_json_text(&seal->by_iss),
                   "sub", ngx_lockbox_json_text(&seal->by_sub));

    if ((seal->auth_time != 0
         && ngx_lockbox_json_set(by, "auth_time",
                                 json_integer((json_int_t) seal->auth_time))
            != NGX_OK)
        || (seal->acr.len != 0
            && ngx_lockbox_json_set(by, "acr",
                                    ngx_lockbox_json_text(&seal->acr))
               != NGX_OK))
    {
        json_decref(by);
        return NULL;
    }

    return by;
}
