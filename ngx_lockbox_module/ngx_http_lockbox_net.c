/*
 * The net: a header filter that lets no answer of a gated location pass
 * unless the gate has allowed it, whatever else in nginx made the answer.
 */

#include "ngx_http_lockbox_audit.h"
#include "ngx_http_lockbox_caches.h"
#include "ngx_http_lockbox_headers.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_http_lockbox_problem.h"
#include "ngx_lockbox_record.h"
#include "ngx_lockbox_text.h"


static ngx_int_t ngx_http_lockbox_net_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_net_beyond(ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_net_allowed(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg);
static ngx_http_lockbox_leg_t *ngx_http_lockbox_net_leg(
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_lockbox_net_own_error(ngx_http_request_t *r);
static ngx_uint_t ngx_http_lockbox_net_protocol(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg);
static ngx_uint_t ngx_http_lockbox_net_switches(const ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_net_mark(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg);
static ngx_int_t ngx_http_lockbox_net_stop(ngx_http_request_t *r,
    const char *reason);
static ngx_int_t ngx_http_lockbox_net_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_lockbox_net_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_lockbox_net_init,             /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_lockbox_net_module = {
    NGX_MODULE_V1,
    &ngx_http_lockbox_net_module_ctx,      /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/*
 * What an upstream has no say in: until when its answer may be used, and who
 * may keep it.  Some caches prefer these to Cache-Control (RFC 9213).
 */

static const ngx_str_t  ngx_http_lockbox_net_own[] = {
    ngx_string("Cache-Control"),
    ngx_string("CDN-Cache-Control"),
    ngx_string("Surrogate-Control"),
    ngx_string("X-Accel-Expires"),
    ngx_string("Lockbox-Expires"),
    ngx_null_string
};


static ngx_int_t
ngx_http_lockbox_net_header_filter(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t       *leg;
    ngx_http_lockbox_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    if (!lcf->enable) {
        return ngx_http_lockbox_net_beyond(r);
    }

    /* proxy_store would serve it to others, ungated */

    ngx_http_lockbox_caches_forbid(r);

    leg = ngx_http_lockbox_net_leg(r);

    if (leg != NULL && leg->decision == NGX_LOCKBOX_ALLOW) {
        return ngx_http_lockbox_net_allowed(r, leg);
    }

    if ((leg != NULL && leg->refused) || ngx_http_lockbox_net_own_error(r)) {
        return ngx_http_next_header_filter(r);
    }

    return ngx_http_lockbox_net_stop(r, "was not allowed by the gate");
}


/*
 * Where nothing is gated: a request that was allowed can have been led here,
 * by X-Accel-Redirect and the like, and its answer is under the same grant.
 */

static ngx_int_t
ngx_http_lockbox_net_beyond(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_net_leg(r);

    if (leg == NULL || !leg->gated) {
        return ngx_http_next_header_filter(r);
    }

    ngx_http_lockbox_caches_forbid(r);

    if (leg->decision != NGX_LOCKBOX_ALLOW) {

        if (leg->refused || ngx_http_lockbox_net_own_error(r)) {
            return ngx_http_next_header_filter(r);
        }

        return ngx_http_lockbox_net_stop(r, "was not allowed by the gate");
    }

    /* whose error that was, and whether there was one, is not for others */

    if (ngx_http_lockbox_caches_error(r)) {
        return ngx_http_lockbox_net_stop(r, "comes from a shared cache");
    }

    return ngx_http_lockbox_net_allowed(r, leg);
}


/* What is allowed is for whom it is allowed, and until when. */

static ngx_int_t
ngx_http_lockbox_net_allowed(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg)
{
    if (ngx_http_lockbox_caches_hit(r)) {
        return ngx_http_lockbox_net_stop(r, "comes from a shared cache");
    }

    if (!ngx_http_lockbox_net_protocol(r, leg)) {
        return ngx_http_lockbox_net_stop(r, "must not switch protocols");
    }

    if (ngx_http_lockbox_net_mark(r, leg) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/*
 * A background or slice subrequest that clones its parent enters the phases
 * behind the gate; it is the parent's request for the same target.
 */

static ngx_http_lockbox_leg_t *
ngx_http_lockbox_net_leg(ngx_http_request_t *r)
{
    ngx_http_request_t      *pr;
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);
    pr = r->parent;

    if (leg != NULL || r == r->main || pr == NULL) {
        return leg;
    }

    if (pr->loc_conf == r->loc_conf
        && ngx_lockbox_text_same(&pr->uri, &r->uri))
    {
        return ngx_http_lockbox_audit_leg(pr, 0);
    }

    return NULL;
}


/* An error page that nginx wrote itself tells nothing of any tenant. */

static ngx_uint_t
ngx_http_lockbox_net_own_error(ngx_http_request_t *r)
{
    ngx_uint_t  status;

    status = r->err_status ? r->err_status : r->headers_out.status;

    return r->upstream == NULL && status >= NGX_HTTP_BAD_REQUEST;
}


/*
 * 1 if the answer switches no protocols, or may.  The configuration may ask
 * for a switch that the client did not.  And what is no main request of
 * HTTP/1.1 shares the connection with others, which nginx would hand over with
 * all that they send.
 */

static ngx_uint_t
ngx_http_lockbox_net_protocol(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg)
{
    return !ngx_http_lockbox_net_switches(r)
           || (leg->upgrade
               && r == r->main
               && r->http_version == NGX_HTTP_VERSION_11);
}


/* An "error_page =200" hides the status, and nginx switches all the same. */

static ngx_uint_t
ngx_http_lockbox_net_switches(const ngx_http_request_t *r)
{
    return r->headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS
           || (r->upstream != NULL && r->upstream->upgrade);
}


static ngx_int_t
ngx_http_lockbox_net_mark(ngx_http_request_t *r,
    const ngx_http_lockbox_leg_t *leg)
{
    ngx_str_t               value;
    static const ngx_str_t  no_store = ngx_string("no-store");

    ngx_http_lockbox_header_remove(r, ngx_http_lockbox_net_own);

    value.data = ngx_pnalloc(r->pool, NGX_LOCKBOX_TIME_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = (size_t) (ngx_lockbox_record_time(value.data,
                                                (int64_t) leg->expires * 1000)
                          - value.data);

    if (ngx_http_lockbox_header_add(r, "Lockbox-Expires", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_lockbox_header_add(r, "Cache-Control", &no_store);
}


static ngx_int_t
ngx_http_lockbox_net_stop(ngx_http_request_t *r, const char *reason)
{
    ngx_int_t                     rc;
    ngx_http_lockbox_leg_t       *leg;
    ngx_http_lockbox_loc_conf_t  *lcf;

    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "lockbox: the answer of a gated location %s", reason);

    leg = ngx_http_lockbox_audit_leg(r, 1);
    if (leg == NULL) {
        return NGX_ERROR;
    }

    leg->decision = NGX_LOCKBOX_INTERNAL_ERROR;
    leg->refused = 1;

    if (r != r->main) {
        r->error_page = 1;
        return ngx_http_filter_finalize_request(r,
                                                &ngx_http_lockbox_net_module,
                                                NGX_HTTP_SERVICE_UNAVAILABLE);
    }

    /*
     * As ngx_http_filter_finalize_request() does, with our own answer; the
     * NGX_ERROR keeps whoever made the stopped answer from sending its body.
     */

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    ngx_http_clean_header(r);
    r->filter_finalize = 1;

    rc = ngx_http_lockbox_problem_send(r, NGX_LOCKBOX_INTERNAL_ERROR,
                                       &lcf->realm, NULL, NULL);

    return rc == NGX_OK ? NGX_ERROR : rc;
}


static ngx_int_t
ngx_http_lockbox_net_init(ngx_conf_t *cf)
{
    if (ngx_http_lockbox_caches_off(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_lockbox_net_header_filter;

    return NGX_OK;
}
