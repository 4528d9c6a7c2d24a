/*
 * The gate: brings the decision its arguments and carries out its answer.
 */

#include "ngx_http_lockbox_gate.h"
#include "ngx_http_lockbox_audit.h"
#include "ngx_http_lockbox_certificate.h"
#include "ngx_http_lockbox_headers.h"
#include "ngx_http_lockbox_liveness.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_http_lockbox_problem.h"
#include "ngx_lockbox_grant.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_path.h"
#include "ngx_lockbox_record.h"
#include "ngx_lockbox_text.h"
#include "ngx_lockbox_token.h"
#include "ngx_lockbox_turns.h"


/* Offered to whoever is refused; the engineer changes it at will. */
#define NGX_HTTP_LOCKBOX_OFFER_DURATION  3600


typedef struct {
    ngx_http_request_t           *request;
    ngx_http_lockbox_leg_t       *leg;

    ngx_lockbox_target_t          target;
    ngx_lockbox_grant_t           grant;

    ngx_str_t                     token;
    ngx_lockbox_turn_t            turn;
    ngx_http_lockbox_liveness_t   liveness;
    ngx_lockbox_decision_t        decision;

    unsigned                      shown:1;      /* a grant of ours */
    unsigned                      genuine:1;    /* and by who may */
    unsigned                      attended:1;   /* whatever ends it */
    unsigned                      waiting:1;    /* for its turn or Redis */
} ngx_http_lockbox_gate_ctx_t;


static void ngx_http_lockbox_gate_led(ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_gate_own_variables(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_gate_beyond(ngx_http_request_t *r);
static ngx_uint_t ngx_http_lockbox_gate_still_led(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg);
static ngx_http_lockbox_gate_ctx_t *ngx_http_lockbox_gate_create(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_gate_target(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_check(
    ngx_http_request_t *r, ngx_http_lockbox_gate_ctx_t *ctx);
static ngx_uint_t ngx_http_lockbox_gate_one_host(ngx_http_request_t *r);
static ngx_uint_t ngx_http_lockbox_gate_plain_host(ngx_http_request_t *r);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_token(
    ngx_http_request_t *r, ngx_str_t *token);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_open(
    ngx_http_request_t *r, ngx_http_lockbox_gate_ctx_t *ctx);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_queue(
    ngx_http_request_t *r, ngx_http_lockbox_gate_ctx_t *ctx);
static void ngx_http_lockbox_gate_turn(void *data);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_shown(
    ngx_http_request_t *r, ngx_http_lockbox_gate_ctx_t *ctx,
    ngx_lockbox_decision_t decision);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_verify(
    ngx_http_request_t *r, ngx_http_lockbox_gate_ctx_t *ctx,
    const ngx_str_t *text);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_liveness(
    ngx_http_request_t *r, ngx_http_lockbox_gate_ctx_t *ctx);
static ngx_int_t ngx_http_lockbox_gate_attend(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx);
static ngx_int_t ngx_http_lockbox_gate_wait(ngx_http_request_t *r);
static ngx_lockbox_decision_t ngx_http_lockbox_gate_decide(
    ngx_http_request_t *r, ngx_http_lockbox_gate_ctx_t *ctx,
    ngx_lockbox_decision_t liveness);
static void ngx_http_lockbox_gate_resume(void *data,
    ngx_lockbox_decision_t liveness);
static void ngx_http_lockbox_gate_go_on(ngx_http_lockbox_gate_ctx_t *ctx,
    ngx_lockbox_decision_t decision);
static void ngx_http_lockbox_gate_cleanup(void *data);
static ngx_int_t ngx_http_lockbox_gate_carry_out(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx);
static ngx_int_t ngx_http_lockbox_gate_refuse(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx);
static ngx_int_t ngx_http_lockbox_gate_turn_away(ngx_http_request_t *r,
    ngx_http_lockbox_leg_t *leg, ngx_lockbox_decision_t decision,
    json_t *help);
static ngx_int_t ngx_http_lockbox_gate_answer(ngx_http_request_t *r,
    ngx_http_lockbox_leg_t *leg, ngx_lockbox_decision_t decision,
    json_t *help);
static json_t *ngx_http_lockbox_gate_help(ngx_http_lockbox_gate_ctx_t *ctx);
static json_t *ngx_http_lockbox_gate_asked(
    const ngx_lockbox_target_t *target);
static json_t *ngx_http_lockbox_gate_granted(
    const ngx_lockbox_grant_t *grant);
static json_t *ngx_http_lockbox_gate_offer(
    const ngx_lockbox_target_t *target);
static json_t *ngx_http_lockbox_gate_methods(
    const ngx_lockbox_target_t *target);
static json_t *ngx_http_lockbox_gate_labels(
    const ngx_lockbox_target_t *target);


/*
 * Headers by which a client can make an upstream judge another method or
 * target than the one that was decided on.
 */

static const ngx_str_t  ngx_http_lockbox_override_headers[] = {
    ngx_string("x-http-method-override"),
    ngx_string("x-http-method"),
    ngx_string("x-method-override"),
    ngx_string("x-original-method"),
    ngx_string("x-original-url"),
    ngx_string("x-original-uri"),
    ngx_string("x-rewrite-url"),
    ngx_string("destination"),             /* of COPY and MOVE, RFC 4918 */
    ngx_null_string
};


ngx_int_t
ngx_http_lockbox_gate_arrival(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t       *leg;
    ngx_http_lockbox_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    if (!lcf->enable) {
        ngx_http_lockbox_gate_led(r);
        return NGX_DECLINED;
    }

    leg = ngx_http_lockbox_audit_next(r);
    if (leg == NULL || ngx_http_lockbox_gate_own_variables(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* what was decided before an internal redirect does not count here */

    leg->decision = NGX_LOCKBOX_NOT_DECIDED;
    leg->gated = 1;
    leg->refused = 0;
    leg->upgrade = 0;
    leg->expires = 0;
    leg->path = r->uri;

    ngx_str_null(&leg->tenant);
    ngx_str_null(&leg->service);
    ngx_str_null(&leg->common);
    leg->labels.nelts = 0;

    /* only what is allowed may answer with the status of an earlier error */

    if (r->err_status) {
        leg->err_status = r->err_status;
        r->err_status = 0;
    }

    return NGX_DECLINED;
}


/*
 * A named location gets the path as it is: until something names another one,
 * it is what the client asked for and no page of the operator's.
 */

static void
ngx_http_lockbox_gate_led(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t    *leg;
    ngx_http_core_loc_conf_t  *clcf;

    leg = ngx_http_lockbox_audit_leg(r, 0);
    if (leg == NULL) {
        return;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->named) {
        leg->led = r->uri;
    }
}


/*
 * Subrequests share their variables, captures of locations among them, with
 * the request around them (see ngx_http_subrequest()).  While one waits here,
 * the next one would change what has been judged before it is passed on.
 */

static ngx_int_t
ngx_http_lockbox_gate_own_variables(ngx_http_request_t *r)
{
    ngx_http_core_main_conf_t  *cmcf;
    ngx_http_variable_value_t  *own;

    if (r == r->main) {
        return NGX_OK;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    own = ngx_palloc(r->pool, cmcf->variables.nelts
                              * sizeof(ngx_http_variable_value_t));
    if (own == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(own, r->variables,
               cmcf->variables.nelts * sizeof(ngx_http_variable_value_t));

    r->variables = own;

    return NGX_OK;
}


ngx_int_t
ngx_http_lockbox_gate_handler(ngx_http_request_t *r)
{
    ngx_http_lockbox_loc_conf_t  *lcf;
    ngx_http_lockbox_gate_ctx_t  *ctx;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    if (!lcf->enable) {
        return ngx_http_lockbox_gate_beyond(r);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_lockbox_module);

    if (ctx == NULL) {
        ctx = ngx_http_lockbox_gate_create(r);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->decision = ngx_http_lockbox_gate_check(r, ctx);

        if (ctx->decision == NGX_LOCKBOX_ALLOW) {
            ctx->decision = ngx_http_lockbox_gate_liveness(r, ctx);
        }
    }

    if (ctx->waiting) {
        return NGX_AGAIN;
    }

    return ngx_http_lockbox_gate_carry_out(r, ctx);
}


/*
 * Where nothing is gated: a request that "rewrite" or "error_page" has led here
 * before the gate could decide on it must not reach anybody who might take it
 * for one that was let in.  A file, such as an error page, it may have, but
 * not change: what writes files is no content handler of the location.  That
 * of the request is asked for, since within an "if" the location has none.
 * What a page includes, mirrors or checks happens on behalf of the request.
 */

static ngx_int_t
ngx_http_lockbox_gate_beyond(ngx_http_request_t *r)
{
    ngx_http_request_t      *pr;
    ngx_http_lockbox_leg_t  *leg;

    leg = NULL;

    for (pr = r; pr != NULL && leg == NULL; pr = pr->parent) {
        leg = ngx_http_lockbox_audit_leg(pr, 0);
    }

    if (leg == NULL
        || !leg->gated
        || leg->decision == NGX_LOCKBOX_ALLOW
        || (r->content_handler == NULL
            && (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))))
    {
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "lockbox: a request was led out of a gated location before "
                  "the gate could decide on it");

    if (leg->request != r) {
        r->error_page = 1;
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    return ngx_http_lockbox_gate_turn_away(r, leg, NGX_LOCKBOX_INTERNAL_ERROR,
                                           NULL);
}


ngx_int_t
ngx_http_lockbox_gate_content(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg == NULL
        || !leg->gated
        || leg->decision == NGX_LOCKBOX_ALLOW
        || !ngx_http_lockbox_gate_still_led(r, leg))
    {
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "lockbox: a request was led to what it asked for before the "
                  "gate could decide on it");

    return ngx_http_lockbox_gate_answer(r, leg, NGX_LOCKBOX_INTERNAL_ERROR,
                                        NULL);
}


/* Also with what "try_files" puts behind it; behind "/" that may be a page. */

static ngx_uint_t
ngx_http_lockbox_gate_still_led(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg)
{
    ngx_str_t  begin;

    if (leg->led.len == 0 || r->uri.len < leg->led.len) {
        return 0;
    }

    begin.data = r->uri.data;
    begin.len = leg->led.len == 1 ? r->uri.len : leg->led.len;

    return ngx_lockbox_text_same(&begin, &leg->led);
}


static ngx_http_lockbox_gate_ctx_t *
ngx_http_lockbox_gate_create(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t       *leg;
    ngx_http_lockbox_gate_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_lockbox_gate_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    leg = ngx_http_lockbox_audit_leg(r, 1);
    if (leg == NULL) {
        return NULL;
    }

    leg->path = r->uri;
    ngx_str_null(&leg->common);

    ctx->request = r;
    ctx->leg = leg;

    ngx_http_set_ctx(r, ctx, ngx_http_lockbox_module);

    return ctx;
}


/* Everything that can be judged without asking Redis. */

static ngx_lockbox_decision_t
ngx_http_lockbox_gate_check(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    if (ngx_http_lockbox_gate_target(r, ctx) != NGX_OK) {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    /* as long as it is valid, proxy_pass sends the raw target on */

    if (!ngx_lockbox_path_canonical(&r->uri)
        || (r->valid_unparsed_uri
            && !ngx_lockbox_path_spelt(&r->unparsed_uri, &r->uri))
        || !ngx_http_lockbox_gate_one_host(r->main))
    {
        return NGX_LOCKBOX_AMBIGUOUS_TARGET;
    }

    if (ngx_http_lockbox_header_any(r, ngx_http_lockbox_override_headers)) {
        return NGX_LOCKBOX_OVERRIDE_HEADER;
    }

    return ngx_http_lockbox_gate_open(r, ctx);
}


static ngx_int_t
ngx_http_lockbox_gate_target(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    ngx_lockbox_target_t         *target;
    ngx_http_lockbox_loc_conf_t  *lcf;
    static const ngx_str_t        upgrade = ngx_string("Upgrade");

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);
    target = &ctx->target;

    if (ngx_http_complex_value(r, lcf->tenant, &target->tenant) != NGX_OK
        || ngx_http_complex_value(r, lcf->service, &target->service) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lcf->labels != NULL) {
        target->labels.elts = lcf->labels->elts;
        target->labels.nelts = lcf->labels->nelts;
    }

    target->method = r->method_name;
    target->upgrade = ngx_http_lockbox_header_find(r, &upgrade, NULL) != 0;
    target->path = r->uri;
    target->bound = lcf->bind == NGX_HTTP_LOCKBOX_BIND_REQUIRED;

    ctx->leg->tenant = target->tenant;
    ctx->leg->service = target->service;
    ctx->leg->labels = target->labels;
    ctx->leg->upgrade = target->upgrade;

    return NGX_OK;
}


/*
 * nginx takes the server from a request line in absolute form, and may pass
 * the Host field on.  Of HTTP/2 and later it checks by itself that both agree.
 */

static ngx_uint_t
ngx_http_lockbox_gate_one_host(ngx_http_request_t *r)
{
    ngx_str_t  target;

    if (r->headers_in.host == NULL) {
        return 1;
    }

    if (r->host_start != NULL && r->http_version <= NGX_HTTP_VERSION_11) {
        target.data = r->host_start;
        target.len = (size_t) (r->request_line.data + r->request_line.len
                               - r->host_start);

        if (!ngx_lockbox_path_authority(&target, &r->headers_in.host->value)) {
            return 0;
        }
    }

    return ngx_http_lockbox_gate_plain_host(r);
}


/*
 * Behind the name that nginx goes by it lets anything stand, in which others
 * may see another name; a root's dot and a port may (RFC 9110 section 7.2).
 */

static ngx_uint_t
ngx_http_lockbox_gate_plain_host(ngx_http_request_t *r)
{
    u_char           *p, *last;
    const ngx_str_t  *host;

    host = &r->headers_in.host->value;

    if (host->len < r->headers_in.server.len) {
        return 0;
    }

    p = host->data + r->headers_in.server.len;
    last = host->data + host->len;

    if (p < last && *p == '.') {
        p++;
    }

    if (p < last && *p++ != ':') {
        return 0;
    }

    for ( /* void */ ; p < last; p++) {
        if (*p < '0' || *p > '9') {
            return 0;
        }
    }

    return 1;
}


static ngx_lockbox_decision_t
ngx_http_lockbox_gate_open(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    ngx_lockbox_decision_t         decision;
    ngx_http_lockbox_main_conf_t  *mcf;

    decision = ngx_http_lockbox_gate_token(r, &ctx->token);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    if (ngx_http_lockbox_liveness_recall(r, &ctx->liveness, &ctx->token,
                                         &ctx->target.service, &ctx->grant)
        != NGX_OK)
    {
        return ngx_http_lockbox_gate_queue(r, ctx);
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_module);

    ctx->shown = 1;
    decision = ngx_lockbox_grant_timely(&ctx->grant, ngx_time(), mcf->leeway);

    /* whoever sets the clock back brings nothing back that was over */

    if (decision == NGX_LOCKBOX_EXPIRED) {
        ngx_http_lockbox_liveness_bury(r, &ctx->grant.tenant, &ctx->grant.id,
                                       decision, ctx->grant.expires);
    }

    return ngx_http_lockbox_gate_shown(r, ctx, decision);
}


/*
 * A signature takes as long as several requests whose grants are known: so
 * that these do not suffer from a flood of forged ones, signatures wait until
 * all else that is ready has been done, and few are verified at a time.
 */

static ngx_lockbox_decision_t
ngx_http_lockbox_gate_queue(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_module);

    if (ngx_http_lockbox_gate_attend(r, ctx) != NGX_OK
        || (r == r->main && ngx_http_lockbox_gate_wait(r) != NGX_OK))
    {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    ctx->turn.handler = ngx_http_lockbox_gate_turn;
    ctx->turn.data = ctx;
    ctx->waiting = 1;

    ngx_lockbox_turn_wait(mcf->turns, &ctx->turn);

    return NGX_LOCKBOX_NOT_DECIDED;
}


static void
ngx_http_lockbox_gate_turn(void *data)
{
    ngx_http_request_t           *r;
    ngx_lockbox_decision_t        decision;
    ngx_http_lockbox_gate_ctx_t  *ctx = data;

    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ctx->waiting = 0;

    decision = ngx_http_lockbox_gate_verify(r, ctx, &ctx->token);
    decision = ngx_http_lockbox_gate_shown(r, ctx, decision);

    if (decision == NGX_LOCKBOX_ALLOW) {
        decision = ngx_http_lockbox_gate_liveness(r, ctx);
    }

    if (!ctx->waiting) {
        ngx_http_lockbox_gate_go_on(ctx, decision);
    }
}


/* What a grant of ours tells besides whether it is good. */

static ngx_lockbox_decision_t
ngx_http_lockbox_gate_shown(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx, ngx_lockbox_decision_t decision)
{
    if (!ctx->shown) {
        return decision;
    }

    if (ctx->grant.certificate.len != 0
        && ngx_http_lockbox_certificate(r, &ctx->target.certificate) != NGX_OK)
    {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    /* whoever has stolen it is not told what it opens */

    ctx->genuine = ngx_lockbox_grant_held(&ctx->grant, &ctx->target);

    ctx->leg->user_iss = ctx->grant.engineer_iss;
    ctx->leg->user_sub = ctx->grant.engineer_sub;
    ctx->leg->request_id = ctx->grant.id;
    ctx->leg->expires = ctx->grant.expires;

    return decision;
}


static ngx_lockbox_decision_t
ngx_http_lockbox_gate_verify(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx, const ngx_str_t *text)
{
    ngx_lockbox_token_t            token;
    ngx_lockbox_decision_t         decision;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_module);

    decision = ngx_lockbox_token_open(r->pool, &mcf->grant_rule, 1, text,
                                      ngx_time(), &token);
    if (!token.genuine || decision == NGX_LOCKBOX_MALFORMED_TOKEN) {
        return decision;
    }

    switch (ngx_lockbox_grant_parse(r->pool, token.claims, &ctx->grant)) {

    case NGX_OK:
        break;

    case NGX_ERROR:
        return NGX_LOCKBOX_INTERNAL_ERROR;

    default:
        return decision == NGX_LOCKBOX_ALLOW ? NGX_LOCKBOX_MALFORMED_TOKEN
                                             : decision;
    }

    ctx->shown = 1;

    /* remembered, it must not be good before its iat on a clock set back */

    ctx->grant.not_before = ngx_max(ctx->grant.not_before, token.issued);

    if (decision == NGX_LOCKBOX_ALLOW
        && ngx_http_lockbox_liveness_remember(r, &ctx->liveness, &ctx->grant)
           != NGX_OK)
    {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    return decision;
}


static ngx_lockbox_decision_t
ngx_http_lockbox_gate_token(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_http_lockbox_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    if (lcf->token == NULL) {
        return ngx_http_lockbox_header_bearer(r, token);
    }

    if (ngx_http_complex_value(r, lcf->token, token) != NGX_OK) {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    return token->len != 0 ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_NO_TOKEN;
}


/* NOT_DECIDED while Redis is asked. */

static ngx_lockbox_decision_t
ngx_http_lockbox_gate_liveness(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    ngx_lockbox_decision_t  liveness;

    if (ngx_http_lockbox_gate_attend(r, ctx) != NGX_OK) {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    liveness = ngx_http_lockbox_liveness_check(r, &ctx->liveness, &ctx->grant,
                                               ngx_http_lockbox_gate_resume,
                                               ctx);
    if (liveness != NGX_LOCKBOX_NOT_DECIDED) {
        return ngx_http_lockbox_gate_decide(r, ctx, liveness);
    }

    if (r == r->main && ngx_http_lockbox_gate_wait(r) != NGX_OK) {
        ngx_http_lockbox_liveness_end(&ctx->liveness);
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    ctx->waiting = 1;

    return NGX_LOCKBOX_NOT_DECIDED;
}


static ngx_int_t
ngx_http_lockbox_gate_attend(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    ngx_http_cleanup_t  *cln;

    if (ctx->attended) {
        return NGX_OK;
    }

    /* runs when the request ends, a pool cleanup would come too late */

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_lockbox_gate_cleanup;
    cln->data = ctx;
    ctx->attended = 1;

    return NGX_OK;
}


/* Notices a client that leaves. */

static ngx_int_t
ngx_http_lockbox_gate_wait(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    r->read_event_handler = ngx_http_test_reading;

    return NGX_OK;
}


static void
ngx_http_lockbox_gate_resume(void *data, ngx_lockbox_decision_t liveness)
{
    ngx_http_request_t           *r;
    ngx_http_lockbox_gate_ctx_t  *ctx = data;

    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "lockbox gate liveness: %V",
                   &ngx_lockbox_decision_info(liveness)->word);

    ngx_http_lockbox_gate_go_on(ctx, ngx_http_lockbox_gate_decide(r, ctx,
                                                                  liveness));
}


static void
ngx_http_lockbox_gate_go_on(ngx_http_lockbox_gate_ctx_t *ctx,
    ngx_lockbox_decision_t decision)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ctx->waiting = 0;
    ctx->decision = decision;

    if (r == r->main) {
        r->read_event_handler = ngx_http_block_reading;
    }

    ngx_http_core_run_phases(r);

    ngx_http_run_posted_requests(c);
}


static ngx_lockbox_decision_t
ngx_http_lockbox_gate_decide(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx, ngx_lockbox_decision_t liveness)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    if (liveness != NGX_LOCKBOX_ALLOW) {
        return liveness;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_module);

    return ngx_lockbox_grant_decide(&ctx->grant, &ctx->target, ngx_time(),
                                    mcf->leeway);
}


static void
ngx_http_lockbox_gate_cleanup(void *data)
{
    ngx_http_lockbox_gate_ctx_t  *ctx = data;

    ngx_lockbox_turn_leave(&ctx->turn);
    ngx_http_lockbox_liveness_end(&ctx->liveness);
}


static ngx_int_t
ngx_http_lockbox_gate_carry_out(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    if (ctx->decision == NGX_LOCKBOX_ALLOW) {

        /* once: the phase may be entered again while a later handler waits */

        if (ctx->leg->decision == NGX_LOCKBOX_ALLOW) {
            return NGX_DECLINED;
        }

        if (ngx_http_lockbox_audit_intent(r, ctx->leg) == NGX_OK) {
            ctx->leg->decision = NGX_LOCKBOX_ALLOW;
            r->err_status = ctx->leg->err_status;
            ngx_http_lockbox_liveness_begin(r, &ctx->liveness, ctx->leg);
            return NGX_DECLINED;
        }

        ctx->decision = NGX_LOCKBOX_AUDIT_UNAVAILABLE;
    }

    return ngx_http_lockbox_gate_refuse(r, ctx);
}


static ngx_int_t
ngx_http_lockbox_gate_refuse(ngx_http_request_t *r,
    ngx_http_lockbox_gate_ctx_t *ctx)
{
    json_t     *help;
    ngx_int_t   rc;

    help = ctx->genuine && r == r->main ? ngx_http_lockbox_gate_help(ctx)
                                        : NULL;

    rc = ngx_http_lockbox_gate_turn_away(r, ctx->leg, ctx->decision, help);

    json_decref(help);

    return rc;
}


static ngx_int_t
ngx_http_lockbox_gate_turn_away(ngx_http_request_t *r,
    ngx_http_lockbox_leg_t *leg, ngx_lockbox_decision_t decision, json_t *help)
{
    ngx_int_t  rc;

    rc = ngx_http_lockbox_gate_answer(r, leg, decision, help);

    if (r != r->main) {
        return rc;
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/* Returns what the request is to be finalized with. */

static ngx_int_t
ngx_http_lockbox_gate_answer(ngx_http_request_t *r,
    ngx_http_lockbox_leg_t *leg, ngx_lockbox_decision_t decision, json_t *help)
{
    ngx_http_lockbox_loc_conf_t  *lcf;

    leg->decision = decision;
    leg->refused = 1;

    if (r != r->main) {
        /* or "error_page 401 =200" would let auth_request pass */
        r->error_page = 1;
        return (ngx_int_t) ngx_lockbox_decision_info(decision)->status;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    return ngx_http_lockbox_problem_send(r, decision, &lcf->realm, NULL, help);
}


/*
 * What was asked, what is granted, and a body that files a request for the
 * rest; who asks with HEAD sees no body.  Help only: without memory the
 * refusal goes out bare.
 */

static json_t *
ngx_http_lockbox_gate_help(ngx_http_lockbox_gate_ctx_t *ctx)
{
    json_t  *help;

    if (ngx_http_lockbox_liveness_complete(ctx->request, &ctx->liveness,
                                           &ctx->grant)
        != NGX_OK)
    {
        return NULL;
    }

    help = json_object();

    if (ngx_lockbox_json_set(help, "asked",
                             ngx_http_lockbox_gate_asked(&ctx->target))
        != NGX_OK
        || ngx_lockbox_json_set(help, "granted",
                                ngx_http_lockbox_gate_granted(&ctx->grant))
           != NGX_OK
        || ngx_lockbox_json_set(help, "request",
                                ngx_http_lockbox_gate_offer(&ctx->target))
           != NGX_OK)
    {
        json_decref(help);
        return NULL;
    }

    return help;
}


static json_t *
ngx_http_lockbox_gate_asked(const ngx_lockbox_target_t *target)
{
    json_t  *asked;

    asked = json_object();

    if (ngx_lockbox_json_set(asked, "tenant",
                             ngx_lockbox_json_text(&target->tenant)) != NGX_OK
        || ngx_lockbox_json_set(asked, "service",
                                ngx_lockbox_json_text(&target->service))
           != NGX_OK
        || ngx_lockbox_json_set(asked, "method",
                                ngx_lockbox_json_text(&target->method))
           != NGX_OK
        || ngx_lockbox_json_set(asked, "path",
                                ngx_lockbox_json_text(&target->path))
           != NGX_OK
        || ngx_lockbox_json_set(asked, "labels",
                                ngx_http_lockbox_gate_labels(target))
           != NGX_OK
        || (target->upgrade
            && ngx_lockbox_json_set(asked, "methods",
                                    ngx_http_lockbox_gate_methods(target))
               != NGX_OK))
    {
        json_decref(asked);
        return NULL;
    }

    return asked;
}


static json_t *
ngx_http_lockbox_gate_granted(const ngx_lockbox_grant_t *grant)
{
    u_char      time[NGX_LOCKBOX_TIME_LEN];
    json_t     *granted;
    ngx_str_t   expires;

    expires.data = time;
    expires.len = (size_t) (ngx_lockbox_record_time(time,
                                              (int64_t) grant->expires * 1000)
                            - time);

    granted = json_object();

    if (ngx_lockbox_json_set(granted, "id",
                             ngx_lockbox_json_text(&grant->id)) != NGX_OK
        || ngx_lockbox_json_set(granted, "tenant",
                                ngx_lockbox_json_text(&grant->tenant))
           != NGX_OK
        || ngx_lockbox_json_set(granted, "access",
                                ngx_lockbox_scope_json(&grant->scope,
                                                 NGX_LOCKBOX_SCOPE_ACCESS))
           != NGX_OK
        || ngx_lockbox_json_set(granted, "expires_at",
                                ngx_lockbox_json_text(&expires)) != NGX_OK)
    {
        json_decref(granted);
        return NULL;
    }

    return granted;
}


static json_t *
ngx_http_lockbox_gate_offer(const ngx_lockbox_target_t *target)
{
    json_t  *offer, *item;

    item = json_pack("{s:o, s:o, s:[o], s:o}",
                     "service", ngx_lockbox_json_text(&target->service),
                     "methods", ngx_http_lockbox_gate_methods(target),
                     "paths", ngx_lockbox_json_text(&target->path),
                     "labels", ngx_http_lockbox_gate_labels(target));

    offer = json_pack("{s:s, s:s, s:i, s:[o]}",
                      "justification", "",
                      "reason", "customer_initiated_support",
                      "duration", NGX_HTTP_LOCKBOX_OFFER_DURATION,
                      "access", item);

    return offer;
}


/* What an item has to name. */

static json_t *
ngx_http_lockbox_gate_methods(const ngx_lockbox_target_t *target)
{
    json_t  *methods;

    methods = json_array();

    if (json_array_append_new(methods, ngx_lockbox_json_text(&target->method))
        != 0
        || (target->upgrade
            && json_array_append_new(methods, json_string(NGX_LOCKBOX_UPGRADE))
               != 0))
    {
        json_decref(methods);
        return NULL;
    }

    return methods;
}


static json_t *
ngx_http_lockbox_gate_labels(const ngx_lockbox_target_t *target)
{
    json_t      *labels;
    ngx_uint_t   i;

    labels = json_array();

    for (i = 0; i < target->labels.nelts; i++) {
        if (json_array_append_new(labels,
                            ngx_lockbox_json_text(&target->labels.elts[i]))
            != 0)
        {
            json_decref(labels);
            return NULL;
        }
    }

    return labels;
}


ngx_int_t
ngx_http_lockbox_gate_init_process(ngx_cycle_t *cycle)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lockbox_module);

    if (mcf == NULL) {
        return NGX_OK;
    }

    mcf->turns = ngx_lockbox_turns_create(cycle->pool, cycle->log);

    return mcf->turns != NULL ? NGX_OK : NGX_ERROR;
}
