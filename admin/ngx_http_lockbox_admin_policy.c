/*
 * What the calls do: a tenant's policy.
 */

#include "ngx_http_lockbox_admin_policy.h"
#include "ngx_http_lockbox_admin_seals.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"


/* As many versions as the script keeps. */
#define NGX_HTTP_LOCKBOX_POLICIES_KEPT  16


/* A version as it was set. */
typedef struct {
    ngx_lockbox_policy_seal_t    seal;
    json_t                      *policy;    /* borrowed */
    ngx_str_t                    text;      /* the seal as a token */
} ngx_http_lockbox_policy_entry_t;


/* What a PUT asks for. */
typedef struct {
    int64_t                      version;   /* the one that it replaces */
    json_t                      *policy;    /* borrowed from the body */
} ngx_http_lockbox_policy_change_t;


static json_t *ngx_http_lockbox_policy_about(
    ngx_http_lockbox_admin_call_t *call);
static ngx_int_t ngx_http_lockbox_policy_version(const json_t *fields,
    int64_t *version);
static ngx_int_t ngx_http_lockbox_policy_entry(
    ngx_http_lockbox_admin_call_t *call, const json_t *fields,
    int64_t version, ngx_http_lockbox_policy_entry_t *entry);
static ngx_int_t ngx_http_lockbox_policy_record(ngx_pool_t *pool,
    const json_t *fields, int64_t version, json_t **record);
static void ngx_http_lockbox_policy_limits(
    ngx_http_lockbox_admin_call_t *call, ngx_lockbox_policy_limits_t *limits);
static void ngx_http_lockbox_policy_seen(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_policy_show(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields);
static json_t *ngx_http_lockbox_policy_view(
    const ngx_http_lockbox_policy_entry_t *entry);
static json_t *ngx_http_lockbox_policy_author(
    const ngx_lockbox_policy_seal_t *seal);
static json_t *ngx_http_lockbox_policy_earlier(
    ngx_http_lockbox_admin_call_t *call, const json_t *fields,
    ngx_http_lockbox_policy_entry_t *entry);
static ngx_uint_t ngx_http_lockbox_policy_follows(ngx_pool_t *pool,
    const ngx_http_lockbox_policy_entry_t *entry,
    const ngx_http_lockbox_policy_entry_t *before);
static ngx_lockbox_decision_t ngx_http_lockbox_policy_authority(
    const ngx_http_lockbox_admin_call_t *call);
static ngx_int_t ngx_http_lockbox_policy_body(
    ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_policy_change_t *change, ngx_lockbox_fault_t *fault);
static void ngx_http_lockbox_policy_compare(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static json_t *ngx_http_lockbox_policy_args(
    ngx_http_lockbox_admin_call_t *call, const json_t *fields);
static ngx_int_t ngx_http_lockbox_policy_before(ngx_pool_t *pool,
    const json_t *fields, int64_t version, ngx_str_t *hash);
static void ngx_http_lockbox_policy_changed(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_policy_conflict(
    ngx_http_lockbox_admin_call_t *call, const json_t *fields);


static const char *const  ngx_http_lockbox_policy_members[] = {
    "version", "policy", NULL
};


void
ngx_http_lockbox_admin_policy_look(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_admin_step_pt handler)
{
    json_t  *args;

    args = ngx_http_lockbox_policy_about(call);

    if (ngx_lockbox_json_set(args, "count", json_integer(1)) != NGX_OK) {
        json_decref(args);
        args = NULL;
    }

    ngx_http_lockbox_admin_step(call, "policy", args, handler);
}


static json_t *
ngx_http_lockbox_policy_about(ngx_http_lockbox_admin_call_t *call)
{
    return json_pack("{s:o, s:o}",
                     "actor", ngx_http_lockbox_admin_actor(&call->identity),
                     "tenant", ngx_lockbox_json_text(&call->tenant));
}


ngx_int_t
ngx_http_lockbox_admin_policy_open(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields, ngx_http_lockbox_admin_policy_t *policy)
{
    ngx_int_t                        rc;
    ngx_lockbox_policy_limits_t      limits;
    ngx_http_lockbox_policy_entry_t  entry;

    ngx_memzero(policy, sizeof(ngx_http_lockbox_admin_policy_t));

    rc = ngx_http_lockbox_policy_version(fields, &policy->version);

    if (rc == NGX_OK && policy->version != 0) {
        rc = ngx_http_lockbox_policy_entry(call, fields, policy->version,
                                           &entry);

        if (rc == NGX_OK) {
            policy->seal = entry.seal;

            rc = ngx_lockbox_policy_parse(call->request->pool, entry.policy,
                                          "", NULL, 0, &policy->rules, NULL);
        }
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                      "lockbox: the stored policy of the tenant \"%V\" is "
                      "not what was sealed", &call->tenant);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    call->leg->policy_version = policy->version;

    ngx_http_lockbox_policy_limits(call, &limits);
    ngx_lockbox_policy_clamp(&policy->rules, &limits);

    return NGX_OK;
}


void
ngx_http_lockbox_admin_policy_seal(
    const ngx_http_lockbox_admin_policy_t *policy, ngx_lockbox_seal_t *seal)
{
    seal->policy_version = policy->version;
    seal->policy_hash = policy->seal.hash;
    seal->customers = (int64_t) policy->rules.approvals;
}


static ngx_int_t
ngx_http_lockbox_policy_version(const json_t *fields, int64_t *version)
{
    ngx_int_t  n;
    ngx_str_t  text;

    if (ngx_lockbox_json_string(fields, "version", &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    n = ngx_atoi(text.data, text.len);
    *version = n;

    return n != NGX_ERROR ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_lockbox_policy_entry(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields, int64_t version,
    ngx_http_lockbox_policy_entry_t *entry)
{
    json_t                        *record;
    ngx_int_t                      rc;
    ngx_str_t                      text;
    ngx_pool_t                    *pool;
    const json_t                  *by;
    ngx_lockbox_policy_seal_t      said;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);
    pool = call->request->pool;

    rc = ngx_http_lockbox_policy_record(pool, fields, version, &record);
    if (rc != NGX_OK) {
        return rc;
    }

    said.tenant = call->tenant;
    said.version = version;

    by = json_object_get(record, "by");
    entry->policy = json_object_get(record, "policy");

    if (!json_is_object(entry->policy)
        || ngx_lockbox_json_string(record, "seal", &entry->text) != NGX_OK
        || ngx_lockbox_json_string(by, "iss", &said.by_iss) != NGX_OK
        || ngx_lockbox_json_string(by, "sub", &said.by_sub) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_lockbox_json_dump(pool, entry->policy, &text) != NGX_OK
        || ngx_lockbox_base64url_sha256(pool, &text, &said.hash) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_policy_seal_open(pool, &mcf->accepted,
                                        &mcf->grant_issuer, &entry->text,
                                        ngx_time(), &said, &entry->seal);
}


/* What Redis has for a version, as it stands; an object. */

static ngx_int_t
ngx_http_lockbox_policy_record(ngx_pool_t *pool, const json_t *fields,
    int64_t version, json_t **record)
{
    char       name[sizeof("policy:") + NGX_INT64_LEN];
    ngx_str_t  text;

    *ngx_sprintf((u_char *) name, "policy:%L", version) = '\0';

    if (ngx_lockbox_json_string(fields, name, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    *record = ngx_lockbox_json_parse(pool, text.data, text.len);

    return *record != NULL ? NGX_OK : NGX_DECLINED;
}


static void
ngx_http_lockbox_policy_limits(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_policy_limits_t *limits)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);

    limits->max_duration = mcf->max_duration;
    limits->approvals = ngx_http_lockbox_admin_customers(
                            ngx_http_lockbox_admin_conf(call->request),
                            &call->tenant);
}


void
ngx_http_lockbox_admin_get_policy(ngx_http_lockbox_admin_call_t *call)
{
    json_t  *args;

    args = ngx_http_lockbox_policy_about(call);

    if (ngx_lockbox_json_set(args, "count",
                             json_integer(NGX_HTTP_LOCKBOX_POLICIES_KEPT))
        != NGX_OK)
    {
        json_decref(args);
        args = NULL;
    }

    ngx_http_lockbox_admin_step(call, "policy", args,
                                ngx_http_lockbox_policy_seen);
}


static void
ngx_http_lockbox_policy_seen(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    ngx_http_lockbox_policy_show(call, result->request);
}


/* What was set, by whom and when, what holds of it, and what was before. */

static void
ngx_http_lockbox_policy_show(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields)
{
    json_t                           *view;
    ngx_http_lockbox_policy_entry_t   entry;
    ngx_http_lockbox_admin_policy_t   policy;

    if (ngx_http_lockbox_admin_policy_open(call, fields, &policy) != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_memzero(&entry, sizeof(ngx_http_lockbox_policy_entry_t));

    if (policy.version != 0
        && ngx_http_lockbox_policy_entry(call, fields, policy.version, &entry)
           != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    view = ngx_http_lockbox_policy_view(&entry);

    if (ngx_lockbox_json_set(view, "tenant",
                             ngx_lockbox_json_text(&call->tenant)) != NGX_OK
        || ngx_lockbox_json_set(view, "effective",
                   json_pack("{s:I, s:I}",
                             "max_duration",
                             (json_int_t) policy.rules.max_duration,
                             "approvals",
                             (json_int_t) policy.rules.approvals)) != NGX_OK
        || ngx_lockbox_json_set(view, "earlier",
                     ngx_http_lockbox_policy_earlier(call, fields, &entry))
           != NGX_OK)
    {
        json_decref(view);
        view = NULL;
    }

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK, view);
}


static json_t *
ngx_http_lockbox_policy_view(const ngx_http_lockbox_policy_entry_t *entry)
{
    if (entry->policy == NULL) {
        return json_pack("{s:i, s:{}, s:n, s:n}",
                         "version", 0, "policy", "by", "at");
    }

    return json_pack("{s:I, s:O, s:o, s:o}",
                     "version", (json_int_t) entry->seal.version,
                     "policy", entry->policy,
                     "by", ngx_http_lockbox_policy_author(&entry->seal),
                     "at", ngx_http_lockbox_admin_view_time(entry->seal.at));
}


/* Who has set it, and when and how they had logged in. */

static json_t *
ngx_http_lockbox_policy_author(const ngx_lockbox_policy_seal_t *seal)
{
    ngx_lockbox_seal_t  by;

    by.by_iss = seal->by_iss;
    by.by_sub = seal->by_sub;
    by.auth_time = seal->auth_time;
    by.acr = seal->acr;

    return ngx_http_lockbox_admin_decider(&by);
}


/*
 * As far back as each is genuine and the one that the next was set on; "entry"
 * is the version in force.
 */

static json_t *
ngx_http_lockbox_policy_earlier(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields, ngx_http_lockbox_policy_entry_t *entry)
{
    json_t                           *earlier;
    int64_t                           version;
    ngx_http_lockbox_policy_entry_t   before;

    earlier = json_array();

    for (version = entry->seal.version - 1; version > 0; version--) {

        if (ngx_http_lockbox_policy_entry(call, fields, version, &before)
            != NGX_OK
            || !ngx_http_lockbox_policy_follows(call->request->pool, entry,
                                                &before))
        {
            break;
        }

        if (json_array_append_new(earlier,
                                  ngx_http_lockbox_policy_view(&before)) != 0)
        {
            json_decref(earlier);
            return NULL;
        }

        *entry = before;
    }

    return earlier;
}


static ngx_uint_t
ngx_http_lockbox_policy_follows(ngx_pool_t *pool,
    const ngx_http_lockbox_policy_entry_t *entry,
    const ngx_http_lockbox_policy_entry_t *before)
{
    ngx_str_t  hash;

    return ngx_lockbox_base64url_sha256(pool, &before->text, &hash) == NGX_OK
           && ngx_lockbox_text_same(&entry->seal.prev, &hash);
}


void
ngx_http_lockbox_admin_put_policy(ngx_http_lockbox_admin_call_t *call)
{
    ngx_int_t                          rc;
    ngx_lockbox_fault_t                fault;
    ngx_lockbox_decision_t             word;
    ngx_http_lockbox_policy_change_t  *change;

    word = ngx_http_lockbox_policy_authority(call);

    if (word != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse(call, word, NULL, NULL);
        return;
    }

    rc = NGX_ERROR;

    change = ngx_palloc(call->request->pool,
                        sizeof(ngx_http_lockbox_policy_change_t));

    if (change != NULL) {
        rc = ngx_http_lockbox_policy_body(call, change, &fault);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    call->data = change;

    ngx_http_lockbox_admin_policy_look(call, ngx_http_lockbox_policy_compare);
}


/* The tenant's customer, and of the others only who may see it is told. */

static ngx_lockbox_decision_t
ngx_http_lockbox_policy_authority(const ngx_http_lockbox_admin_call_t *call)
{
    ngx_uint_t  roles, theirs;

    roles = call->identity.roles;
    theirs = ngx_lockbox_text_same(&call->identity.tenant, &call->tenant);

    if ((roles & NGX_LOCKBOX_ROLE_CUSTOMER) && theirs) {
        return NGX_LOCKBOX_ALLOW;
    }

    return (roles & (NGX_LOCKBOX_ROLE_ENGINEER|NGX_LOCKBOX_ROLE_MANAGER))
           || ((roles & NGX_LOCKBOX_ROLE_AUDITOR)
               && (theirs || call->identity.tenant.len == 0))
           ? NGX_LOCKBOX_FORBIDDEN_ROLE : NGX_LOCKBOX_NOT_FOUND;
}


static ngx_int_t
ngx_http_lockbox_policy_body(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_policy_change_t *change, ngx_lockbox_fault_t *fault)
{
    ngx_int_t                     rc;
    ngx_pool_t                   *pool;
    ngx_lockbox_policy_t          policy;
    ngx_lockbox_policy_limits_t   limits;

    pool = call->request->pool;

    rc = ngx_lockbox_json_only(pool, call->body,
                               ngx_http_lockbox_policy_members, "", fault);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_lockbox_json_integer(call->body, "version", &change->version)
        != NGX_OK
        || change->version < 0)
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be the version that is "
                                      "replaced, 0 if there is none.",
                                      "/version");
    }

    change->policy = json_object_get(call->body, "policy");

    ngx_http_lockbox_policy_limits(call, &limits);

    return ngx_lockbox_policy_parse(pool, change->policy, "/policy", &limits,
                                    ngx_lockbox_clock_msec(), &policy, fault);
}


/*
 * What stands there need not be genuine: who may set a policy may also put an
 * end to one that closes the tenant.
 */

static void
ngx_http_lockbox_policy_compare(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    int64_t                            version;
    ngx_http_lockbox_policy_change_t  *change;

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    change = call->data;

    if (ngx_http_lockbox_policy_version(result->request, &version) != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (change->version != version) {
        ngx_http_lockbox_policy_conflict(call, result->request);
        return;
    }

    call->leg->policy_version = version + 1;

    if (ngx_http_lockbox_admin_intent(call) != NGX_OK) {
        return;
    }

    ngx_http_lockbox_admin_step(call, "set_policy",
                           ngx_http_lockbox_policy_args(call, result->request),
                           ngx_http_lockbox_policy_changed);
}


static json_t *
ngx_http_lockbox_policy_args(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields)
{
    json_t                            *record, *args;
    ngx_str_t                          text, jws;
    ngx_pool_t                        *pool;
    ngx_lockbox_policy_seal_t          seal;
    ngx_http_lockbox_main_conf_t      *mcf;
    ngx_http_lockbox_policy_change_t  *change;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);
    pool = call->request->pool;
    change = call->data;

    seal.tenant = call->tenant;
    seal.version = change->version + 1;
    seal.by_iss = call->identity.iss;
    seal.by_sub = call->identity.sub;
    seal.token_hash = call->identity.token_hash;
    seal.auth_time = call->identity.auth_time;
    seal.acr = call->identity.acr;
    seal.at = ngx_lockbox_clock_msec();

    if (ngx_lockbox_json_dump(pool, change->policy, &text) != NGX_OK
        || ngx_lockbox_base64url_sha256(pool, &text, &seal.hash) != NGX_OK
        || ngx_http_lockbox_policy_before(pool, fields, change->version,
                                          &seal.prev)
           != NGX_OK
        || ngx_lockbox_policy_seal_sign(pool, mcf->signing.elts,
                                        &mcf->grant_issuer, &seal, &jws)
           != NGX_OK)
    {
        return NULL;
    }

    record = ngx_lockbox_json_own(pool,
                 json_pack("{s:s, s:s, s:o, s:o, s:O, s:o}",
                           "stage", "customer",
                           "decision", "policy",
                           "by", ngx_http_lockbox_policy_author(&seal),
                           "at", ngx_http_lockbox_admin_view_time(seal.at),
                           "policy", change->policy,
                           "seal", ngx_lockbox_json_text(&jws)));

    if (ngx_lockbox_json_dump(pool, record, &text) != NGX_OK) {
        return NULL;
    }

    args = ngx_http_lockbox_policy_about(call);

    if (ngx_lockbox_json_set(args, "version",
                             json_integer((json_int_t) change->version))
        != NGX_OK
        || ngx_lockbox_json_set(args, "decision",
                                ngx_lockbox_json_text(&text)) != NGX_OK
        || ngx_lockbox_json_set(args, "decided_at",
                                json_integer((json_int_t) seal.at)) != NGX_OK)
    {
        json_decref(args);
        return NULL;
    }

    return args;
}


/* The hash of the seal that is replaced; empty when none is there. */

static ngx_int_t
ngx_http_lockbox_policy_before(ngx_pool_t *pool, const json_t *fields,
    int64_t version, ngx_str_t *hash)
{
    json_t     *record;
    ngx_str_t   text;

    ngx_str_null(hash);

    if (version == 0
        || ngx_http_lockbox_policy_record(pool, fields, version, &record)
           != NGX_OK
        || ngx_lockbox_json_string(record, "seal", &text) != NGX_OK)
    {
        return NGX_OK;
    }

    return ngx_lockbox_base64url_sha256(pool, &text, hash);
}


static void
ngx_http_lockbox_policy_changed(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    if (result->decision == NGX_LOCKBOX_CONFLICT) {
        ngx_http_lockbox_policy_conflict(call, result->request);
        return;
    }

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    ngx_http_lockbox_policy_show(call, result->request);
}


static void
ngx_http_lockbox_policy_conflict(ngx_http_lockbox_admin_call_t *call,
    const json_t *fields)
{
    json_t   *more;
    int64_t   version;

    more = ngx_http_lockbox_policy_version(fields, &version) == NGX_OK
           ? json_pack("{s:I}", "version", (json_int_t) version) : NULL;

    ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_CONFLICT, NULL, more);

    json_decref(more);
}
