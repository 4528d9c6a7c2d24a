/*
 * What the calls do: steps on a request, and the grant.
 *
 * A step is judged twice.  Here, on what the seals bear out, before it is
 * sealed: a seal must never exist for what its maker may not do.  And in
 * workflow.lua, where all proxies meet and order is kept.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_admin_policy.h"
#include "ngx_http_lockbox_admin_seals.h"
#include "ngx_http_lockbox_certificate.h"
#include "ngx_http_lockbox_liveness.h"
#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_body.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_store.h"
#include "ngx_lockbox_text.h"


/* Header and signature of a token, by the largest key there may be. */
#define NGX_HTTP_LOCKBOX_TOKEN_FRAME   1536

/* Without a version a step is meant for whatever the request is by now. */
#define NGX_HTTP_LOCKBOX_ATTEMPTS      3

/* The most questions about a request, so that its seals stay few. */
#define NGX_HTTP_LOCKBOX_QUESTIONS     8

/* A stricter configuration leaves behind what began under the old one. */
#define NGX_HTTP_LOCKBOX_FEW_MANAGERS                                         \
    "More managers must approve now than did: the engineer has to file it "   \
    "again."

#define NGX_HTTP_LOCKBOX_FEW_APPROVALS                                        \
    "It was approved by fewer than must approve now: it has to be filed "     \
    "again."

/* States in which a step can be taken. */
#define NGX_HTTP_LOCKBOX_WAITING       0x01        /* for a decision */
#define NGX_HTTP_LOCKBOX_ASKED         0x02        /* for an answer */
#define NGX_HTTP_LOCKBOX_LIVE          0x04        /* the grant is out */


typedef struct {
    const char                        *state;
    ngx_uint_t                         kind;
} ngx_http_lockbox_state_t;


typedef struct {
    ngx_str_t                          action;
    ngx_uint_t                         states;
    unsigned                           judges:1;   /* by the stage */
    unsigned                           owner:1;    /* by the engineer alone */
    unsigned                           unsealed:1; /* also without seals */
    unsigned                           ruled:1;    /* by tenant's policy */
    unsigned                           begins:1;   /* says from when */
    ngx_lockbox_body_form_e            form;
} ngx_http_lockbox_step_t;


typedef struct {
    const ngx_http_lockbox_step_t     *step;
    ngx_lockbox_body_step_t            body;
    ngx_http_lockbox_admin_case_t      request;
    ngx_http_lockbox_admin_policy_t    policy;     /* where ruled */
    ngx_str_t                          reason;
    ngx_str_t                          given;      /* beforehand, or empty */
    ngx_str_t                          stage;
    time_t                             begins;     /* 0: when approved */
    const char                        *detail;     /* of a conflict, or NULL */
    unsigned                           tampered:1;
} ngx_http_lockbox_decision_t;


static const ngx_http_lockbox_step_t *ngx_http_lockbox_step_find(
    const ngx_str_t *action);
static void ngx_http_lockbox_decision_look(
    ngx_http_lockbox_admin_call_t *call);
static void ngx_http_lockbox_decision_seen(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_decision_rule(
    ngx_http_lockbox_admin_call_t *call);
static void ngx_http_lockbox_decision_ruled(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static ngx_uint_t ngx_http_lockbox_decision_is_outdated(
    const ngx_http_lockbox_decision_t *decision);
static void ngx_http_lockbox_decision_wish(
    const ngx_http_lockbox_decision_t *decision,
    ngx_lockbox_policy_wish_t *wish);
static void ngx_http_lockbox_decision_extends(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_decision_take(
    ngx_http_lockbox_admin_call_t *call);
static ngx_int_t ngx_http_lockbox_decision_within(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision, ngx_lockbox_fault_t *fault);
static ngx_lockbox_decision_t ngx_http_lockbox_decision_authority(
    ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision);
static ngx_lockbox_decision_t ngx_http_lockbox_decision_stage(
    ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision);
static ngx_uint_t ngx_http_lockbox_state(
    const ngx_http_lockbox_admin_case_t *request);
static ngx_uint_t ngx_http_lockbox_questions(
    const ngx_http_lockbox_admin_case_t *request);
static ngx_uint_t ngx_http_lockbox_managers(
    const ngx_http_lockbox_admin_case_t *request);
static ngx_uint_t ngx_http_lockbox_is_engineer(
    const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request);
static ngx_uint_t ngx_http_lockbox_is_owner(
    const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request);
static ngx_uint_t ngx_http_lockbox_has_decided(
    const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request);
static json_t *ngx_http_lockbox_decision_args(
    ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision);
static json_t *ngx_http_lockbox_decision_end(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision);
static void ngx_http_lockbox_decision_policy(
    const ngx_http_lockbox_decision_t *decision, ngx_lockbox_seal_t *seal);
static ngx_int_t ngx_http_lockbox_decision_given(
    ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision, const ngx_lockbox_seal_t *seal,
    const ngx_str_t *text);
static int64_t ngx_http_lockbox_decision_latest(
    const ngx_http_lockbox_decision_t *decision,
    const ngx_lockbox_seal_t *seal);
static ngx_uint_t ngx_http_lockbox_decision_may_be_given(
    const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision);
static json_t *ngx_http_lockbox_decision_said(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision);
static ngx_int_t ngx_http_lockbox_decision_narrowed(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision,
    const ngx_lockbox_scope_t *scope, int64_t duration, json_t *said);
static void ngx_http_lockbox_decision_done(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_decision_bury(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_conflict(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request, const char *detail);
static void ngx_http_lockbox_grant_seen(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_grant_recorded(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_http_lockbox_grant_window(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request, ngx_lockbox_grant_t *grant);
static ngx_lockbox_decision_t ngx_http_lockbox_grant_bind(
    ngx_http_lockbox_admin_call_t *call, ngx_lockbox_grant_t *grant);


static const ngx_http_lockbox_step_t  ngx_http_lockbox_steps[] = {
    { ngx_string("approve"), NGX_HTTP_LOCKBOX_WAITING, 1, 0, 0, 1, 1,
      NGX_LOCKBOX_BODY_APPROVAL },
    { ngx_string("deny"), NGX_HTTP_LOCKBOX_WAITING|NGX_HTTP_LOCKBOX_ASKED,
      1, 0, 0, 0, 0, NGX_LOCKBOX_BODY_DENIAL },
    { ngx_string("ask"), NGX_HTTP_LOCKBOX_WAITING, 1, 0, 0, 0, 0,
      NGX_LOCKBOX_BODY_QUESTION },
    { ngx_string("answer"), NGX_HTTP_LOCKBOX_ASKED, 0, 1, 0, 0, 0,
      NGX_LOCKBOX_BODY_ANSWER },
    { ngx_string("cancel"), NGX_HTTP_LOCKBOX_WAITING|NGX_HTTP_LOCKBOX_ASKED,
      0, 1, 0, 0, 0, NGX_LOCKBOX_BODY_STEP },
    { ngx_string("complete"), NGX_HTTP_LOCKBOX_LIVE, 0, 1, 0, 0, 0,
      NGX_LOCKBOX_BODY_STEP },
    { ngx_string("revoke"), NGX_HTTP_LOCKBOX_LIVE, 0, 0, 1, 0, 0,
      NGX_LOCKBOX_BODY_STEP },
    { ngx_null_string, 0, 0, 0, 0, 0, 0, NGX_LOCKBOX_BODY_GRANT }
};


/* All others are ends. */

static const ngx_http_lockbox_state_t  ngx_http_lockbox_states[] = {
    { "awaiting_manager", NGX_HTTP_LOCKBOX_WAITING },
    { "awaiting_customer", NGX_HTTP_LOCKBOX_WAITING },
    { "needs_info", NGX_HTTP_LOCKBOX_ASKED },
    { "approved", NGX_HTTP_LOCKBOX_LIVE },
    { NULL, 0 }
};


void
ngx_http_lockbox_admin_decide(ngx_http_lockbox_admin_call_t *call)
{
    ngx_int_t                     rc;
    ngx_lockbox_fault_t           fault;
    ngx_http_lockbox_decision_t  *decision;

    decision = ngx_pcalloc(call->request->pool,
                           sizeof(ngx_http_lockbox_decision_t));

    rc = NGX_ERROR;

    if (decision != NULL) {
        decision->step = ngx_http_lockbox_step_find(&call->route->action);
    }

    if (decision != NULL && decision->step != NULL) {
        rc = ngx_lockbox_body_step(call->request->pool, call->body,
                                   decision->step->form, &decision->body,
                                   &fault);
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

    call->data = decision;

    ngx_http_lockbox_decision_look(call);
}


static const ngx_http_lockbox_step_t *
ngx_http_lockbox_step_find(const ngx_str_t *action)
{
    const ngx_http_lockbox_step_t  *step;

    for (step = ngx_http_lockbox_steps; step->action.len != 0; step++) {
        if (ngx_lockbox_text_same(&step->action, action)) {
            return step;
        }
    }

    return NULL;
}


static void
ngx_http_lockbox_decision_look(ngx_http_lockbox_admin_call_t *call)
{
    ngx_http_lockbox_admin_step(call, "show",
                                ngx_http_lockbox_admin_about(call),
                                ngx_http_lockbox_decision_seen);
}


static void
ngx_http_lockbox_decision_seen(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_int_t                     rc;
    ngx_lockbox_fault_t           fault;
    ngx_lockbox_decision_t        word;
    ngx_http_lockbox_decision_t  *decision;

    decision = call->data;

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    rc = ngx_http_lockbox_admin_case_open(call, result->request,
                                          &decision->request);

    /*
     * What was tampered with must not be held open by that: ending a grant
     * needs no seals, for it gives nobody anything.
     */

    decision->tampered = (rc == NGX_DECLINED);

    if (rc == NGX_ERROR || (decision->tampered && !decision->step->unsealed)) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    word = ngx_http_lockbox_decision_authority(call, decision);

    if (word == NGX_LOCKBOX_CONFLICT) {
        ngx_http_lockbox_conflict(call, &decision->request,
                                  decision->detail);
        return;
    }

    if (word != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse(call, word, NULL, NULL);
        return;
    }

    rc = ngx_http_lockbox_decision_within(call, decision, &fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (ngx_lockbox_json_string(result->request, "reason", &decision->reason)
        != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (decision->step->begins && decision->request.extends.len != 0) {
        ngx_http_lockbox_admin_step(call, "show",
              ngx_http_lockbox_admin_about_other(call,
                                                 &decision->request.extends),
              ngx_http_lockbox_decision_extends);
        return;
    }

    ngx_http_lockbox_decision_rule(call);
}


static void
ngx_http_lockbox_decision_rule(ngx_http_lockbox_admin_call_t *call)
{
    ngx_http_lockbox_decision_t  *decision;

    decision = call->data;

    if (!decision->step->ruled) {
        ngx_http_lockbox_decision_take(call);
        return;
    }

    ngx_http_lockbox_admin_policy_look(call, ngx_http_lockbox_decision_ruled);
}


/* What the policy does not allow by now has to be narrowed first. */

static void
ngx_http_lockbox_decision_ruled(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_int_t                     rc;
    ngx_lockbox_fault_t           fault;
    ngx_lockbox_policy_wish_t     wish;
    ngx_http_lockbox_decision_t  *decision;

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    decision = call->data;

    if (ngx_http_lockbox_admin_policy_open(call, result->request,
                                           &decision->policy)
        != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (ngx_http_lockbox_decision_is_outdated(decision)) {
        ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                      "lockbox: the stored policy of the tenant \"%V\" is "
                      "older than the one that the request \"%V\" went by",
                      &call->tenant, &call->id);
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_http_lockbox_decision_wish(decision, &wish);

    rc = ngx_lockbox_policy_allows(call->request->pool,
                                   &decision->policy.rules, &wish, &fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_http_lockbox_decision_take(call);
}


/* Nobody can put an older policy back in the middle of a request. */

static ngx_uint_t
ngx_http_lockbox_decision_is_outdated(
    const ngx_http_lockbox_decision_t *decision)
{
    const ngx_lockbox_seal_t               *before;
    const ngx_http_lockbox_admin_policy_t  *policy;

    before = &decision->request.seals[decision->request.nseals - 1];
    policy = &decision->policy;

    return policy->version < before->policy_version
           || (policy->version == before->policy_version
               && !ngx_lockbox_text_same(&policy->seal.hash,
                                         &before->policy_hash));
}


/* The request as it is after the decision. */

static void
ngx_http_lockbox_decision_wish(const ngx_http_lockbox_decision_t *decision,
    ngx_lockbox_policy_wish_t *wish)
{
    wish->scope = decision->body.scope.nelts != 0 ? &decision->body.scope
                                                  : &decision->request.scope;
    wish->duration = decision->body.duration != 0 ? decision->body.duration
                                                  : decision->request.duration;
    wish->reason = decision->reason;
}


/*
 * From when the request may run that is approved: from the end of the one that
 * it extends, as that was sealed, as long as it is good.
 */

static void
ngx_http_lockbox_decision_extends(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    time_t                          begins;
    ngx_http_lockbox_decision_t    *decision;
    ngx_http_lockbox_admin_case_t   old;

    decision = call->data;
    decision->begins = 0;

    if (result->decision == NGX_LOCKBOX_NOT_FOUND) {
        ngx_http_lockbox_decision_rule(call);
        return;
    }

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    if (ngx_http_lockbox_admin_case_old(call, &decision->request.extends,
                                        result->request, &old)
        != NGX_OK
        || (ngx_lockbox_text_is(&old.state, "approved")
            && ngx_http_lockbox_admin_window(call, &old, &begins,
                                             &decision->begins)
               == NGX_ERROR))
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_http_lockbox_decision_rule(call);
}


static void
ngx_http_lockbox_decision_take(ngx_http_lockbox_admin_call_t *call)
{
    ngx_http_lockbox_decision_t  *decision;

    decision = call->data;

    if (ngx_http_lockbox_admin_intent(call) != NGX_OK) {
        return;
    }

    ngx_http_lockbox_admin_step(call, (char *) decision->step->action.data,
                                ngx_http_lockbox_decision_args(call, decision),
                                ngx_http_lockbox_decision_done);
}


/* What the caller has made of the request must lie within it. */

static ngx_int_t
ngx_http_lockbox_decision_within(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision, ngx_lockbox_fault_t *fault)
{
    const ngx_http_lockbox_admin_case_t  *request;

    request = &decision->request;

    if (decision->body.duration > request->duration) {
        return ngx_lockbox_json_fault(call->request->pool, fault,
                                      "It is longer than the request asks "
                                      "for.", "/duration");
    }

    if (decision->body.scope.nelts == 0) {
        return NGX_OK;
    }

    if (!ngx_lockbox_scope_within(&decision->body.scope, &request->scope)) {
        return ngx_lockbox_json_fault(call->request->pool, fault,
                                      "It opens more than the request asks "
                                      "for.", "/access");
    }

    return ngx_http_lockbox_admin_fits(call, &request->engineer_iss,
                                       &request->engineer_sub,
                                       &decision->body.scope, fault);
}


/*
 * Whether the caller may take the step, in the order in which the script
 * judges it too.
 */

static ngx_lockbox_decision_t
ngx_http_lockbox_decision_authority(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision)
{
    ngx_lockbox_decision_t          word;
    ngx_http_lockbox_admin_case_t  *request;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);
    request = &decision->request;

    if (decision->step->judges) {
        word = ngx_http_lockbox_decision_stage(call, decision);

        if (word != NGX_LOCKBOX_ALLOW) {
            return word;
        }

    } else if (decision->step->owner) {
        if (!ngx_http_lockbox_is_owner(call, request)) {
            return NGX_LOCKBOX_FORBIDDEN_ROLE;
        }

        ngx_str_set(&decision->stage, "engineer");

    } else {
        if (call->identity.roles & NGX_LOCKBOX_ROLE_MANAGER) {
            ngx_str_set(&decision->stage, "manager");

        } else if ((call->identity.roles & NGX_LOCKBOX_ROLE_CUSTOMER)
                   && ngx_lockbox_text_same(&call->identity.tenant,
                                                 &call->tenant))
        {
            ngx_str_set(&decision->stage, "customer");

        } else {
            return NGX_LOCKBOX_FORBIDDEN_ROLE;
        }
    }

    if (!(decision->step->states & ngx_http_lockbox_state(request))) {
        return NGX_LOCKBOX_CONFLICT;
    }

    if (decision->step->judges
        && ngx_http_lockbox_has_decided(call, request))
    {
        return NGX_LOCKBOX_SAME_PERSON;
    }

    if (ngx_lockbox_text_is(&decision->step->action, "ask")
        && ngx_http_lockbox_questions(request) >= NGX_HTTP_LOCKBOX_QUESTIONS)
    {
        return NGX_LOCKBOX_CONFLICT;
    }

    if (decision->body.version != 0
        && decision->body.version != request->version)
    {
        return NGX_LOCKBOX_CONFLICT;
    }

    if (decision->step->ruled
        && ngx_lockbox_text_is(&decision->stage, "customer")
        && ngx_http_lockbox_managers(request) < conf->manager_needed)
    {
        decision->detail = NGX_HTTP_LOCKBOX_FEW_MANAGERS;
        return NGX_LOCKBOX_CONFLICT;
    }

    return NGX_LOCKBOX_ALLOW;
}


static ngx_lockbox_decision_t
ngx_http_lockbox_decision_stage(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision)
{
    ngx_uint_t                      manager, customer;
    const ngx_str_t                *state;
    ngx_http_lockbox_admin_case_t  *request;

    request = &decision->request;

    manager = (call->identity.roles & NGX_LOCKBOX_ROLE_MANAGER) != 0;
    customer = (call->identity.roles & NGX_LOCKBOX_ROLE_CUSTOMER) != 0
               && ngx_lockbox_text_same(&call->identity.tenant,
                                             &call->tenant);

    if (!manager && !customer) {
        return NGX_LOCKBOX_FORBIDDEN_ROLE;
    }

    if (ngx_http_lockbox_is_engineer(call, request)) {
        return NGX_LOCKBOX_OWN_REQUEST;
    }

    state = &request->state;

    if (manager && (ngx_lockbox_text_is(state, "awaiting_manager")
                    || ngx_lockbox_text_is(&request->asked, "manager")))
    {
        ngx_str_set(&decision->stage, "manager");
        return NGX_LOCKBOX_ALLOW;
    }

    if (customer && (ngx_lockbox_text_is(state, "awaiting_customer")
                     || ngx_lockbox_text_is(&request->asked, "customer")))
    {
        ngx_str_set(&decision->stage, "customer");
        return NGX_LOCKBOX_ALLOW;
    }

    return NGX_LOCKBOX_CONFLICT;
}


static ngx_uint_t
ngx_http_lockbox_state(const ngx_http_lockbox_admin_case_t *request)
{
    const ngx_http_lockbox_state_t  *state;

    for (state = ngx_http_lockbox_states; state->state != NULL; state++) {
        if (ngx_lockbox_text_is(&request->state, state->state)) {
            break;
        }
    }

    return state->kind;
}


static ngx_uint_t
ngx_http_lockbox_questions(const ngx_http_lockbox_admin_case_t *request)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < request->nseals; i++) {
        n += ngx_lockbox_text_is(&request->seals[i].decision, "ask");
    }

    return n;
}


/* Those that have approved. */

static ngx_uint_t
ngx_http_lockbox_managers(const ngx_http_lockbox_admin_case_t *request)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < request->nseals; i++) {
        n += ngx_lockbox_text_is(&request->seals[i].decision, "approve")
             && ngx_lockbox_text_is(&request->seals[i].stage, "manager");
    }

    return n;
}


static ngx_uint_t
ngx_http_lockbox_is_engineer(const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request)
{
    return ngx_lockbox_text_same(&call->identity.iss,
                                      &request->engineer_iss)
           && ngx_lockbox_text_same(&call->identity.sub,
                                         &request->engineer_sub);
}


/* Its engineer, and still an engineer: a role may have been taken away. */

static ngx_uint_t
ngx_http_lockbox_is_owner(const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request)
{
    return (call->identity.roles & NGX_LOCKBOX_ROLE_ENGINEER)
           && ngx_http_lockbox_is_engineer(call, request);
}


static ngx_uint_t
ngx_http_lockbox_has_decided(const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request)
{
    ngx_uint_t  i;

    for (i = 0; i < request->nseals; i++) {
        if (ngx_lockbox_text_is(&request->seals[i].decision, "approve")
            && ngx_lockbox_text_same(&call->identity.iss,
                                       &request->seals[i].by_iss)
            && ngx_lockbox_text_same(&call->identity.sub,
                                          &request->seals[i].by_sub))
        {
            return 1;
        }
    }

    return 0;
}


static json_t *
ngx_http_lockbox_decision_args(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision)
{
    json_t                         *args, *said;
    ngx_str_t                       access, text;
    ngx_lockbox_seal_t              seal;
    const ngx_lockbox_scope_t      *scope;
    ngx_http_lockbox_admin_case_t  *request;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);
    request = &decision->request;

    if (decision->tampered) {
        return ngx_http_lockbox_decision_end(call, decision);
    }

    scope = decision->body.scope.nelts != 0 ? &decision->body.scope
                                            : &request->scope;

    ngx_memzero(&seal, sizeof(ngx_lockbox_seal_t));

    seal.engineer_iss = request->engineer_iss;
    seal.engineer_sub = request->engineer_sub;
    seal.version = request->version;
    seal.duration = decision->body.duration != 0 ? decision->body.duration
                                                 : request->duration;
    seal.stage = decision->stage;
    seal.decision = decision->step->action;
    seal.prev = request->last;
    ngx_http_lockbox_decision_policy(decision, &seal);
    seal.begins = decision->begins;

    said = ngx_http_lockbox_decision_said(call, decision);

    if (ngx_http_lockbox_decision_narrowed(call, decision, scope,
                                           seal.duration, said)
        != NGX_OK
        || ngx_http_lockbox_admin_seal(call, &seal, scope, said, &access,
                                       &text)
           != NGX_OK
        || ngx_http_lockbox_decision_given(call, decision, &seal, &text)
           != NGX_OK)
    {
        return NULL;
    }

    args = ngx_http_lockbox_admin_about(call);

    if (ngx_lockbox_json_set(args, "version",
                             json_integer((json_int_t) request->version))
        != NGX_OK
        || (decision->begins != 0
            && ngx_lockbox_json_set(args, "begins",
                                json_integer((json_int_t) decision->begins))
               != NGX_OK)
        || ngx_lockbox_json_set(args, "decision",
                                ngx_lockbox_json_text(&text)) != NGX_OK
        || ngx_lockbox_json_set(args, "decided_at",
                                json_integer((json_int_t) seal.at)) != NGX_OK
        || ngx_lockbox_json_set(args, "retention",
                          json_integer((json_int_t) conf->retention * 1000))
           != NGX_OK
        || ngx_lockbox_json_set(args, "access",
                                ngx_lockbox_json_text(&access)) != NGX_OK
        || ngx_lockbox_json_set(args, "duration",
                                json_integer((json_int_t) seal.duration))
           != NGX_OK
        || ngx_lockbox_json_set(args, "answer_within",
                    json_integer((json_int_t) conf->customer_within * 1000))
           != NGX_OK
        || ngx_lockbox_json_set(args, "required",
               json_pack("{s:I, s:I}",
                         "manager", (json_int_t) conf->manager_needed,
                         "customer",
                         (json_int_t) decision->policy.rules.approvals))
           != NGX_OK
        || ngx_lockbox_json_set(args, "policy",
                          json_integer((json_int_t) decision->policy.version))
           != NGX_OK
        || (decision->given.len != 0
            && ngx_lockbox_json_set(args, "preapproval",
                                    ngx_lockbox_json_text(&decision->given))
               != NGX_OK))
    {
        json_decref(args);
        return NULL;
    }

    return args;
}


/*
 * An end for what was tampered with: of no version and at no stated time, for
 * nothing may stand in its way; and without a seal, for there is nothing that
 * one could follow.
 */

static json_t *
ngx_http_lockbox_decision_end(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision)
{
    json_t                         *args;
    ngx_str_t                       text;
    ngx_lockbox_seal_t              seal;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);

    ngx_memzero(&seal, sizeof(ngx_lockbox_seal_t));

    seal.stage = decision->stage;
    seal.decision = decision->step->action;

    if (ngx_http_lockbox_admin_unsealed(call, &seal,
                              ngx_http_lockbox_decision_said(call, decision),
                                        &text)
        != NGX_OK)
    {
        return NULL;
    }

    args = ngx_http_lockbox_admin_about(call);

    if (ngx_lockbox_json_set(args, "decision", ngx_lockbox_json_text(&text))
        != NGX_OK
        || ngx_lockbox_json_set(args, "retention",
                          json_integer((json_int_t) conf->retention * 1000))
           != NGX_OK)
    {
        json_decref(args);
        return NULL;
    }

    return args;
}


/* A step that no policy rules says what the one before it said. */

static void
ngx_http_lockbox_decision_policy(const ngx_http_lockbox_decision_t *decision,
    ngx_lockbox_seal_t *seal)
{
    const ngx_lockbox_seal_t  *before;

    if (decision->step->ruled) {
        ngx_http_lockbox_admin_policy_seal(&decision->policy, seal);
        return;
    }

    before = &decision->request.seals[decision->request.nseals - 1];

    seal->policy_version = before->policy_version;
    seal->policy_hash = before->policy_hash;
    seal->customers = before->customers;
}


/*
 * The approval that the customer gave beforehand, if it covers the request:
 * as its author's, behind the manager's that "seal" and "text" are.
 */

static ngx_int_t
ngx_http_lockbox_decision_given(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_decision_t *decision, const ngx_lockbox_seal_t *seal,
    const ngx_str_t *text)
{
    json_t                           *before, *said;
    ngx_str_t                         access, jws;
    ngx_pool_t                       *pool;
    ngx_lockbox_seal_t                given;
    ngx_lockbox_policy_wish_t         wish;
    const ngx_lockbox_policy_seal_t  *policy;
    const ngx_lockbox_preapproval_t  *preapproval;

    ngx_str_null(&decision->given);

    pool = call->request->pool;
    policy = &decision->policy.seal;

    ngx_http_lockbox_decision_wish(decision, &wish);

    preapproval = ngx_http_lockbox_decision_may_be_given(call, decision)
                  ? ngx_lockbox_policy_preapproval(&decision->policy.rules,
                                                   &wish,
                                   ngx_http_lockbox_decision_latest(decision,
                                                                    seal))
                  : NULL;

    if (preapproval == NULL) {
        return NGX_OK;
    }

    given = *seal;
    given.version = seal->version + 1;
    ngx_str_set(&given.stage, "customer");
    given.by_iss = policy->by_iss;
    given.by_sub = policy->by_sub;
    given.token_hash = policy->token_hash;
    given.auth_time = policy->auth_time;
    given.acr = policy->acr;
    given.preapproval = preapproval->name;

    before = ngx_lockbox_json_parse(pool, text->data, text->len);
    said = ngx_lockbox_json_own(pool,
                       json_pack("{s:o, s:I}",
                                 "preapproval",
                                 ngx_lockbox_json_text(&preapproval->name),
                                 "policy_version",
                                 (json_int_t) policy->version));

    if (said == NULL
        || ngx_lockbox_json_string(before, "seal", &jws) != NGX_OK
        || ngx_lockbox_base64url_sha256(pool, &jws, &given.prev) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lockbox_admin_seal_by(call, &given, wish.scope, said,
                                          &access, &decision->given);
}


/*
 * When the window begins at the latest (Unix seconds), so that none goes on
 * behind the end of what it was approved by: where another customer has to
 * approve, too, at the end of the time for that.
 */

static int64_t
ngx_http_lockbox_decision_latest(const ngx_http_lockbox_decision_t *decision,
    const ngx_lockbox_seal_t *seal)
{
    ngx_lockbox_seal_t  last;

    last = *seal;

    if (decision->policy.rules.approvals > 1) {
        last.at = ngx_max(seal->at, decision->request.lapses_at);
    }

    return ngx_lockbox_seal_begins(&last);
}


/*
 * Whether this approval completes the managers' stage, the customer's is
 * needed, and whoever set the policy still speaks for the tenant and has no
 * other part in the request.
 */

static ngx_uint_t
ngx_http_lockbox_decision_may_be_given(
    const ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision)
{
    ngx_uint_t                        i;
    const ngx_lockbox_seal_t         *seal;
    ngx_http_lockbox_main_conf_t     *mcf;
    ngx_http_lockbox_admin_conf_t    *conf;
    const ngx_lockbox_policy_seal_t  *policy;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);
    conf = ngx_http_lockbox_admin_conf(call->request);
    policy = &decision->policy.seal;

    if (!decision->step->ruled
        || decision->policy.version == 0
        || decision->policy.rules.approvals == 0
        || !ngx_lockbox_text_is(&decision->stage, "manager")
        || (ngx_lockbox_text_same(&policy->by_iss, &call->identity.iss)
            && ngx_lockbox_text_same(&policy->by_sub, &call->identity.sub))
        || !ngx_lockbox_identity_customer_of(&mcf->issuers, &policy->by_iss,
                                             &call->tenant))
    {
        return 0;
    }

    for (i = 0; i < decision->request.nseals; i++) {
        seal = &decision->request.seals[i];

        if (ngx_lockbox_text_same(&policy->by_iss, &seal->by_iss)
            && ngx_lockbox_text_same(&policy->by_sub, &seal->by_sub))
        {
            return 0;
        }
    }

    return 1 + ngx_http_lockbox_managers(&decision->request)
           >= conf->manager_needed;
}


/* What the caller wrote, in pool memory; NULL without memory. */

static json_t *
ngx_http_lockbox_decision_said(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision)
{
    json_t  *said;

    said = ngx_lockbox_json_own(call->request->pool, json_object());

    if (decision->body.comment.len != 0
        && ngx_lockbox_json_set(said, "comment",
                               ngx_lockbox_json_text(&decision->body.comment))
           != NGX_OK)
    {
        return NULL;
    }

    return said;
}


/* Who has cut the request down says to what: those behind must see it. */

static ngx_int_t
ngx_http_lockbox_decision_narrowed(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_decision_t *decision,
    const ngx_lockbox_scope_t *scope, int64_t duration, json_t *said)
{
    ngx_str_t                  hash;
    const ngx_lockbox_seal_t  *before;

    before = &decision->request.seals[decision->request.nseals - 1];

    if (ngx_lockbox_scope_hash(call->request->pool, scope, &hash) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_lockbox_text_same(&hash, &before->access_hash)
        && duration == before->duration)
    {
        return NGX_OK;
    }

    if (ngx_lockbox_json_set(said, "access",
                             ngx_lockbox_scope_json(scope,
                                                    NGX_LOCKBOX_SCOPE_ACCESS))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_json_set(said, "duration",
                                json_integer((json_int_t) duration));
}


static void
ngx_http_lockbox_decision_done(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    json_t                       *view;
    int64_t                       lease;
    ngx_http_lockbox_decision_t  *decision;

    decision = call->data;

    /* where the version is stated, that which is extended may have ended */

    if (result->decision == NGX_LOCKBOX_CONFLICT
        && (decision->body.version == 0
            || result->stale
            || decision->request.extends.len != 0)
        && ++call->attempts < NGX_HTTP_LOCKBOX_ATTEMPTS)
    {
        ngx_http_lockbox_decision_look(call);
        return;
    }

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    ngx_http_lockbox_decision_bury(call, result);

    if (decision->given.len != 0) {
        /* the seals say whether it counted; then its author goes on record */
        (void) ngx_http_lockbox_admin_case_open(call, result->request,
                                                &decision->request);
    }

    view = ngx_http_lockbox_admin_view(result->request);

    /* here it is over now, and elsewhere with the lease at the latest */

    lease = (int64_t) ngx_http_lockbox_liveness_lease(call->request);

    if (ngx_lockbox_text_is(&decision->step->action, "revoke")
        && ngx_lockbox_json_set(view, "effective_by",
                 ngx_http_lockbox_admin_view_time(ngx_lockbox_clock_msec()
                                                  + lease))
           != NGX_OK)
    {
        json_decref(view);
        view = NULL;
    }

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK, view);
}


/* A grant that this step has ended is not live here for a moment longer. */

static void
ngx_http_lockbox_decision_bury(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_str_t                     state;
    ngx_lockbox_decision_t        end;
    ngx_http_lockbox_main_conf_t *mcf;

    if (ngx_lockbox_json_string(result->request, "state", &state) != NGX_OK) {
        return;
    }

    end = ngx_lockbox_store_end(&state);
    if (end == NGX_LOCKBOX_ALLOW) {
        return;
    }

    /*
     * No grant of it outlives this: an extension begins when another one ends
     * at the latest, and each lasts that long at most.
     */

    mcf = ngx_http_get_module_main_conf(call->request, ngx_http_lockbox_module);

    ngx_http_lockbox_liveness_bury(call->request, &call->tenant, &call->id,
                                   end, ngx_time() + 2 * mcf->max_duration);
}


static void
ngx_http_lockbox_conflict(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request, const char *detail)
{
    json_t  *more;

    more = json_pack("{s:o, s:I}",
                     "state", ngx_lockbox_json_text(&request->state),
                     "version", (json_int_t) request->version);

    ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_CONFLICT, detail, more);

    json_decref(more);
}


void
ngx_http_lockbox_admin_grant(ngx_http_lockbox_admin_call_t *call)
{
    ngx_int_t                rc;
    ngx_lockbox_fault_t      fault;
    ngx_lockbox_body_step_t  body;

    rc = ngx_lockbox_body_step(call->request->pool, call->body,
                               NGX_LOCKBOX_BODY_GRANT, &body, &fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    ngx_http_lockbox_admin_step(call, "show",
                                ngx_http_lockbox_admin_about(call),
                                ngx_http_lockbox_grant_seen);
}


static void
ngx_http_lockbox_grant_seen(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_int_t                       rc;
    ngx_lockbox_grant_t            *grant;
    ngx_lockbox_decision_t          decision;
    ngx_http_lockbox_admin_case_t   request;

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    grant = ngx_pcalloc(call->request->pool, sizeof(ngx_lockbox_grant_t));

    if (grant == NULL
        || ngx_http_lockbox_admin_case_open(call, result->request, &request)
           != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (!ngx_http_lockbox_is_owner(call, &request)) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_FORBIDDEN_ROLE, NULL,
                                      NULL);
        return;
    }

    if (!ngx_lockbox_text_is(&request.state, "approved")) {
        ngx_http_lockbox_conflict(call, &request, NULL);
        return;
    }

    rc = ngx_http_lockbox_grant_window(call, &request, grant);

    if (rc == NGX_ERROR) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (grant->expires <= ngx_time()) {
        ngx_str_set(&request.state, "expired");
        ngx_http_lockbox_conflict(call, &request, NULL);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_lockbox_conflict(call, &request,
                                  NGX_HTTP_LOCKBOX_FEW_APPROVALS);
        return;
    }

    decision = ngx_http_lockbox_grant_bind(call, grant);

    if (decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse(call, decision, NULL, NULL);
        return;
    }

    call->data = grant;

    if (ngx_http_lockbox_admin_intent(call) != NGX_OK) {
        return;
    }

    ngx_http_lockbox_admin_step(call, "grant",
                                ngx_http_lockbox_admin_about(call),
                                ngx_http_lockbox_grant_recorded);
}


/*
 * The grant follows from the seals alone, and always the same one but for
 * the certificate that it is bound to.  Returns what the window does.
 */

static ngx_int_t
ngx_http_lockbox_grant_window(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request, ngx_lockbox_grant_t *grant)
{
    grant->id = call->id;
    grant->tenant = call->tenant;
    grant->engineer_iss = request->engineer_iss;
    grant->engineer_sub = request->engineer_sub;
    grant->scope = request->scope;

    return ngx_http_lockbox_admin_window(call, request, &grant->not_before,
                                         &grant->expires);
}


static ngx_lockbox_decision_t
ngx_http_lockbox_grant_bind(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_grant_t *grant)
{
    ngx_http_lockbox_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(call->request, ngx_http_lockbox_module);

    if (lcf->bind == NGX_HTTP_LOCKBOX_BIND_OFF) {
        return NGX_LOCKBOX_ALLOW;
    }

    if (ngx_http_lockbox_certificate(call->request, &grant->certificate)
        != NGX_OK)
    {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    return grant->certificate.len == 0
           && lcf->bind == NGX_HTTP_LOCKBOX_BIND_REQUIRED
           ? NGX_LOCKBOX_WRONG_CERTIFICATE : NGX_LOCKBOX_ALLOW;
}


ngx_int_t
ngx_http_lockbox_admin_fits(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *engineer_iss, const ngx_str_t *engineer_sub,
    const ngx_lockbox_scope_t *scope, ngx_lockbox_fault_t *fault)
{
    json_t                        *claims;
    ngx_str_t                      text;
    ngx_lockbox_grant_t            grant;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);

    /* some proxy may bind it to a certificate */

    ngx_str_set(&grant.certificate,
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");

    grant.id = call->id;
    grant.tenant = call->tenant;
    grant.engineer_iss = *engineer_iss;
    grant.engineer_sub = *engineer_sub;
    grant.not_before = ngx_time();
    grant.expires = ngx_time();
    grant.scope = *scope;

    claims = ngx_lockbox_json_own(call->request->pool,
                                  ngx_lockbox_grant_claims(&grant,
                                                     &mcf->grant_issuer,
                                                     &mcf->grant_audience));

    if (claims == NULL
        || ngx_lockbox_json_dump(call->request->pool, claims, &text) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_lockbox_base64url_len(text.len) + NGX_HTTP_LOCKBOX_TOKEN_FRAME
        > NGX_LOCKBOX_TOKEN_MAX)
    {
        return ngx_lockbox_json_fault(call->request->pool, fault,
                                      "It is more than a grant can hold.",
                                      "/access");
    }

    return NGX_OK;
}


static void
ngx_http_lockbox_grant_recorded(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    json_t                        *claims;
    ngx_str_t                      token;
    ngx_lockbox_grant_t           *grant;
    ngx_http_lockbox_main_conf_t  *mcf;

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    grant = call->data;
    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);

    claims = ngx_lockbox_json_own(call->request->pool,
                                  ngx_lockbox_grant_claims(grant,
                                                     &mcf->grant_issuer,
                                                     &mcf->grant_audience));

    if (claims == NULL
        || ngx_lockbox_token_sign(call->request->pool, mcf->signing.elts,
                                  NGX_LOCKBOX_GRANT_TYP, claims, &token)
           != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    if (ngx_http_lockbox_admin_prefers(call, "application/jwt")) {
        ngx_http_lockbox_admin_answer_text(call, "application/jwt", &token);
        return;
    }

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK,
                json_pack("{s:o, s:s, s:I}",
                          "access_token", ngx_lockbox_json_text(&token),
                          "token_type", "Bearer",
                          "expires_in",
                          (json_int_t) (grant->expires - ngx_time())));
}
