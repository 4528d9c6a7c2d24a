/*
 * The table of calls, who calls, and bodies in and out.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_admin_notify.h"
#include "ngx_http_lockbox_headers.h"
#include "ngx_http_lockbox_problem.h"
#include "ngx_lockbox_accept.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_query.h"


static ngx_lockbox_decision_t ngx_http_lockbox_admin_route(
    ngx_http_lockbox_admin_call_t *call, ngx_str_t *allow);
static ngx_uint_t ngx_http_lockbox_admin_match(
    ngx_http_lockbox_admin_call_t *call, const char *pattern,
    const u_char *p, const u_char *end);
static ngx_int_t ngx_http_lockbox_admin_allow(ngx_http_request_t *r,
    ngx_str_t *allow, ngx_uint_t method);
static ngx_lockbox_decision_t ngx_http_lockbox_admin_identify(
    ngx_http_lockbox_admin_call_t *call);
static ngx_lockbox_decision_t ngx_http_lockbox_admin_expect_query(
    ngx_http_lockbox_admin_call_t *call, ngx_lockbox_fault_t *fault);
static ngx_lockbox_decision_t ngx_http_lockbox_admin_expect_body(
    ngx_http_lockbox_admin_call_t *call);
static ngx_int_t ngx_http_lockbox_admin_refusal(
    ngx_http_lockbox_admin_call_t *call, ngx_lockbox_decision_t decision,
    const char *detail, json_t *more);
static ngx_int_t ngx_http_lockbox_admin_refusal_of(
    ngx_http_lockbox_admin_call_t *call, ngx_lockbox_decision_t decision,
    const ngx_lockbox_fault_t *fault);
static void ngx_http_lockbox_admin_body_handler(ngx_http_request_t *r);
static ngx_lockbox_decision_t ngx_http_lockbox_admin_body(
    ngx_http_lockbox_admin_call_t *call, ngx_lockbox_fault_t *fault);
static ngx_int_t ngx_http_lockbox_admin_body_text(ngx_http_request_t *r,
    ngx_str_t *text);
static void ngx_http_lockbox_admin_stepped(void *data,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_admin_cleanup(void *data);


const ngx_http_lockbox_route_t  ngx_http_lockbox_admin_routes[] = {

    { NGX_HTTP_GET, "v1/whoami", ngx_string("whoami"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 0, 1, 0, ngx_http_lockbox_admin_whoami },

    { NGX_HTTP_GET, "v1/jwks.json", ngx_string("jwks"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 1, 1, 0, ngx_http_lockbox_admin_jwks },

    { NGX_HTTP_GET, "v1/events", ngx_string("events"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 0, 1, 1, ngx_http_lockbox_admin_events },

    { NGX_HTTP_GET, "v1/openapi.json", ngx_string("openapi"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 1, 1, 0, ngx_http_lockbox_admin_openapi },

    { NGX_HTTP_GET, "v1/requests", ngx_string("list"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 0, 1, 1, ngx_http_lockbox_admin_list },

    { NGX_HTTP_GET, "v1/tenants/{t}/requests", ngx_string("list"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 0, 1, 1, ngx_http_lockbox_admin_list },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests", ngx_string("request"),
      NGX_HTTP_LOCKBOX_BODY_REQUIRED, 0, 0, 0, ngx_http_lockbox_admin_file },

    { NGX_HTTP_GET, "v1/tenants/{t}/requests/{id}", ngx_string("show"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 0, 1, 0, ngx_http_lockbox_admin_show },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/approve",
      ngx_string("approve"),
      NGX_HTTP_LOCKBOX_BODY_REQUIRED, 0, 0, 0, ngx_http_lockbox_admin_decide },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/deny", ngx_string("deny"),
      NGX_HTTP_LOCKBOX_BODY_REQUIRED, 0, 0, 0, ngx_http_lockbox_admin_decide },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/ask", ngx_string("ask"),
      NGX_HTTP_LOCKBOX_BODY_REQUIRED, 0, 0, 0, ngx_http_lockbox_admin_decide },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/answer",
      ngx_string("answer"),
      NGX_HTTP_LOCKBOX_BODY_REQUIRED, 0, 0, 0, ngx_http_lockbox_admin_decide },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/cancel",
      ngx_string("cancel"),
      NGX_HTTP_LOCKBOX_BODY_OPTIONAL, 0, 0, 0, ngx_http_lockbox_admin_decide },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/complete",
      ngx_string("complete"),
      NGX_HTTP_LOCKBOX_BODY_OPTIONAL, 0, 0, 0, ngx_http_lockbox_admin_decide },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/revoke",
      ngx_string("revoke"),
      NGX_HTTP_LOCKBOX_BODY_OPTIONAL, 0, 0, 0, ngx_http_lockbox_admin_decide },

    { NGX_HTTP_POST, "v1/tenants/{t}/requests/{id}/grant",
      ngx_string("collect"),
      NGX_HTTP_LOCKBOX_BODY_OPTIONAL, 0, 0, 0, ngx_http_lockbox_admin_grant },

    { NGX_HTTP_GET, "v1/tenants/{t}/policy", ngx_string("show_policy"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 0, 1, 0, ngx_http_lockbox_admin_get_policy },

    { NGX_HTTP_PUT, "v1/tenants/{t}/policy", ngx_string("policy"),
      NGX_HTTP_LOCKBOX_BODY_REQUIRED, 0, 0, 0,
      ngx_http_lockbox_admin_put_policy },

    { NGX_HTTP_GET, "v1/tenants/{t}/audit", ngx_string("audit_read"),
      NGX_HTTP_LOCKBOX_BODY_NONE, 0, 0, 1, ngx_http_lockbox_admin_audit },

    { 0, NULL, ngx_null_string, NGX_HTTP_LOCKBOX_BODY_NONE, 0, 0, 0, NULL }
};


ngx_int_t
ngx_http_lockbox_admin_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_str_t                       allow;
    ngx_lockbox_fault_t             fault;
    ngx_lockbox_decision_t          decision;
    ngx_http_lockbox_admin_call_t  *call;

    if (r != r->main) {
        /* an included call would be made in the name of whoever reads */
        return NGX_HTTP_NOT_FOUND;
    }

    call = ngx_pcalloc(r->pool, sizeof(ngx_http_lockbox_admin_call_t));
    if (call == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    call->request = r;
    call->leg = ngx_http_lockbox_audit_next(r);
    call->body = ngx_lockbox_json_own(r->pool, json_object());

    if (call->leg == NULL || call->body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&call->leg->action, "call");
    ngx_http_set_ctx(r, call, ngx_http_lockbox_admin_module);

    ngx_str_set(&allow, "");
    fault.reason = NULL;

    decision = ngx_http_lockbox_admin_route(call, &allow);

    if (decision == NGX_LOCKBOX_METHOD_NOT_ALLOWED
        && ngx_http_lockbox_header_add(r, "Allow", &allow) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (decision == NGX_LOCKBOX_ALLOW) {
        decision = ngx_http_lockbox_admin_identify(call);
    }

    if (decision == NGX_LOCKBOX_ALLOW) {
        decision = ngx_http_lockbox_admin_expect_query(call, &fault);
    }

    if (decision == NGX_LOCKBOX_ALLOW) {
        decision = ngx_http_lockbox_admin_expect_body(call);
    }

    if (decision != NGX_LOCKBOX_ALLOW) {
        return ngx_http_lockbox_admin_refusal_of(call, decision, &fault);
    }

    if (call->route->body == NGX_HTTP_LOCKBOX_BODY_NONE) {
        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }

        r->main->count++;
        call->route->run(call);

        return NGX_DONE;
    }

    rc = ngx_http_read_client_request_body(r,
                                         ngx_http_lockbox_admin_body_handler);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* HEAD is GET without the body, as everywhere (RFC 9110 section 9.3.2). */

static ngx_lockbox_decision_t
ngx_http_lockbox_admin_route(ngx_http_lockbox_admin_call_t *call,
    ngx_str_t *allow)
{
    ngx_uint_t                          method;
    const u_char                       *p, *end;
    ngx_http_request_t                 *r;
    const ngx_http_lockbox_route_t     *route;
    ngx_http_lockbox_admin_loc_conf_t  *lcf;

    r = call->request;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_admin_module);

    if (r->uri.len < lcf->prefix.len) {
        return NGX_LOCKBOX_NOT_FOUND;
    }

    p = r->uri.data + lcf->prefix.len;
    end = r->uri.data + r->uri.len;
    method = r->method == NGX_HTTP_HEAD ? NGX_HTTP_GET : r->method;

    for (route = ngx_http_lockbox_admin_routes;
         route->pattern != NULL;
         route++)
    {
        if (!ngx_http_lockbox_admin_match(call, route->pattern, p, end)) {
            continue;
        }

        if (route->method == method) {
            call->route = route;
            call->leg->action = route->action;
            call->leg->tenant = call->tenant;
            call->leg->request_id = call->id;
            return NGX_LOCKBOX_ALLOW;
        }

        if (ngx_http_lockbox_admin_allow(r, allow, route->method) != NGX_OK) {
            return NGX_LOCKBOX_INTERNAL_ERROR;
        }
    }

    return allow->len != 0 ? NGX_LOCKBOX_METHOD_NOT_ALLOWED
                           : NGX_LOCKBOX_NOT_FOUND;
}


static ngx_uint_t
ngx_http_lockbox_admin_match(ngx_http_lockbox_admin_call_t *call,
    const char *pattern, const u_char *p, const u_char *end)
{
    ngx_str_t  segment;

    ngx_str_null(&call->tenant);
    ngx_str_null(&call->id);

    while (*pattern != '\0') {

        if (*pattern != '{') {
            if (p == end || *p++ != (u_char) *pattern++) {
                return 0;
            }

            continue;
        }

        segment.data = (u_char *) p;

        while (p < end && *p != '/') {
            p++;
        }

        segment.len = (size_t) (p - segment.data);

        if (pattern[1] == 't') {
            if (!ngx_lockbox_tenant_valid(&segment)) {
                return 0;
            }

            call->tenant = segment;
            pattern += sizeof("{t}") - 1;

        } else {
            if (!ngx_lockbox_id_valid(&segment)) {
                return 0;
            }

            call->id = segment;
            pattern += sizeof("{id}") - 1;
        }
    }

    return p == end;
}


static ngx_int_t
ngx_http_lockbox_admin_allow(ngx_http_request_t *r, ngx_str_t *allow,
    ngx_uint_t method)
{
    u_char      *p;
    const char  *name;

    name = method == NGX_HTTP_GET ? "GET, HEAD"
           : method == NGX_HTTP_PUT ? "PUT" : "POST";

    p = ngx_pnalloc(r->pool, allow->len + sizeof(", GET, HEAD"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    allow->len = (size_t) (ngx_sprintf(p, "%V%s%s", allow,
                                       allow->len != 0 ? ", " : "", name)
                           - p);
    allow->data = p;

    return NGX_OK;
}


static ngx_lockbox_decision_t
ngx_http_lockbox_admin_identify(ngx_http_lockbox_admin_call_t *call)
{
    ngx_str_t                      text;
    ngx_http_request_t            *r;
    ngx_lockbox_decision_t         decision;
    ngx_http_lockbox_main_conf_t  *mcf;

    if (call->route->public) {
        return NGX_LOCKBOX_ALLOW;
    }

    r = call->request;

    decision = ngx_http_lockbox_header_bearer(r, &text);
    if (decision != NGX_LOCKBOX_ALLOW) {
        return decision;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_module);

    decision = ngx_lockbox_identity_open(r->pool, &mcf->issuers, &text,
                                         ngx_time(), &call->identity);

    if (decision == NGX_LOCKBOX_ALLOW) {
        call->leg->user_iss = call->identity.iss;
        call->leg->user_sub = call->identity.sub;
    }

    return decision;
}


/* Calls with parameters read them themselves; to others each is unknown. */

static ngx_lockbox_decision_t
ngx_http_lockbox_admin_expect_query(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_fault_t *fault)
{
    ngx_http_request_t                          *r;
    static const ngx_lockbox_query_parameter_t   none = {
        NULL, NGX_LOCKBOX_QUERY_WORD, 0, NULL, 0, 0
    };

    r = call->request;

    if (call->route->query
        || ngx_lockbox_query_read(r->pool, &r->args, &none, NULL, fault)
           == NGX_OK)
    {
        return NGX_LOCKBOX_ALLOW;
    }

    return NGX_LOCKBOX_INVALID_MEMBER;
}


static ngx_lockbox_decision_t
ngx_http_lockbox_admin_expect_body(ngx_http_lockbox_admin_call_t *call)
{
    size_t                   len;
    ngx_str_t                type;
    ngx_http_request_t      *r;
    static const ngx_str_t   name = ngx_string("Content-Type");
    static const ngx_str_t   json = ngx_string("application/json");

    r = call->request;

    if (call->route->body == NGX_HTTP_LOCKBOX_BODY_NONE) {
        return NGX_LOCKBOX_ALLOW;
    }

    if (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked) {
        return call->route->body == NGX_HTTP_LOCKBOX_BODY_OPTIONAL
               ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_INVALID_JSON;
    }

    if (r->headers_in.content_length_n > NGX_HTTP_LOCKBOX_BODY_MAX) {
        return NGX_LOCKBOX_TOO_LARGE;
    }

    if (ngx_http_lockbox_header_find(r, &name, &type) != 1
        || type.len < json.len
        || ngx_strncasecmp(type.data, json.data, json.len) != 0)
    {
        return NGX_LOCKBOX_UNSUPPORTED_MEDIA_TYPE;
    }

    /* parameters may follow (RFC 8259 defines none) */

    for (len = json.len; len < type.len && type.data[len] == ' '; len++) {
        /* void */
    }

    return len == type.len || type.data[len] == ';'
           ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_UNSUPPORTED_MEDIA_TYPE;
}


static void
ngx_http_lockbox_admin_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_lockbox_fault_t             fault;
    ngx_lockbox_decision_t          decision;
    ngx_http_lockbox_admin_call_t  *call;

    call = ngx_http_get_module_ctx(r, ngx_http_lockbox_admin_module);
    fault.reason = NULL;

    decision = ngx_http_lockbox_admin_body(call, &fault);

    if (decision != NGX_LOCKBOX_ALLOW) {
        rc = ngx_http_lockbox_admin_refusal_of(call, decision, &fault);

        ngx_http_finalize_request(r, rc);
        return;
    }

    call->route->run(call);
}


static ngx_lockbox_decision_t
ngx_http_lockbox_admin_body(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_fault_t *fault)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    rc = ngx_http_lockbox_admin_body_text(call->request, &text);

    if (rc == NGX_DECLINED) {
        return NGX_LOCKBOX_TOO_LARGE;
    }

    if (rc != NGX_OK) {
        return NGX_LOCKBOX_INTERNAL_ERROR;
    }

    if (text.len == 0
        && call->route->body == NGX_HTTP_LOCKBOX_BODY_OPTIONAL)
    {
        return NGX_LOCKBOX_ALLOW;
    }

    call->body = ngx_lockbox_json_parse_told(call->request->pool, text.data,
                                             text.len, fault);

    return call->body != NULL ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_INVALID_JSON;
}


/* NGX_DECLINED when a body without a stated length turns out too large. */

static ngx_int_t
ngx_http_lockbox_admin_body_text(ngx_http_request_t *r, ngx_str_t *text)
{
    off_t         size, len;
    u_char       *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    len = 0;
    ngx_str_null(text);

    if (r->request_body == NULL) {
        return NGX_ERROR;
    }

    for (cl = r->request_body->bufs; cl != NULL; cl = cl->next) {
        len += ngx_buf_size(cl->buf);
    }

    if (len > NGX_HTTP_LOCKBOX_BODY_MAX) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, (size_t) len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    text->len = (size_t) len;

    for (cl = r->request_body->bufs; cl != NULL; cl = cl->next) {
        b = cl->buf;
        size = ngx_buf_size(b);

        if (ngx_buf_in_memory(b)) {
            ngx_memcpy(p, b->pos, (size_t) size);

        } else if (size != 0
                   && (!b->in_file
                       || ngx_read_file(b->file, p, (size_t) size,
                                        b->file_pos)
                          != size))
        {
            return NGX_ERROR;
        }

        p += size;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_admin_refusal(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_decision_t decision, const char *detail, json_t *more)
{
    ngx_http_lockbox_loc_conf_t  *lcf;

    call->leg->decision = decision;
    call->leg->refused = 1;

    lcf = ngx_http_get_module_loc_conf(call->request, ngx_http_lockbox_module);

    return ngx_http_lockbox_problem_send(call->request, decision, &lcf->realm,
                                         detail, more);
}


/* Names what is at fault; nothing is if the fault has no reason. */

static ngx_int_t
ngx_http_lockbox_admin_refusal_of(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_decision_t decision, const ngx_lockbox_fault_t *fault)
{
    json_t     *more;
    ngx_int_t   rc;

    more = NULL;

    if (fault->reason != NULL) {
        more = json_pack("{s:o}", "member",
                         ngx_lockbox_json_text(&fault->member));
    }

    rc = ngx_http_lockbox_admin_refusal(call, decision, fault->reason, more);
    json_decref(more);

    return rc;
}


void
ngx_http_lockbox_admin_refuse(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_decision_t decision, const char *detail, json_t *more)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = call->request;
    rc = ngx_http_lockbox_admin_refusal(call, decision, detail, more);

    ngx_http_finalize_request(r, rc);
}


void
ngx_http_lockbox_admin_refuse_member(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_fault_t *fault)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = call->request;
    rc = ngx_http_lockbox_admin_refusal_of(call, NGX_LOCKBOX_INVALID_MEMBER,
                                           fault);

    ngx_http_finalize_request(r, rc);
}


void
ngx_http_lockbox_admin_answer(ngx_http_lockbox_admin_call_t *call,
    ngx_uint_t status, json_t *value)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = call->request;

    if (value == NULL) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    call->leg->decision = NGX_LOCKBOX_ALLOW;
    call->leg->silent = call->route->read;

    rc = ngx_http_lockbox_json_send(r, status, "application/json", value);

    ngx_http_finalize_request(r, rc);
}


void
ngx_http_lockbox_admin_answer_text(ngx_http_lockbox_admin_call_t *call,
    const char *type, const ngx_str_t *text)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = call->request;

    call->leg->decision = NGX_LOCKBOX_ALLOW;
    call->leg->silent = call->route->read;

    rc = ngx_http_lockbox_text_send(r, NGX_HTTP_OK, type, text);

    ngx_http_finalize_request(r, rc);
}


ngx_uint_t
ngx_http_lockbox_admin_prefers(ngx_http_lockbox_admin_call_t *call,
    const char *type)
{
    ngx_str_t               accept, offered[3];
    static const ngx_str_t  name = ngx_string("Accept");

    ngx_str_set(&offered[0], "application/json");
    offered[1].data = (u_char *) type;
    offered[1].len = ngx_strlen(type);
    ngx_str_null(&offered[2]);

    return ngx_http_lockbox_header_list(call->request, &name, &accept)
           == NGX_OK
           && ngx_lockbox_accept(&accept, offered) == 1;
}


void
ngx_http_lockbox_admin_step(ngx_http_lockbox_admin_call_t *call,
    const char *action, json_t *args, ngx_http_lockbox_admin_step_pt handler)
{
    ngx_http_request_t             *r;
    ngx_http_cleanup_t             *cln;
    ngx_http_lockbox_admin_conf_t  *conf;

    r = call->request;
    conf = ngx_http_lockbox_admin_conf(r);

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL || args == NULL) {
        json_decref(args);
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    call->step = NULL;
    call->stepped = handler;

    if (conf->redis != NULL) {
        call->step = ngx_lockbox_workflow_run(conf->redis, r->pool, action,
                                              args,
                                              ngx_http_lockbox_admin_stepped,
                                              call);
    }

    json_decref(args);

    if (call->step == NULL) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_STORE_UNAVAILABLE,
                                      NULL, NULL);
        return;
    }

    cln->handler = ngx_http_lockbox_admin_cleanup;
    cln->data = call->step;
}


static void
ngx_http_lockbox_admin_stepped(void *data,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_connection_t               *c;
    ngx_http_lockbox_admin_call_t  *call = data;
    ngx_http_lockbox_admin_conf_t  *conf;

    c = call->request->connection;
    conf = ngx_http_lockbox_admin_conf(call->request);

    ngx_http_set_log_request(c->log, call->request);

    ngx_http_lockbox_notify(call->route->read ? NULL : conf->notifier, result);

    call->stepped(call, result);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_lockbox_admin_cleanup(void *data)
{
    ngx_lockbox_workflow_cancel(data);
}


ngx_int_t
ngx_http_lockbox_admin_intent(ngx_http_lockbox_admin_call_t *call)
{
    /* a call that is tried again after a conflict says so only once */

    if (call->leg->intended
        || ngx_http_lockbox_audit_intent(call->request, call->leg) == NGX_OK)
    {
        return NGX_OK;
    }

    ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_AUDIT_UNAVAILABLE, NULL,
                                  NULL);

    return NGX_ERROR;
}
