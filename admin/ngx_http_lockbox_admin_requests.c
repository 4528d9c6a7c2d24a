/*
 * What the calls do: filing, looking, and who the caller is.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_admin_query.h"
#include "ngx_http_lockbox_admin_seals.h"
#include "ngx_http_lockbox_headers.h"
#include "ngx_lockbox_body.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_PAGE      50
#define NGX_HTTP_LOCKBOX_PAGE_MAX  100

/* bytes of a name from an identity token that a query may have */
#define NGX_HTTP_LOCKBOX_PERSON    1024

#define NGX_HTTP_LOCKBOX_NO_TIME   (-1)


/* What a list is asked for; what is empty, zero or no time is not asked. */
typedef struct {
    ngx_str_t                  tenant;
    ngx_str_t                  view;
    uint64_t                   states;        /* a bit for each */
    ngx_str_t                  engineer;      /* sub */
    ngx_str_t                  engineer_iss;
    int64_t                    since;         /* Unix ms */
    int64_t                    until;
    ngx_str_t                  cursor;
    int64_t                    limit;
} ngx_http_lockbox_list_t;


static json_t *ngx_http_lockbox_filing_args(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_body_filing_t *filing);
static void ngx_http_lockbox_filed(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_shown(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static json_t *ngx_http_lockbox_list_args(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_list_t *query);
static json_t *ngx_http_lockbox_list_states(uint64_t states);
static json_t *ngx_http_lockbox_list_engineer(
    const ngx_http_lockbox_list_t *query);
static ngx_int_t ngx_http_lockbox_list_text(json_t *args, const char *name,
    const ngx_str_t *text);
static ngx_int_t ngx_http_lockbox_list_time(json_t *args, const char *name,
    int64_t msec);
static void ngx_http_lockbox_listed_page(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);


static const char *const  ngx_http_lockbox_states[] = {
    "awaiting_manager", "awaiting_customer", "needs_info", "approved",
    "denied", "lapsed", "cancelled", "revoked", "completed", "expired", NULL
};


static const char *const  ngx_http_lockbox_list_views[] = {
    "awaiting", "mine", "live", "history", NULL
};


/* The first one is not for lists whose path names the tenant. */

static const ngx_lockbox_query_parameter_t  ngx_http_lockbox_list_query[] = {

    { "tenant", NGX_LOCKBOX_QUERY_TENANT,
      offsetof(ngx_http_lockbox_list_t, tenant), NULL, 0, 0 },

    { "view", NGX_LOCKBOX_QUERY_WORD,
      offsetof(ngx_http_lockbox_list_t, view),
      ngx_http_lockbox_list_views, 0, 0 },

    { "state", NGX_LOCKBOX_QUERY_WORDS,
      offsetof(ngx_http_lockbox_list_t, states),
      ngx_http_lockbox_states, 0, 0 },

    { "engineer", NGX_LOCKBOX_QUERY_TEXT,
      offsetof(ngx_http_lockbox_list_t, engineer),
      NULL, 0, NGX_HTTP_LOCKBOX_PERSON },

    { "engineer_iss", NGX_LOCKBOX_QUERY_TEXT,
      offsetof(ngx_http_lockbox_list_t, engineer_iss),
      NULL, 0, NGX_HTTP_LOCKBOX_PERSON },

    { "since", NGX_LOCKBOX_QUERY_TIME,
      offsetof(ngx_http_lockbox_list_t, since), NULL, 0, 0 },

    { "until", NGX_LOCKBOX_QUERY_TIME,
      offsetof(ngx_http_lockbox_list_t, until), NULL, 0, 0 },

    { "cursor", NGX_LOCKBOX_QUERY_TEXT,
      offsetof(ngx_http_lockbox_list_t, cursor),
      NULL, 0, NGX_HTTP_LOCKBOX_CURSOR_MAX },

    { "limit", NGX_LOCKBOX_QUERY_NUMBER,
      offsetof(ngx_http_lockbox_list_t, limit),
      NULL, 1, NGX_HTTP_LOCKBOX_PAGE_MAX },

    { NULL, NGX_LOCKBOX_QUERY_WORD, 0, NULL, 0, 0 }
};


void
ngx_http_lockbox_admin_file(ngx_http_lockbox_admin_call_t *call)
{
    ngx_int_t                       rc;
    ngx_http_request_t             *r;
    ngx_lockbox_fault_t             fault;
    ngx_lockbox_body_limits_t       limits;
    ngx_lockbox_body_filing_t       filing;
    ngx_http_lockbox_main_conf_t   *mcf;
    ngx_http_lockbox_admin_conf_t  *conf;

    r = call->request;
    mcf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_module);
    conf = ngx_http_lockbox_admin_conf(r);

    if (!(call->identity.roles & NGX_LOCKBOX_ROLE_ENGINEER)) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_FORBIDDEN_ROLE, NULL,
                                      NULL);
        return;
    }

    limits.max_duration = mcf->max_duration;
    limits.ticket = conf->ticket;

    rc = ngx_lockbox_body_filing(r->pool, call->body, &limits, &filing,
                                 &fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (ngx_http_lockbox_admin_customers(conf, &call->tenant) != 0
        && !ngx_lockbox_identity_customer_possible(&mcf->issuers,
                                                   &call->tenant))
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_NOT_FOUND,
                                      "No identity provider is configured "
                                      "that could speak for the customer of "
                                      "this tenant.", NULL);
        return;
    }

    call->id.len = NGX_LOCKBOX_ID_LEN;
    call->id.data = ngx_pnalloc(r->pool, NGX_LOCKBOX_ID_LEN);

    if (call->id.data == NULL
        || ngx_lockbox_id_create(call->id.data,
                                 (uint64_t) ngx_lockbox_clock_msec(), NULL)
           != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    rc = ngx_http_lockbox_admin_fits(call, &call->identity.iss,
                                     &call->identity.sub, &filing.scope,
                                     &fault);
    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    call->leg->request_id = call->id;

    if (ngx_http_lockbox_admin_intent(call) != NGX_OK) {
        return;
    }

    ngx_http_lockbox_admin_step(call, "file",
                                ngx_http_lockbox_filing_args(call, &filing),
                                ngx_http_lockbox_filed);
}


static json_t *
ngx_http_lockbox_filing_args(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_body_filing_t *filing)
{
    json_t                         *args, *request;
    ngx_str_t                       access, decision;
    ngx_lockbox_seal_t              seal;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);

    ngx_memzero(&seal, sizeof(ngx_lockbox_seal_t));

    seal.engineer_iss = call->identity.iss;
    seal.engineer_sub = call->identity.sub;
    seal.duration = filing->duration;
    ngx_str_set(&seal.stage, "engineer");
    ngx_str_set(&seal.decision, "request");

    if (ngx_http_lockbox_admin_seal(call, &seal, &filing->scope, NULL,
                                    &access, &decision)
        != NGX_OK)
    {
        return NULL;
    }

    request = json_pack("{s:o, s:o, s:o, s:o, s:I, s:o}",
                  "id", ngx_lockbox_json_text(&call->id),
                  "tenant", ngx_lockbox_json_text(&call->tenant),
                  "justification",
                      ngx_lockbox_json_text(&filing->justification),
                  "reason", ngx_lockbox_json_text(&filing->reason),
                  "duration", (json_int_t) filing->duration,
                  "access", ngx_lockbox_json_text(&access));

    if (filing->ticket.len != 0
        && ngx_lockbox_json_set(request, "ticket",
                                ngx_lockbox_json_text(&filing->ticket))
           != NGX_OK)
    {
        json_decref(request);
        return NULL;
    }

    args = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I}",
                  "actor", ngx_http_lockbox_admin_actor(&call->identity),
                  "request", request,
                  "decision", ngx_lockbox_json_text(&decision),
                  "decided_at", (json_int_t) seal.at,
                  "answer_within", (json_int_t) conf->manager_within * 1000,
                  "retention", (json_int_t) conf->retention * 1000);

    return args;
}


static void
ngx_http_lockbox_filed(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    u_char                             *p;
    ngx_str_t                           location;
    ngx_http_request_t                 *r;
    ngx_http_lockbox_admin_loc_conf_t  *lcf;

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    r = call->request;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_admin_module);

    location.len = lcf->prefix.len + sizeof("v1/tenants//requests/") - 1
                   + call->tenant.len + call->id.len;
    location.data = ngx_pnalloc(r->pool, location.len);

    if (location.data != NULL) {
        p = location.data;
        (void) ngx_slprintf(p, p + location.len, "%Vv1/tenants/%V/requests/%V",
                            &lcf->prefix, &call->tenant, &call->id);
    }

    if (location.data == NULL
        || ngx_http_lockbox_header_add(r, "Location", &location) != NGX_OK)
    {
        ngx_http_lockbox_admin_answer(call, NGX_HTTP_CREATED, NULL);
        return;
    }

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_CREATED,
                                 ngx_http_lockbox_admin_view(result->request));
}


void
ngx_http_lockbox_admin_show(ngx_http_lockbox_admin_call_t *call)
{
    ngx_http_lockbox_admin_step(call, "show",
                                ngx_http_lockbox_admin_about(call),
                                ngx_http_lockbox_shown);
}


static void
ngx_http_lockbox_shown(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK,
                                 ngx_http_lockbox_admin_view(result->request));
}


json_t *
ngx_http_lockbox_admin_about(ngx_http_lockbox_admin_call_t *call)
{
    return json_pack("{s:o, s:o, s:o}",
                     "actor", ngx_http_lockbox_admin_actor(&call->identity),
                     "tenant", ngx_lockbox_json_text(&call->tenant),
                     "id", ngx_lockbox_json_text(&call->id));
}


json_t *
ngx_http_lockbox_admin_actor(const ngx_lockbox_identity_t *identity)
{
    json_t                         *actor, *roles;
    const ngx_lockbox_role_name_t  *name;

    roles = json_object();

    for (name = ngx_lockbox_role_names; name->name != NULL; name++) {
        if (ngx_lockbox_json_set(roles, name->name,
                                 json_boolean(identity->roles & name->role))
            != NGX_OK)
        {
            json_decref(roles);
            return NULL;
        }
    }

    actor = json_pack("{s:o, s:o, s:o}",
                      "iss", ngx_lockbox_json_text(&identity->iss),
                      "sub", ngx_lockbox_json_text(&identity->sub),
                      "roles", roles);

    if (identity->tenant.len != 0
        && ngx_lockbox_json_set(actor, "tenant",
                                ngx_lockbox_json_text(&identity->tenant))
           != NGX_OK)
    {
        json_decref(actor);
        return NULL;
    }

    return actor;
}


void
ngx_http_lockbox_admin_list(ngx_http_lockbox_admin_call_t *call)
{
    ngx_lockbox_fault_t                   fault;
    ngx_http_lockbox_list_t               query;
    const ngx_lockbox_query_parameter_t  *parameters;

    ngx_memzero(&query, sizeof(ngx_http_lockbox_list_t));
    query.tenant = call->tenant;
    query.since = NGX_HTTP_LOCKBOX_NO_TIME;
    query.until = NGX_HTTP_LOCKBOX_NO_TIME;
    query.limit = NGX_HTTP_LOCKBOX_PAGE;

    parameters = ngx_http_lockbox_list_query;

    if (call->tenant.len != 0) {
        parameters++;
    }

    if (ngx_http_lockbox_admin_query(call, parameters, &query) != NGX_OK) {
        return;
    }

    if (query.engineer_iss.len != 0 && query.engineer.len == 0) {
        ngx_str_set(&fault.member, "engineer_iss");
        fault.reason = "It goes with the parameter \"engineer\".";
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    ngx_http_lockbox_admin_step(call, "list",
                                ngx_http_lockbox_list_args(call, &query),
                                ngx_http_lockbox_listed_page);
}


static json_t *
ngx_http_lockbox_list_args(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_list_t *query)
{
    json_t  *args;

    args = json_pack("{s:o, s:I}",
                     "actor", ngx_http_lockbox_admin_actor(&call->identity),
                     "limit", (json_int_t) query->limit);

    if (ngx_http_lockbox_list_text(args, "tenant", &query->tenant) != NGX_OK
        || ngx_http_lockbox_list_text(args, "view", &query->view) != NGX_OK
        || ngx_http_lockbox_list_text(args, "cursor", &query->cursor) != NGX_OK
        || ngx_http_lockbox_list_time(args, "since", query->since) != NGX_OK
        || ngx_http_lockbox_list_time(args, "before", query->until) != NGX_OK
        || (query->states != 0
            && ngx_lockbox_json_set(args, "states",
                                   ngx_http_lockbox_list_states(query->states))
               != NGX_OK)
        || (query->engineer.len != 0
            && ngx_lockbox_json_set(args, "engineer",
                                    ngx_http_lockbox_list_engineer(query))
               != NGX_OK))
    {
        json_decref(args);
        return NULL;
    }

    return args;
}


static json_t *
ngx_http_lockbox_list_states(uint64_t states)
{
    json_t      *set;
    ngx_uint_t   i;

    set = json_object();

    for (i = 0; ngx_http_lockbox_states[i] != NULL; i++) {

        if ((states & ((uint64_t) 1 << i))
            && ngx_lockbox_json_set(set, ngx_http_lockbox_states[i],
                                    json_true())
               != NGX_OK)
        {
            json_decref(set);
            return NULL;
        }
    }

    return set;
}


static json_t *
ngx_http_lockbox_list_engineer(const ngx_http_lockbox_list_t *query)
{
    json_t  *engineer;

    engineer = json_pack("{s:o}", "sub",
                         ngx_lockbox_json_text(&query->engineer));

    if (ngx_http_lockbox_list_text(engineer, "iss", &query->engineer_iss)
        != NGX_OK)
    {
        json_decref(engineer);
        return NULL;
    }

    return engineer;
}


static ngx_int_t
ngx_http_lockbox_list_text(json_t *args, const char *name,
    const ngx_str_t *text)
{
    if (text->len == 0) {
        return NGX_OK;
    }

    return ngx_lockbox_json_set(args, name, ngx_lockbox_json_text(text));
}


static ngx_int_t
ngx_http_lockbox_list_time(json_t *args, const char *name, int64_t msec)
{
    if (msec == NGX_HTTP_LOCKBOX_NO_TIME) {
        return NGX_OK;
    }

    return ngx_lockbox_json_set(args, name, json_integer(msec));
}


static void
ngx_http_lockbox_listed_page(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    size_t               i;
    json_t              *list, *answer, *next;
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

    list = json_array();

    for (i = 0; i < json_array_size(result->requests); i++) {
        if (json_array_append_new(list,
                ngx_http_lockbox_admin_view(json_array_get(result->requests,
                                                           i)))
            != 0)
        {
            json_decref(list);
            list = NULL;
            break;
        }
    }

    next = result->next.len != 0 ? ngx_lockbox_json_text(&result->next)
                                 : json_null();

    answer = json_pack("{s:o, s:o}", "requests", list, "next", next);

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK, answer);
}


void
ngx_http_lockbox_admin_whoami(ngx_http_lockbox_admin_call_t *call)
{
    json_t                         *answer, *roles;
    const ngx_lockbox_identity_t   *identity;
    const ngx_lockbox_role_name_t  *name;

    identity = &call->identity;
    roles = json_array();

    for (name = ngx_lockbox_role_names; name->name != NULL; name++) {
        if ((identity->roles & name->role)
            && json_array_append_new(roles, json_string(name->name)) != 0)
        {
            json_decref(roles);
            roles = NULL;
        }
    }

    answer = json_pack("{s:o, s:o, s:o, s:o, s:o}",
                 "iss", ngx_lockbox_json_text(&identity->iss),
                 "sub", ngx_lockbox_json_text(&identity->sub),
                 "roles", roles,
                 "tenant", identity->tenant.len != 0
                           ? ngx_lockbox_json_text(&identity->tenant)
                           : json_null(),
                 "expires_at",
                 ngx_http_lockbox_admin_view_time((int64_t) identity->expires
                                                  * 1000));

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK, answer);
}


void
ngx_http_lockbox_admin_jwks(ngx_http_lockbox_admin_call_t *call)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK,
                                  ngx_lockbox_jwks_json(&mcf->accepted));
}
