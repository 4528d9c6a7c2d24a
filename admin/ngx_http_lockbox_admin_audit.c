/*
 * A tenant's trail, for its customer and its auditors.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_admin_query.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_AUDIT_PAGE      50
#define NGX_HTTP_LOCKBOX_AUDIT_PAGE_MAX  100


/* Times are -1 when they are not given. */
typedef struct {
    ngx_str_t   cursor;
    ngx_str_t   request;
    int64_t     since;
    int64_t     until;
    int64_t     limit;
} ngx_http_lockbox_audit_query_t;


static ngx_lockbox_decision_t ngx_http_lockbox_audit_may_read(
    const ngx_http_lockbox_admin_call_t *call);
static json_t *ngx_http_lockbox_audit_args(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_audit_query_t *query);
static void ngx_http_lockbox_audit_page(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static ngx_uint_t ngx_http_lockbox_audit_genuine(
    ngx_http_lockbox_admin_call_t *call, const ngx_str_t *record);
static json_t *ngx_http_lockbox_audit_about(
    const ngx_lockbox_workflow_result_t *result);
static json_t *ngx_http_lockbox_audit_silent(const ngx_array_t *texts);
static json_t *ngx_http_lockbox_audit_time(const ngx_str_t *text);
static ngx_int_t ngx_http_lockbox_audit_text(ngx_pool_t *pool,
    const ngx_array_t *records, const ngx_str_t *about, ngx_str_t *text);


static const ngx_lockbox_query_parameter_t  ngx_http_lockbox_audit_query[] = {

    { "cursor", NGX_LOCKBOX_QUERY_TEXT,
      offsetof(ngx_http_lockbox_audit_query_t, cursor),
      NULL, 0, NGX_HTTP_LOCKBOX_CURSOR_MAX },

    { "limit", NGX_LOCKBOX_QUERY_NUMBER,
      offsetof(ngx_http_lockbox_audit_query_t, limit),
      NULL, 1, NGX_HTTP_LOCKBOX_AUDIT_PAGE_MAX },

    { "request", NGX_LOCKBOX_QUERY_ID,
      offsetof(ngx_http_lockbox_audit_query_t, request), NULL, 0, 0 },

    { "since", NGX_LOCKBOX_QUERY_TIME,
      offsetof(ngx_http_lockbox_audit_query_t, since), NULL, 0, 0 },

    { "until", NGX_LOCKBOX_QUERY_TIME,
      offsetof(ngx_http_lockbox_audit_query_t, until), NULL, 0, 0 },

    { NULL, NGX_LOCKBOX_QUERY_WORD, 0, NULL, 0, 0 }
};


void
ngx_http_lockbox_admin_audit(ngx_http_lockbox_admin_call_t *call)
{
    ngx_lockbox_decision_t          decision;
    ngx_http_lockbox_audit_query_t  query;

    decision = ngx_http_lockbox_audit_may_read(call);

    if (decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse(call, decision, NULL, NULL);
        return;
    }

    ngx_memzero(&query, sizeof(ngx_http_lockbox_audit_query_t));
    query.since = -1;
    query.until = -1;
    query.limit = NGX_HTTP_LOCKBOX_AUDIT_PAGE;

    if (ngx_http_lockbox_admin_query(call, ngx_http_lockbox_audit_query,
                                     &query)
        != NGX_OK
        || ngx_http_lockbox_admin_intent(call) != NGX_OK)
    {
        return;
    }

    ngx_http_lockbox_admin_step(call, "audit",
                                ngx_http_lockbox_audit_args(call, &query),
                                ngx_http_lockbox_audit_page);
}


/* Whoever speaks for another tenant is told no more than that of any. */

static ngx_lockbox_decision_t
ngx_http_lockbox_audit_may_read(const ngx_http_lockbox_admin_call_t *call)
{
    const ngx_lockbox_identity_t  *identity;

    identity = &call->identity;

    if (!(identity->roles
          & (NGX_LOCKBOX_ROLE_CUSTOMER|NGX_LOCKBOX_ROLE_AUDITOR)))
    {
        return NGX_LOCKBOX_FORBIDDEN_ROLE;
    }

    if (identity->tenant.len == 0) {
        return identity->roles & NGX_LOCKBOX_ROLE_AUDITOR
               ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_NOT_FOUND;
    }

    return ngx_lockbox_text_same(&identity->tenant, &call->tenant)
           ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_NOT_FOUND;
}


static json_t *
ngx_http_lockbox_audit_args(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_audit_query_t *query)
{
    json_t                         *args;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);

    args = json_pack("{s:o, s:I, s:I}",
                     "tenant", ngx_lockbox_json_text(&call->tenant),
                     "limit", (json_int_t) query->limit,
                     "retention", (json_int_t) conf->retention * 1000);

    if ((query->cursor.len != 0
         && ngx_lockbox_json_set(args, "cursor",
                                 ngx_lockbox_json_text(&query->cursor))
            != NGX_OK)
        || (query->request.len != 0
            && ngx_lockbox_json_set(args, "request",
                                    ngx_lockbox_json_text(&query->request))
               != NGX_OK)
        || (query->since != -1
            && ngx_lockbox_json_set(args, "since", json_integer(query->since))
               != NGX_OK)
        || (query->until != -1
            && ngx_lockbox_json_set(args, "until", json_integer(query->until))
               != NGX_OK))
    {
        json_decref(args);
        return NULL;
    }

    return args;
}


static void
ngx_http_lockbox_audit_page(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    json_t              *about;
    ngx_int_t            rc;
    ngx_str_t            rest, text, *record;
    ngx_pool_t          *pool;
    ngx_uint_t           i;
    ngx_lockbox_fault_t  fault;

    if (result->decision == NGX_LOCKBOX_INVALID_MEMBER) {
        ngx_str_set(&fault.member, "cursor");
        fault.reason = "The cursor does not come from this list.";
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    record = result->records->elts;

    for (i = 0; i < result->records->nelts; i++) {
        if (!ngx_http_lockbox_audit_genuine(call, &record[i])) {
            ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_STORE_UNAVAILABLE,
                                          NULL, NULL);
            return;
        }
    }

    pool = call->request->pool;
    about = ngx_http_lockbox_audit_about(result);

    rc = ngx_lockbox_json_dump(pool, about, &rest);
    json_decref(about);

    if (rc != NGX_OK
        || ngx_http_lockbox_audit_text(pool, result->records, &rest, &text)
           != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_http_lockbox_admin_answer_text(call, "application/json", &text);
}


/*
 * What is handed on as it is must be one record, of this tenant: whoever can
 * write to Redis could have put anything there.
 */

static ngx_uint_t
ngx_http_lockbox_audit_genuine(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *record)
{
    json_t     *object;
    ngx_str_t   tenant;

    object = ngx_lockbox_json_parse(call->request->pool, record->data,
                                    record->len);

    if (ngx_lockbox_json_string(object, "organization.id", &tenant) == NGX_OK
        && ngx_lockbox_text_same(&tenant, &call->tenant))
    {
        return 1;
    }

    ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                  "lockbox: the trail of \"%V\" has what is no record of it",
                  &call->tenant);

    return 0;
}


/* What stands behind the records in the answer, a new reference or NULL. */

static json_t *
ngx_http_lockbox_audit_about(const ngx_lockbox_workflow_result_t *result)
{
    return json_pack("{s:o, s:o, s:o}",
                     "next", result->next.len != 0
                             ? ngx_lockbox_json_text(&result->next)
                             : json_null(),
                     "complete_until",
                         ngx_http_lockbox_audit_time(&result->complete),
                     "silent", ngx_http_lockbox_audit_silent(result->silent));
}


static json_t *
ngx_http_lockbox_audit_silent(const ngx_array_t *texts)
{
    json_t      *silent;
    ngx_str_t   *text;
    ngx_uint_t   i;

    silent = json_array();
    text = texts->elts;

    for (i = 0; i + 1 < texts->nelts; i += 2) {
        if (json_array_append_new(silent,
                json_pack("{s:o, s:o}",
                          "worker", ngx_lockbox_json_text(&text[i]),
                          "since", ngx_http_lockbox_audit_time(&text[i + 1])))
            != 0)
        {
            json_decref(silent);
            return NULL;
        }
    }

    return silent;
}


/* Null for an empty text. */

static json_t *
ngx_http_lockbox_audit_time(const ngx_str_t *text)
{
    ngx_int_t  msec;

    if (text->len == 0) {
        return json_null();
    }

    msec = ngx_atoi(text->data, text->len);

    return msec != NGX_ERROR ? ngx_http_lockbox_admin_view_time(msec) : NULL;
}


/* Records stay as they are, to the byte. */

static ngx_int_t
ngx_http_lockbox_audit_text(ngx_pool_t *pool, const ngx_array_t *records,
    const ngx_str_t *about, ngx_str_t *text)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *record;
    ngx_uint_t   i;

    len = sizeof("{\"records\":[],") - 1 + about->len;
    record = records->elts;

    for (i = 0; i < records->nelts; i++) {
        len += record[i].len + 1;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    p = ngx_cpymem(p, "{\"records\":[", sizeof("{\"records\":[") - 1);

    for (i = 0; i < records->nelts; i++) {
        if (i != 0) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, record[i].data, record[i].len);
    }

    p = ngx_cpymem(p, "],", 2);

    /* without its brace */

    p = ngx_cpymem(p, about->data + 1, about->len - 1);
    text->len = (size_t) (p - text->data);

    return NGX_OK;
}
