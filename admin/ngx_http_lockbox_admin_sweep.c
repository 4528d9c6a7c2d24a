/*
 * The sweep: records that a deadline has passed or a window is over, without
 * anybody having to look.  Every worker of every instance sweeps; the script
 * lets one of them win.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_admin_notify.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_name.h"


#define NGX_HTTP_LOCKBOX_SWEEP_INTERVAL  3000
#define NGX_HTTP_LOCKBOX_SWEEP_JITTER    1000
#define NGX_HTTP_LOCKBOX_SWEEP_LIMIT     50


typedef struct {
    ngx_cycle_t                     *cycle;
    ngx_http_lockbox_admin_conf_t   *conf;
    ngx_event_t                      timer;
    ngx_connection_t                 dummy;     /* for the event's log ident */

    ngx_pool_t                      *pool;      /* of the round under way */
    json_t                          *due;       /* of the pool */
    size_t                           next;
    ngx_http_lockbox_leg_t           leg;
} ngx_http_lockbox_sweep_t;


static void ngx_http_lockbox_sweep_handler(ngx_event_t *ev);
static void ngx_http_lockbox_sweep_found(void *data,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_sweep_next(ngx_http_lockbox_sweep_t *sweep);
static ngx_int_t ngx_http_lockbox_sweep_begin(
    ngx_http_lockbox_sweep_t *sweep, const json_t *entry);
static void ngx_http_lockbox_sweep_done(void *data,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_sweep_end(ngx_http_lockbox_sweep_t *sweep);


ngx_int_t
ngx_http_lockbox_admin_sweep_start(ngx_cycle_t *cycle,
    ngx_http_lockbox_admin_conf_t *conf)
{
    ngx_http_lockbox_sweep_t  *sweep;

    sweep = ngx_pcalloc(cycle->pool, sizeof(ngx_http_lockbox_sweep_t));
    if (sweep == NULL) {
        return NGX_ERROR;
    }

    sweep->cycle = cycle;
    sweep->conf = conf;
    sweep->dummy.fd = (ngx_socket_t) -1;

    sweep->timer.handler = ngx_http_lockbox_sweep_handler;
    sweep->timer.data = &sweep->dummy;
    sweep->timer.log = cycle->log;
    sweep->timer.cancelable = 1;

    sweep->dummy.data = sweep;

    ngx_http_lockbox_sweep_end(sweep);

    return NGX_OK;
}


static void
ngx_http_lockbox_sweep_handler(ngx_event_t *ev)
{
    json_t                    *args;
    ngx_connection_t          *c;
    ngx_http_lockbox_sweep_t  *sweep;

    c = ev->data;
    sweep = c->data;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    sweep->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, sweep->cycle->log);
    args = json_pack("{s:i}", "limit", NGX_HTTP_LOCKBOX_SWEEP_LIMIT);

    if (sweep->pool == NULL
        || args == NULL
        || ngx_lockbox_workflow_run(sweep->conf->redis, sweep->pool, "due",
                                    args, ngx_http_lockbox_sweep_found, sweep)
           == NULL)
    {
        ngx_http_lockbox_sweep_end(sweep);
    }

    json_decref(args);
}


static void
ngx_http_lockbox_sweep_found(void *data,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_http_lockbox_sweep_t  *sweep = data;

    sweep->due = result->requests;
    sweep->next = 0;

    ngx_http_lockbox_sweep_next(sweep);
}


/* One after the other: the intent of each stands before its step. */

static void
ngx_http_lockbox_sweep_next(ngx_http_lockbox_sweep_t *sweep)
{
    json_t        *args;
    const json_t  *entry;

    if (sweep->next >= json_array_size(sweep->due) || ngx_exiting) {
        ngx_http_lockbox_sweep_end(sweep);
        return;
    }

    entry = json_array_get(sweep->due, sweep->next++);

    args = json_pack("{s:O, s:O, s:I}",
                     "tenant", json_object_get(entry, "tenant"),
                     "id", json_object_get(entry, "id"),
                     "retention",
                     (json_int_t) sweep->conf->retention * 1000);

    if (args == NULL
        || ngx_http_lockbox_sweep_begin(sweep, entry) != NGX_OK
        || ngx_lockbox_workflow_run(sweep->conf->redis, sweep->pool, "sweep",
                                    args, ngx_http_lockbox_sweep_done, sweep)
           == NULL)
    {
        ngx_http_lockbox_sweep_end(sweep);
    }

    json_decref(args);
}


static ngx_int_t
ngx_http_lockbox_sweep_begin(ngx_http_lockbox_sweep_t *sweep,
    const json_t *entry)
{
    ngx_http_lockbox_leg_t  *leg;

    leg = &sweep->leg;

    ngx_memzero(leg, sizeof(ngx_http_lockbox_leg_t));
    ngx_str_set(&leg->action, "sweep");

    if (ngx_lockbox_json_string(entry, "tenant", &leg->tenant) != NGX_OK
        || ngx_lockbox_json_string(entry, "id", &leg->request_id) != NGX_OK
        || ngx_lockbox_id_create(leg->id,
                                 (uint64_t) ngx_lockbox_clock_msec(), NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lockbox_audit_step(sweep->cycle, sweep->pool, leg, 0);
}


static void
ngx_http_lockbox_sweep_done(void *data,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_str_t                  state;
    ngx_http_lockbox_leg_t    *leg;
    ngx_http_lockbox_sweep_t  *sweep = data;

    leg = &sweep->leg;
    leg->decision = result->decision;

    ngx_http_lockbox_notify(sweep->conf->notifier, result);

    /* "lapsed" or "expired" is what has happened */

    if (result->decision == NGX_LOCKBOX_ALLOW
        && ngx_lockbox_json_string(result->request, "state", &state) == NGX_OK)
    {
        leg->action = state;
    }

    /* the step is done: what cannot be recorded now, the intent has shown */

    (void) ngx_http_lockbox_audit_step(sweep->cycle, sweep->pool, leg, 1);

    if (result->decision == NGX_LOCKBOX_STORE_UNAVAILABLE) {
        ngx_http_lockbox_sweep_end(sweep);
        return;
    }

    ngx_http_lockbox_sweep_next(sweep);
}


static void
ngx_http_lockbox_sweep_end(ngx_http_lockbox_sweep_t *sweep)
{
    ngx_msec_t  delay;

    if (sweep->pool != NULL) {
        ngx_destroy_pool(sweep->pool);
        sweep->pool = NULL;
    }

    sweep->due = NULL;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        return;
    }

    /* apart from each other, so that workers seldom meet over one request */

    delay = NGX_HTTP_LOCKBOX_SWEEP_INTERVAL
            + (ngx_msec_t) ngx_random() % NGX_HTTP_LOCKBOX_SWEEP_JITTER;

    ngx_add_timer(&sweep->timer, delay);
}
