/*
 * The audit log: an intent before any effect, the outcome in the log phase.
 */

#ifndef _NGX_HTTP_LOCKBOX_AUDIT_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_AUDIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_lockbox_decision.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_scope.h"


/*
 * What is known of one request or subrequest and goes on record.  It outlives
 * internal redirects, which wipe module contexts.  One that is led on after
 * its intent has a leg for each place.  Texts are pool memory.
 */
typedef struct ngx_http_lockbox_leg_s  ngx_http_lockbox_leg_t;

struct ngx_http_lockbox_leg_s {
    ngx_http_lockbox_leg_t    *next;
    ngx_http_request_t        *request;

    u_char                     id[NGX_LOCKBOX_ID_LEN];   /* event.id */
    ngx_str_t                  action;                   /* event.action */
    ngx_lockbox_decision_t     decision;

    /* who, as far as a genuine token has shown it */
    ngx_str_t                  user_iss;
    ngx_str_t                  user_sub;

    ngx_str_t                  tenant;
    ngx_str_t                  request_id;
    ngx_str_t                  service;
    ngx_lockbox_strings_t      labels;

    ngx_str_t                  path;         /* as it was decided on */
    ngx_str_t                  led;          /* what a named location got */
    ngx_uint_t                 err_status;   /* to answer with if allowed */
    time_t                     expires;      /* of the grant; 0: none shown */

    /* workflow: who decided so far, "iss sub" */
    ngx_str_t                  manager;
    ngx_str_t                  customer;
    ngx_str_t                  preapproval;      /* who gave it beforehand */

    int64_t                    policy_version;  /* gone by, or set; 0: none */

    /* what intent and outcome of an access have in common, as written */
    ngx_str_t                  common;

    unsigned                   gated:1;      /* reached a gated location */
    unsigned                   intended:1;   /* an intent is on record */
    unsigned                   past:1;       /* the request was led on */
    unsigned                   refused:1;    /* our own answer was sent */
    unsigned                   cut:1;        /* after it was let through */
    unsigned                   upgrade:1;    /* asks to switch protocols */
    unsigned                   silent:1;     /* a read that is not recorded */
};


/*
 * The leg that this request is on; makes one when there is none and "create"
 * is set.  NULL without memory, or when there is none.
 */
ngx_http_lockbox_leg_t *ngx_http_lockbox_audit_leg(ngx_http_request_t *r,
    ngx_uint_t create);

/*
 * The leg for what this request has come to now: another one if the intent of
 * the last is on record, for that must get the outcome that is its own.  NULL
 * without memory.
 */
ngx_http_lockbox_leg_t *ngx_http_lockbox_audit_next(ngx_http_request_t *r);

/*
 * Puts the intent on record.  NGX_ERROR when a log that must take it did not:
 * then nothing may happen, and the answer is audit_unavailable.
 */
ngx_int_t ngx_http_lockbox_audit_intent(ngx_http_request_t *r,
    ngx_http_lockbox_leg_t *leg);

/*
 * Puts a step on record that no request made: a deadline that passed.  Same
 * fields as a leg's, "outcome" 0 for its intent.  NGX_ERROR as above.
 */
ngx_int_t ngx_http_lockbox_audit_step(ngx_cycle_t *cycle, ngx_pool_t *pool,
    const ngx_http_lockbox_leg_t *leg, ngx_uint_t outcome);

/* 1 if an audit log that is not optional is configured, else 0. */
ngx_uint_t ngx_http_lockbox_audit_configured(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_lockbox_audit_module;


#endif /* _NGX_HTTP_LOCKBOX_AUDIT_H_INCLUDED_ */
