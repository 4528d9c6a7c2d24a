/*
 * What the parts of the admin handler share: its configuration, a call under
 * way, and the hands from one part to the next.
 */

#ifndef _NGX_HTTP_LOCKBOX_ADMIN_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_ADMIN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <jansson.h>

#include "ngx_http_lockbox_audit.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_lockbox_identity.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_scope.h"
#include "ngx_lockbox_workflow.h"


#define NGX_HTTP_LOCKBOX_BODY_MAX  65536


/* Event streams, and the hand-over of events; each of a worker. */
typedef struct ngx_http_lockbox_streams_s   ngx_http_lockbox_streams_t;
typedef struct ngx_http_lockbox_notifier_s  ngx_http_lockbox_notifier_t;


typedef struct {
    time_t                     manager_within;    /* seconds to answer */
    time_t                     customer_within;
    time_t                     engineer_within;   /* answers, all together */
    ngx_uint_t                 manager_needed;    /* approvals */
    ngx_uint_t                 customer_needed;
    ngx_int_t                  max_open;          /* requests that wait */
    ngx_array_t                manager_only;      /* of ngx_str_t: tenants */
    ngx_regex_t               *ticket;            /* NULL: no pattern */
    time_t                     retention;         /* seconds */
    ngx_uint_t                 mounted;           /* locations */
    ngx_http_conf_ctx_t       *server;            /* of the first of them */

    ngx_uint_t                 streams_max;       /* open at once */
    ngx_uint_t                 streams_person;    /* by one person */
    ngx_str_t                  notify;            /* URI; empty: none */
    ngx_msec_t                 notify_timeout;

    /* of this worker; set in init_process on the cycle's own configuration */
    ngx_lockbox_redis_t          *redis;
    ngx_http_lockbox_streams_t   *streams;
    ngx_http_lockbox_notifier_t  *notifier;       /* NULL: none */
} ngx_http_lockbox_admin_conf_t;


typedef struct {
    ngx_flag_t                 enable;
    ngx_str_t                  prefix;            /* of the location */
} ngx_http_lockbox_admin_loc_conf_t;


typedef struct ngx_http_lockbox_admin_call_s  ngx_http_lockbox_admin_call_t;


/* Does what the call asks for, and sees to it that it is finished once. */
typedef void (*ngx_http_lockbox_admin_run_pt)(
    ngx_http_lockbox_admin_call_t *call);

/* Goes on with what a step of the workflow answered. */
typedef void (*ngx_http_lockbox_admin_step_pt)(
    ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);


typedef enum {
    NGX_HTTP_LOCKBOX_BODY_NONE = 0,
    NGX_HTTP_LOCKBOX_BODY_OPTIONAL,
    NGX_HTTP_LOCKBOX_BODY_REQUIRED
} ngx_http_lockbox_body_e;


typedef struct {
    ngx_uint_t                      method;       /* NGX_HTTP_* */
    const char                     *pattern;      /* {t}, {id}: parameters */
    ngx_str_t                       action;       /* event.action */
    ngx_http_lockbox_body_e         body;
    unsigned                        public:1;     /* no identity needed */
    unsigned                        read:1;       /* changes nothing */
    unsigned                        query:1;      /* has parameters */
    ngx_http_lockbox_admin_run_pt   run;
} ngx_http_lockbox_route_t;


struct ngx_http_lockbox_admin_call_s {
    ngx_http_request_t              *request;
    ngx_http_lockbox_leg_t          *leg;
    const ngx_http_lockbox_route_t  *route;

    ngx_str_t                        tenant;      /* parameters of the path */
    ngx_str_t                        id;

    ngx_lockbox_identity_t           identity;
    json_t                          *body;        /* pool; an object */

    ngx_lockbox_workflow_call_t     *step;        /* the last one sent */
    ngx_http_lockbox_admin_step_pt   stepped;     /* who waits for it */
    ngx_uint_t                       attempts;
    void                            *data;        /* of the route's own */
};


/* The table of calls ends with a route whose pattern is NULL. */
extern const ngx_http_lockbox_route_t  ngx_http_lockbox_admin_routes[];


/* The content handler of a location with "lockbox_admin on". */
ngx_int_t ngx_http_lockbox_admin_handler(ngx_http_request_t *r);

/*
 * Installs, in postconfiguration, the header filter that puts problem details
 * in the place of nginx's own pages in such locations, where there is a word
 * for the status.
 */
void ngx_http_lockbox_admin_errors_init(void);

/*
 * The ends of a call; each finalizes the request, so that nothing of the call
 * may be touched afterwards.
 *
 * "more" are further members of the problem (borrowed, may be NULL); "detail"
 * replaces the usual text when it is not NULL; the JSON value of an answer is
 * consumed.
 */
void ngx_http_lockbox_admin_refuse(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_decision_t decision, const char *detail, json_t *more);
void ngx_http_lockbox_admin_refuse_member(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_fault_t *fault);
void ngx_http_lockbox_admin_answer(ngx_http_lockbox_admin_call_t *call,
    ngx_uint_t status, json_t *value);
void ngx_http_lockbox_admin_answer_text(ngx_http_lockbox_admin_call_t *call,
    const char *type, const ngx_str_t *text);

/*
 * Sends a step of the workflow to Redis; "args" is consumed (NULL stands for
 * no memory).  When it cannot be sent the call is refused right here.
 */
void ngx_http_lockbox_admin_step(ngx_http_lockbox_admin_call_t *call,
    const char *action, json_t *args, ngx_http_lockbox_admin_step_pt handler);

/*
 * 1 if the caller prefers this media type to JSON, by ngx_lockbox_accept(); 0
 * without memory.
 */
ngx_uint_t ngx_http_lockbox_admin_prefers(ngx_http_lockbox_admin_call_t *call,
    const char *type);

/*
 * Writes the intent; when that fails the call has been refused, and NGX_ERROR
 * is returned.
 */
ngx_int_t ngx_http_lockbox_admin_intent(ngx_http_lockbox_admin_call_t *call);

/* The configuration of the request's server. */
ngx_http_lockbox_admin_conf_t *ngx_http_lockbox_admin_conf(
    ngx_http_request_t *r);

/* Approvals that a tenant's customer has to give; 0 for the listed ones. */
ngx_uint_t ngx_http_lockbox_admin_customers(
    const ngx_http_lockbox_admin_conf_t *conf, const ngx_str_t *tenant);


/*
 * What the calls do: ngx_http_lockbox_admin_requests.c, _decisions.c,
 * _audit.c, _events.c.
 */
void ngx_http_lockbox_admin_file(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_list(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_show(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_openapi(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_whoami(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_jwks(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_decide(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_grant(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_audit(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_events(ngx_http_lockbox_admin_call_t *call);

/* And those on a policy: ngx_http_lockbox_admin_policy.c. */
void ngx_http_lockbox_admin_get_policy(ngx_http_lockbox_admin_call_t *call);
void ngx_http_lockbox_admin_put_policy(ngx_http_lockbox_admin_call_t *call);

/*
 * NGX_OK when a grant over the scope, for this engineer and the request that
 * the path names, is short enough for the gate; NGX_DECLINED and the fault
 * when it is not; NGX_ERROR without memory.
 */
ngx_int_t ngx_http_lockbox_admin_fits(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *engineer_iss, const ngx_str_t *engineer_sub,
    const ngx_lockbox_scope_t *scope, ngx_lockbox_fault_t *fault);

/*
 * The actor as the script wants it: iss, sub, roles, tenant.  A new
 * reference, NULL without memory.
 */
json_t *ngx_http_lockbox_admin_actor(const ngx_lockbox_identity_t *identity);


/* What they show: ngx_http_lockbox_admin_views.c. */

/*
 * A request as everybody gets it, from the fields of its hash.  A new
 * reference; NULL without memory or when the fields make no sense.
 */
json_t *ngx_http_lockbox_admin_view(const json_t *fields);

/* RFC 3339 text of Unix milliseconds, a new reference or NULL. */
json_t *ngx_http_lockbox_admin_view_time(int64_t msec);

/*
 * Refuses for what a step of the workflow answered, with state and version
 * for a conflict.
 */
void ngx_http_lockbox_admin_refuse_result(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);


/* Starts the timer that records lapses and expiries; in init_process. */
ngx_int_t ngx_http_lockbox_admin_sweep_start(ngx_cycle_t *cycle,
    ngx_http_lockbox_admin_conf_t *conf);


extern ngx_module_t  ngx_http_lockbox_admin_module;


#endif /* _NGX_HTTP_LOCKBOX_ADMIN_H_INCLUDED_ */
