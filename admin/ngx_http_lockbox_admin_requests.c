/*
 * What the calls do: filing, looking, and who the caller is.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_admin_policy.h"
#include "ngx_http_lockbox_admin_query.h"
#include "ngx_http_lockbox_admin_seals.h"
#include "ngx_http_lockbox_headers.h"
#include "ngx_lockbox_body.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"


/* Filings that find another policy by the time they get to Redis. */
#define NGX_HTTP_LOCKBOX_FILINGS   3

#define NGX_HTTP_LOCKBOX_PAGE      50
#define NGX_HTTP_LOCKBOX_PAGE_MAX  100

/* bytes of a name from an identity token that a query may have */
#define NGX_HTTP_LOCKBOX_PERSON    1024

#define NGX_HTTP_LOCKBOX_NO_TIME   (-1)


typedef struct {
    ngx_lockbox_body_filing_t        body;
    ngx_http_lockbox_admin_policy_t  policy;   /* that it goes by */
} ngx_http_lockbox_filing_t;


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


static ngx_int_t ngx_http_lockbox_filing_heard(
    ngx_http_lockbox_admin_call_t *call, ngx_uint_t customers);
static void ngx_http_lockbox_filing_ruled(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_filing_extends(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_http_lockbox_filing_extended(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result, ngx_lockbox_fault_t *fault);
static void ngx_http_lockbox_filing_send(ngx_http_lockbox_admin_call_t *call);
static ngx_int_t ngx_http_lockbox_filing_served(ngx_pool_t *pool,
    const ngx_array_t *gated, const ngx_str_t *tenant,
    const ngx_lockbox_scope_t *scope, ngx_lockbox_fault_t *fault);
static ngx_uint_t ngx_http_lockbox_filing_known(const ngx_array_t *gated,
    const ngx_str_t *tenant);
static ngx_uint_t ngx_http_lockbox_filing_location(const ngx_array_t *gated,
    const ngx_str_t *tenant, const ngx_str_t *service, const ngx_str_t *label);
static ngx_uint_t ngx_http_lockbox_filing_opens(const ngx_array_t *gated,
    const ngx_str_t *tenant, const ngx_lockbox_item_t *item);
static ngx_uint_t ngx_http_lockbox_filing_of_tenant(
    const ngx_http_lockbox_loc_conf_t *lcf, const ngx_str_t *tenant);
static void ngx_http_lockbox_filing_labels(
    const ngx_http_lockbox_loc_conf_t *lcf, ngx_lockbox_strings_t *labels);
static ngx_uint_t ngx_http_lockbox_filing_labelled(
    const ngx_lockbox_strings_t *labels, const ngx_str_t *label);
static json_t *ngx_http_lockbox_filing_args(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_filing_t *filed);
static json_t *ngx_http_lockbox_filing_said(ngx_pool_t *pool,
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


/* What a request may have become for another one to extend it. */

static const char *const  ngx_http_lockbox_extendable[] = {
    "approved", "expired", "completed", NULL
};


static const char  ngx_http_lockbox_not_extendable[] =
    "It is no request of yours to this tenant that can be extended.";

static const char  ngx_http_lockbox_too_many_open[] =
    "As many of your requests to this tenant as you may have wait for "
    "somebody already: cancel one, or come back when one is decided.";


void
ngx_http_lockbox_admin_file(ngx_http_lockbox_admin_call_t *call)
{
    ngx_int_t                       rc;
    ngx_http_request_t             *r;
    ngx_lockbox_fault_t             fault;
    ngx_lockbox_body_limits_t       limits;
    ngx_http_lockbox_filing_t      *filing;
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

    rc = NGX_ERROR;
    filing = ngx_pcalloc(r->pool, sizeof(ngx_http_lockbox_filing_t));
    call->data = filing;

    if (filing != NULL) {
        rc = ngx_lockbox_body_filing(r->pool, call->body, &limits,
                                     &filing->body, &fault);
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

    if (ngx_http_lockbox_filing_heard(call,
                       ngx_http_lockbox_admin_customers(conf, &call->tenant))
        != NGX_OK)
    {
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

    rc = ngx_http_lockbox_filing_served(r->pool, &mcf->gated, &call->tenant,
                                        &filing->body.scope, &fault);

    if (rc == NGX_OK) {
        rc = ngx_http_lockbox_admin_fits(call, &call->identity.iss,
                                         &call->identity.sub,
                                         &filing->body.scope, &fault);
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

    if (filing->body.extends.len != 0) {
        ngx_http_lockbox_admin_step(call, "show",
                   ngx_http_lockbox_admin_about_other(call,
                                                      &filing->body.extends),
                   ngx_http_lockbox_filing_extends);
        return;
    }

    ngx_http_lockbox_admin_policy_look(call, ngx_http_lockbox_filing_ruled);
}


/* Who has to approve must have a voice; else the call has been refused. */

static ngx_int_t
ngx_http_lockbox_filing_heard(ngx_http_lockbox_admin_call_t *call,
    ngx_uint_t customers)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);

    if (customers == 0
        || ngx_lockbox_identity_customer_possible(&mcf->issuers,
                                                  &call->tenant))
    {
        return NGX_OK;
    }

    ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_NOT_FOUND,
                                  "No identity provider is configured that "
                                  "could speak for the customer of this "
                                  "tenant.", NULL);

    return NGX_DECLINED;
}


static void
ngx_http_lockbox_filing_extends(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_int_t            rc;
    ngx_lockbox_fault_t  fault;

    if (result->decision != NGX_LOCKBOX_ALLOW
        && result->decision != NGX_LOCKBOX_NOT_FOUND)
    {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    rc = ngx_http_lockbox_filing_extended(call, result, &fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_http_lockbox_admin_policy_look(call, ngx_http_lockbox_filing_ruled);
}


/*
 * Whether there is something that the caller may go on from, and this goes no
 * further.  What is another's reads like what is not there.
 */

static ngx_int_t
ngx_http_lockbox_filing_extended(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result, ngx_lockbox_fault_t *fault)
{
    time_t                          begins, ends;
    ngx_int_t                       rc;
    ngx_lockbox_body_filing_t      *filing;
    ngx_http_lockbox_filing_t      *filed;
    ngx_http_lockbox_admin_case_t   old;

    filed = call->data;
    filing = &filed->body;
    rc = NGX_DECLINED;

    if (result->decision == NGX_LOCKBOX_ALLOW) {
        rc = ngx_http_lockbox_admin_case_old(call, &filing->extends,
                                             result->request, &old);
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK
        || !ngx_lockbox_text_same(&old.engineer_iss, &call->identity.iss)
        || !ngx_lockbox_text_same(&old.engineer_sub, &call->identity.sub)
        || !ngx_lockbox_text_among(&old.state, ngx_http_lockbox_extendable)
        || ngx_http_lockbox_admin_window(call, &old, &begins, &ends)
           != NGX_OK)
    {
        return ngx_lockbox_json_fault(call->request->pool, fault,
                                      ngx_http_lockbox_not_extendable,
                                      "/extends");
    }

    if (begins > ngx_time()) {
        return ngx_lockbox_json_fault(call->request->pool, fault,
                                      "It has not begun yet.", "/extends");
    }

    if (!ngx_lockbox_scope_within(&filing->scope, &old.scope)) {
        return ngx_lockbox_json_fault(call->request->pool, fault,
                                      "It opens more than the request that "
                                      "it extends.", "/access");
    }

    return NGX_OK;
}


/* What the tenant's policy does not allow is not asked for. */

static void
ngx_http_lockbox_filing_ruled(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_int_t                   rc;
    ngx_lockbox_fault_t         fault;
    ngx_http_lockbox_filing_t  *filing;
    ngx_lockbox_policy_wish_t   wish;

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    filing = call->data;

    if (ngx_http_lockbox_admin_policy_open(call, result->request,
                                           &filing->policy)
        != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (ngx_http_lockbox_filing_heard(call, filing->policy.rules.approvals)
        != NGX_OK)
    {
        return;
    }

    wish.scope = &filing->body.scope;
    wish.duration = filing->body.duration;
    wish.reason = filing->body.reason;

    rc = ngx_lockbox_policy_allows(call->request->pool, &filing->policy.rules,
                                   &wish, &fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_http_lockbox_filing_send(call);
}


static void
ngx_http_lockbox_filing_send(ngx_http_lockbox_admin_call_t *call)
{
    call->leg->request_id = call->id;

    if (ngx_http_lockbox_admin_intent(call) != NGX_OK) {
        return;
    }

    ngx_http_lockbox_admin_step(call, "file",
                                ngx_http_lockbox_filing_args(call, call->data),
                                ngx_http_lockbox_filed);
}


/* What no gated location here can serve would open nothing. */

static ngx_int_t
ngx_http_lockbox_filing_served(ngx_pool_t *pool, const ngx_array_t *gated,
    const ngx_str_t *tenant, const ngx_lockbox_scope_t *scope,
    ngx_lockbox_fault_t *fault)
{
    ngx_uint_t                 i, j;
    const ngx_lockbox_item_t  *item;

    if (!ngx_http_lockbox_filing_known(gated, tenant)) {
        return NGX_OK;
    }

    for (i = 0; i < scope->nelts; i++) {
        item = &scope->elts[i];

        if (!ngx_http_lockbox_filing_location(gated, tenant, &item->service,
                                              NULL))
        {
            return ngx_lockbox_json_fault(pool, fault,
                                          "No location here serves it.",
                                          "/access/%lu/service",
                                          (unsigned long) i);
        }

        for (j = 0; j < item->labels.nelts; j++) {
            if (!ngx_http_lockbox_filing_location(gated, tenant,
                                                  &item->service,
                                                  &item->labels.elts[j]))
            {
                return ngx_lockbox_json_fault(pool, fault,
                                              "No location of this service "
                                              "has it.",
                                              "/access/%lu/labels/%lu",
                                              (unsigned long) i,
                                              (unsigned long) j);
            }
        }

        if (!ngx_http_lockbox_filing_opens(gated, tenant, item)) {
            return ngx_lockbox_json_fault(pool, fault,
                                          "Every location of this service has "
                                          "a label that is missing.",
                                          "/access/%lu/labels",
                                          (unsigned long) i);
        }
    }

    return NGX_OK;
}


/* Not if one takes its service from the request, or all are elsewhere. */

static ngx_uint_t
ngx_http_lockbox_filing_known(const ngx_array_t *gated,
    const ngx_str_t *tenant)
{
    ngx_uint_t                     i;
    ngx_http_lockbox_loc_conf_t  **lcf;

    lcf = gated->elts;

    for (i = 0; i < gated->nelts; i++) {
        if (lcf[i]->service->lengths != NULL
            && ngx_http_lockbox_filing_of_tenant(lcf[i], tenant))
        {
            return 0;
        }
    }

    return gated->nelts != 0;
}


/* Whether one is of that service and, if a label is given, carries it. */

static ngx_uint_t
ngx_http_lockbox_filing_location(const ngx_array_t *gated,
    const ngx_str_t *tenant, const ngx_str_t *service, const ngx_str_t *label)
{
    ngx_uint_t                     i;
    ngx_lockbox_strings_t          labels;
    ngx_http_lockbox_loc_conf_t  **lcf;

    lcf = gated->elts;

    for (i = 0; i < gated->nelts; i++) {

        if (!ngx_http_lockbox_filing_of_tenant(lcf[i], tenant)
            || !ngx_lockbox_text_same(&lcf[i]->service->value, service))
        {
            continue;
        }

        ngx_http_lockbox_filing_labels(lcf[i], &labels);

        if (label == NULL || ngx_http_lockbox_filing_labelled(&labels, label))
        {
            return 1;
        }
    }

    return 0;
}


/* Whether one is of the item's service and has no label but the item's. */

static ngx_uint_t
ngx_http_lockbox_filing_opens(const ngx_array_t *gated,
    const ngx_str_t *tenant, const ngx_lockbox_item_t *item)
{
    ngx_uint_t                     i, j;
    ngx_lockbox_strings_t          labels;
    ngx_http_lockbox_loc_conf_t  **lcf;

    lcf = gated->elts;

    for (i = 0; i < gated->nelts; i++) {

        if (!ngx_http_lockbox_filing_of_tenant(lcf[i], tenant)
            || !ngx_lockbox_text_same(&lcf[i]->service->value, &item->service))
        {
            continue;
        }

        ngx_http_lockbox_filing_labels(lcf[i], &labels);

        for (j = 0; j < labels.nelts; j++) {
            if (!ngx_http_lockbox_filing_labelled(&item->labels,
                                                  &labels.elts[j]))
            {
                break;
            }
        }

        if (j == labels.nelts) {
            return 1;
        }
    }

    return 0;
}


/* A location that takes its tenant from the request may be anyone's. */

static ngx_uint_t
ngx_http_lockbox_filing_of_tenant(const ngx_http_lockbox_loc_conf_t *lcf,
    const ngx_str_t *tenant)
{
    return lcf->tenant->lengths != NULL
           || ngx_lockbox_text_same(&lcf->tenant->value, tenant);
}


static void
ngx_http_lockbox_filing_labels(const ngx_http_lockbox_loc_conf_t *lcf,
    ngx_lockbox_strings_t *labels)
{
    labels->nelts = 0;
    labels->elts = NULL;

    if (lcf->labels != NULL) {
        labels->nelts = lcf->labels->nelts;
        labels->elts = lcf->labels->elts;
    }
}


static ngx_uint_t
ngx_http_lockbox_filing_labelled(const ngx_lockbox_strings_t *labels,
    const ngx_str_t *label)
{
    ngx_uint_t  i;

    for (i = 0; i < labels->nelts; i++) {
        if (ngx_lockbox_text_same(&labels->elts[i], label)) {
            return 1;
        }
    }

    return 0;
}


static json_t *
ngx_http_lockbox_filing_args(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_filing_t *filed)
{
    json_t                           *args, *request, *said;
    ngx_str_t                         access, decision;
    ngx_lockbox_seal_t                seal;
    ngx_http_lockbox_admin_conf_t    *conf;
    const ngx_lockbox_body_filing_t  *filing;

    conf = ngx_http_lockbox_admin_conf(call->request);
    filing = &filed->body;

    ngx_memzero(&seal, sizeof(ngx_lockbox_seal_t));

    seal.engineer_iss = call->identity.iss;
    seal.engineer_sub = call->identity.sub;
    seal.duration = filing->duration;
    ngx_http_lockbox_admin_policy_seal(&filed->policy, &seal);
    ngx_str_set(&seal.stage, "engineer");
    ngx_str_set(&seal.decision, "request");
    seal.extends = filing->extends;

    said = ngx_http_lockbox_filing_said(call->request->pool, filing);

    if (ngx_http_lockbox_admin_seal(call, &seal, &filing->scope, said,
                                    &access, &decision)
        != NGX_OK)
    {
        return NULL;
    }

    request = json_pack("{s:o, s:o, s:I, s:o}",
                  "id", ngx_lockbox_json_text(&call->id),
                  "tenant", ngx_lockbox_json_text(&call->tenant),
                  "duration", (json_int_t) filing->duration,
                  "access", ngx_lockbox_json_text(&access));

    if (json_object_update(request, said) != 0
        || (filing->extends.len != 0
            && ngx_lockbox_json_set(request, "extends",
                                    ngx_lockbox_json_text(&filing->extends))
               != NGX_OK))
    {
        json_decref(request);
        return NULL;
    }

    args = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}",
                  "actor", ngx_http_lockbox_admin_actor(&call->identity),
                  "request", request,
                  "decision", ngx_lockbox_json_text(&decision),
                  "decided_at", (json_int_t) seal.at,
                  "policy", (json_int_t) filed->policy.version,
                  "answer_within", (json_int_t) conf->manager_within * 1000,
                  "lapses_within", (json_int_t) 1000
                      * (conf->manager_within + conf->customer_within
                         + conf->engineer_within),
                  "max_open", (json_int_t) conf->max_open,
                  "retention", (json_int_t) conf->retention * 1000);

    return args;
}


static json_t *
ngx_http_lockbox_filing_said(ngx_pool_t *pool,
    const ngx_lockbox_body_filing_t *filing)
{
    json_t  *said;

    said = ngx_lockbox_json_own(pool,
               json_pack("{s:o, s:o}",
                         "justification",
                         ngx_lockbox_json_text(&filing->justification),
                         "reason", ngx_lockbox_json_text(&filing->reason)));

    if (filing->ticket.len != 0
        && ngx_lockbox_json_set(said, "ticket",
                                ngx_lockbox_json_text(&filing->ticket))
           != NGX_OK)
    {
        return NULL;
    }

    return said;
}


static void
ngx_http_lockbox_filed(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    u_char                             *p;
    ngx_str_t                           location;
    ngx_http_request_t                 *r;
    ngx_lockbox_fault_t                 fault;
    ngx_http_lockbox_admin_loc_conf_t  *lcf;

    if (result->stale && ++call->attempts < NGX_HTTP_LOCKBOX_FILINGS) {
        ngx_http_lockbox_admin_policy_look(call,
                                           ngx_http_lockbox_filing_ruled);
        return;
    }

    if (result->decision == NGX_LOCKBOX_INVALID_MEMBER) {
        ngx_str_set(&fault.member, "/extends");
        fault.reason = ngx_http_lockbox_not_extendable;
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    /* the policy does not stand still, or the id is another one's */

    if (result->decision == NGX_LOCKBOX_CONFLICT) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (result->decision == NGX_LOCKBOX_TOO_MANY_REQUESTS) {
        ngx_http_lockbox_admin_refuse(call, result->decision,
                                      ngx_http_lockbox_too_many_open, NULL);
        return;
    }

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
    return ngx_http_lockbox_admin_about_other(call, &call->id);
}


json_t *
ngx_http_lockbox_admin_about_other(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *id)
{
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);

    return json_pack("{s:o, s:o, s:o, s:I}",
                     "actor", ngx_http_lockbox_admin_actor(&call->identity),
                     "tenant", ngx_lockbox_json_text(&call->tenant),
                     "id", ngx_lockbox_json_text(id),
                     "managers", (json_int_t) conf->manager_needed);
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
    json_t                         *args;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);

    args = json_pack("{s:o, s:I, s:I}",
                     "actor", ngx_http_lockbox_admin_actor(&call->identity),
                     "limit", (json_int_t) query->limit,
                     "managers", (json_int_t) conf->manager_needed);

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
