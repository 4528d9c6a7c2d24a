/*
 * The trail: audit records go to the streams of their tenants in Redis, too.
 *
 * A record that the log has is copied into a ring of the worker.  A timer
 * sends what has gathered, as one script that appends it, and what was sent
 * stays in the ring until Redis has answered; the script knows by number what
 * it has appended already.  So a record is in its stream once and in order,
 * or it is counted as lost, and the stream says so.
 */

#include "ngx_http_lockbox_trail.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_lockbox_assets.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_record.h"
#include "ngx_lockbox_redis.h"
#include "ngx_lockbox_script.h"
#include "ngx_lockbox_text.h"
#include "ngx_lockbox_trail.h"

#include <openssl/rand.h>


/* Entries that a tenant's stream may have. */
#define NGX_HTTP_LOCKBOX_TRAIL_ENTRIES      50000
#define NGX_HTTP_LOCKBOX_TRAIL_ENTRIES_MIN  100
#define NGX_HTTP_LOCKBOX_TRAIL_ENTRIES_MAX  100000000

/*
 * Bytes: of the ring, of what one script is given, and of an entry of several
 * records, which is what Redis by default puts into one block of a stream.
 */
#define NGX_HTTP_LOCKBOX_TRAIL_RING   (4 * 1024 * 1024)
#define NGX_HTTP_LOCKBOX_TRAIL_BATCH  32768
#define NGX_HTTP_LOCKBOX_TRAIL_ENTRY  4096

/* Bytes of a mark: its names, a tenant, three times and a number fit. */
#define NGX_HTTP_LOCKBOX_TRAIL_GAP  512

/* The answer is a number, or the text of an error. */
#define NGX_HTTP_LOCKBOX_TRAIL_REPLY  16384

/*
 * Milliseconds: between batches, between signs of life without any, between
 * marks of losses, and for how long a worker that drains tries to get rid of
 * what it has.
 */
#define NGX_HTTP_LOCKBOX_TRAIL_TICK   200
#define NGX_HTTP_LOCKBOX_TRAIL_BEAT   2000
#define NGX_HTTP_LOCKBOX_TRAIL_MARK   10000
#define NGX_HTTP_LOCKBOX_TRAIL_STAY   2000

/*
 * Records of people who have shown no genuine token: anybody can make any
 * number of them, and they must not push all others out of a stream.  So many
 * are taken at once, and one more in so many milliseconds.
 */
#define NGX_HTTP_LOCKBOX_TRAIL_STRANGERS  100
#define NGX_HTTP_LOCKBOX_TRAIL_STRANGER   1000

/* Random bytes in the name of a worker. */
#define NGX_HTTP_LOCKBOX_TRAIL_RANDOM  8

/* EVAL or EVALSHA, script, number of keys, and what trail.lua takes */
#define NGX_HTTP_LOCKBOX_TRAIL_ARGC  9


/* What one worker uses; made in init_process. */
typedef struct {
    ngx_lockbox_trail_t             trail;
    ngx_lockbox_redis_t            *redis;
    ngx_http_lockbox_trail_conf_t  *conf;
    ngx_str_t                       name;
    u_char                          sha[NGX_LOCKBOX_SCRIPT_SHA];

    /* the batch under way: its bytes, and "until" once it has arrived */
    ngx_lockbox_redis_command_t    *command;
    size_t                          sent;
    int64_t                         sent_until;

    int64_t                         until;     /* all until then has arrived */
    ngx_msec_t                      heard;     /* last sent with success */
    ngx_msec_t                      marked;    /* losses were looked at */
    ngx_msec_t                      leaving;   /* when draining began */

    u_char                          text[NGX_LOCKBOX_TRAIL_TENANT];
    ngx_str_t                       tenant;    /* of the last record */

    ngx_uint_t                      strangers; /* that are still taken */
    ngx_msec_t                      admitted;  /* when that was made more */

    ngx_event_t                     timer;
    ngx_connection_t                dummy;     /* for the event's log ident */
    ngx_log_t                      *log;

    unsigned                        known:1;   /* Redis has heard of us */
    unsigned                        loaded:1;  /* ... and has the script */
    unsigned                        drains:1;
    unsigned                        refused:1; /* Redis did, and we said so */
} ngx_http_lockbox_trail_worker_t;


struct ngx_http_lockbox_trail_conf_s {
    ngx_int_t                         entries;
    time_t                            retention;    /* seconds */
    ngx_uint_t                        enabled;

    /* NULL outside of a worker, and where nothing goes on record */
    ngx_http_lockbox_trail_worker_t  *worker;
};


static ngx_uint_t ngx_http_lockbox_trail_tenant(
    ngx_http_lockbox_trail_worker_t *worker,
    const ngx_http_lockbox_leg_t *leg);
static ngx_uint_t ngx_http_lockbox_trail_admit(
    ngx_http_lockbox_trail_worker_t *worker,
    const ngx_http_lockbox_leg_t *leg);
static void ngx_http_lockbox_trail_tick(ngx_event_t *ev);
static ngx_uint_t ngx_http_lockbox_trail_may_go(
    ngx_http_lockbox_trail_worker_t *worker);
static void ngx_http_lockbox_trail_mark(
    ngx_http_lockbox_trail_worker_t *worker);
static ngx_int_t ngx_http_lockbox_trail_mark_loss(
    ngx_http_lockbox_trail_worker_t *worker,
    const ngx_lockbox_trail_loss_t *loss);
static void ngx_http_lockbox_trail_ship(
    ngx_http_lockbox_trail_worker_t *worker);
static void ngx_http_lockbox_trail_send(
    ngx_http_lockbox_trail_worker_t *worker, const ngx_str_t *entries,
    int64_t until);
static void ngx_http_lockbox_trail_shipped(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_http_lockbox_trail_refused(
    ngx_http_lockbox_trail_worker_t *worker, const ngx_str_t *reason);
static ngx_int_t ngx_http_lockbox_trail_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_lockbox_trail_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_lockbox_trail_name(ngx_pool_t *pool,
    ngx_str_t *name);
static void ngx_http_lockbox_trail_exit_process(ngx_cycle_t *cycle);
static void *ngx_http_lockbox_trail_create_conf(ngx_conf_t *cf);
static char *ngx_http_lockbox_trail_init_conf(ngx_conf_t *cf, void *data);


static const ngx_str_t  ngx_http_lockbox_trail_script = {
    sizeof(ngx_lockbox_trail_lua), (u_char *) ngx_lockbox_trail_lua
};


static ngx_http_lockbox_bounds_t  ngx_http_lockbox_trail_bounds = {
    ngx_conf_set_num_slot,
    NGX_HTTP_LOCKBOX_TRAIL_ENTRIES_MIN, NGX_HTTP_LOCKBOX_TRAIL_ENTRIES_MAX,
    "a number from 100 to 100000000"
};


static ngx_command_t  ngx_http_lockbox_trail_commands[] = {

    { ngx_string("lockbox_trail"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_bounded,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_trail_conf_t, entries),
      &ngx_http_lockbox_trail_bounds },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_lockbox_trail_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_lockbox_trail_init,           /* postconfiguration */

    ngx_http_lockbox_trail_create_conf,    /* create main configuration */
    ngx_http_lockbox_trail_init_conf,      /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_lockbox_trail_module = {
    NGX_MODULE_V1,
    &ngx_http_lockbox_trail_module_ctx,    /* module context */
    ngx_http_lockbox_trail_commands,       /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_lockbox_trail_init_process,   /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_lockbox_trail_exit_process,   /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_lockbox_trail_conf_t *
ngx_http_lockbox_trail_conf(ngx_conf_t *cf)
{
    return ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_lockbox_trail_module);
}


void
ngx_http_lockbox_trail_keep(ngx_conf_t *cf, time_t retention)
{
    ngx_http_lockbox_trail_conf(cf)->retention = retention;
}


void
ngx_http_lockbox_trail_add(ngx_http_lockbox_trail_conf_t *trail,
    const ngx_http_lockbox_leg_t *leg, const ngx_str_t *record)
{
    ngx_http_lockbox_trail_worker_t  *worker;

    worker = trail->worker;

    if (worker == NULL || !ngx_http_lockbox_trail_tenant(worker, leg)) {
        return;
    }

    if (!ngx_http_lockbox_trail_admit(worker, leg)
        || ngx_lockbox_trail_put(&worker->trail, &leg->tenant,
                                 leg->decision == NGX_LOCKBOX_ALLOW, record)
           != NGX_OK)
    {
        ngx_lockbox_trail_lose(&worker->trail, &leg->tenant,
                               ngx_lockbox_clock_msec());
        return;
    }

    if (worker->command == NULL
        && ngx_lockbox_trail_left(&worker->trail)
           >= NGX_HTTP_LOCKBOX_TRAIL_BATCH
        && !worker->timer.posted)
    {
        ngx_post_event(&worker->timer, &ngx_posted_events);
    }
}


/*
 * What stood in a path may be no tenant at all.  Records of one tenant follow
 * each other, and to compare is cheaper than to judge.
 */

static ngx_uint_t
ngx_http_lockbox_trail_tenant(ngx_http_lockbox_trail_worker_t *worker,
    const ngx_http_lockbox_leg_t *leg)
{
    if (leg->tenant.len != 0
        && ngx_lockbox_text_same(&leg->tenant, &worker->tenant))
    {
        return 1;
    }

    if (!ngx_lockbox_tenant_valid(&leg->tenant)) {
        return 0;
    }

    worker->tenant.data = worker->text;
    worker->tenant.len = leg->tenant.len;
    ngx_memcpy(worker->text, leg->tenant.data, leg->tenant.len);

    return 1;
}


/* A step without a request is one of our own. */

static ngx_uint_t
ngx_http_lockbox_trail_admit(ngx_http_lockbox_trail_worker_t *worker,
    const ngx_http_lockbox_leg_t *leg)
{
    ngx_uint_t  more;

    if (leg->user_sub.len != 0 || leg->request == NULL) {
        return 1;
    }

    more = (ngx_current_msec - worker->admitted)
           / NGX_HTTP_LOCKBOX_TRAIL_STRANGER;

    if (more != 0) {
        worker->admitted = ngx_current_msec;
        worker->strangers = ngx_min(worker->strangers + more,
                                    NGX_HTTP_LOCKBOX_TRAIL_STRANGERS);
    }

    if (worker->strangers == 0) {
        return 0;
    }

    worker->strangers--;

    return 1;
}


static void
ngx_http_lockbox_trail_tick(ngx_event_t *ev)
{
    ngx_connection_t                 *c;
    ngx_http_lockbox_trail_worker_t  *worker;

    c = ev->data;
    worker = c->data;

    if (ngx_exiting && !worker->drains) {
        worker->drains = 1;
        worker->leaving = ngx_current_msec;
    }

    ngx_http_lockbox_trail_mark(worker);
    ngx_http_lockbox_trail_ship(worker);

    ev->cancelable = ngx_http_lockbox_trail_may_go(worker);

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, NGX_HTTP_LOCKBOX_TRAIL_TICK);
}


/*
 * A worker that drains stays for what it has, and to take its leave, as long
 * as that is not in vain.
 */

static ngx_uint_t
ngx_http_lockbox_trail_may_go(ngx_http_lockbox_trail_worker_t *worker)
{
    if (!worker->drains) {
        return 0;
    }

    if (ngx_lockbox_trail_left(&worker->trail) == 0) {
        return 1;
    }

    return ngx_current_msec - worker->heard >= NGX_HTTP_LOCKBOX_TRAIL_STAY
           && ngx_current_msec - worker->leaving
              >= NGX_HTTP_LOCKBOX_TRAIL_STAY;
}


static void
ngx_http_lockbox_trail_mark(ngx_http_lockbox_trail_worker_t *worker)
{
    ngx_lockbox_trail_loss_t  *loss;

    if (!worker->drains
        && ngx_current_msec - worker->marked < NGX_HTTP_LOCKBOX_TRAIL_MARK)
    {
        return;
    }

    /* more will be lost before Redis takes any of it */

    if (ngx_lockbox_trail_left(&worker->trail)
        > NGX_HTTP_LOCKBOX_TRAIL_RING / 2)
    {
        return;
    }

    loss = ngx_lockbox_trail_loss(&worker->trail, NULL);

    while (loss != NULL
           && ngx_http_lockbox_trail_mark_loss(worker, loss) == NGX_OK)
    {
        worker->marked = ngx_current_msec;
        loss->lost = 0;
        loss = ngx_lockbox_trail_loss(&worker->trail, loss);
    }

    if (worker->trail.nameless != 0) {
        ngx_log_error(NGX_LOG_ERR, worker->log, 0,
                      "lockbox: %ui audit records of too many tenants did "
                      "not get to their streams", worker->trail.nameless);
        worker->trail.nameless = 0;
    }
}


/* A valid tenant and times need no escape. */

static ngx_int_t
ngx_http_lockbox_trail_mark_loss(ngx_http_lockbox_trail_worker_t *worker,
    const ngx_lockbox_trail_loss_t *loss)
{
    u_char     *p;
    u_char      text[NGX_HTTP_LOCKBOX_TRAIL_GAP];
    ngx_str_t   now, since, until, record;
    u_char      times[3][NGX_LOCKBOX_TIME_LEN];

    now.data = times[0];
    since.data = times[1];
    until.data = times[2];

    now.len = (size_t) (ngx_lockbox_record_time(now.data,
                                                ngx_lockbox_clock_msec())
                        - now.data);
    since.len = (size_t) (ngx_lockbox_record_time(since.data, loss->since)
                          - since.data);
    until.len = (size_t) (ngx_lockbox_record_time(until.data, loss->until)
                          - until.data);

    p = ngx_snprintf(text, sizeof(text),
                     "{\"@timestamp\":\"%V\",\"event.type\":\"info\","
                     "\"event.action\":\"gap\",\"organization.id\":\"%V\","
                     "\"lockbox.lost\":%ui,\"lockbox.lost_since\":\"%V\","
                     "\"lockbox.lost_until\":\"%V\"}\n",
                     &now, &loss->tenant, loss->lost, &since, &until);

    record.data = text;
    record.len = (size_t) (p - text);

    return ngx_lockbox_trail_put(&worker->trail, &loss->tenant, 0, &record);
}


/* One batch at a time, so that all arrive in order. */

static void
ngx_http_lockbox_trail_ship(ngx_http_lockbox_trail_worker_t *worker)
{
    ngx_str_t   entries;
    ngx_uint_t  all, leave;

    if (worker->command != NULL) {
        return;
    }

    all = ngx_lockbox_trail_look(&worker->trail, NGX_HTTP_LOCKBOX_TRAIL_BATCH,
                                 &entries)
          && ngx_lockbox_trail_loss(&worker->trail, NULL) == NULL;
    leave = worker->drains && entries.len == 0;

    if (leave && !worker->known) {
        return;
    }

    if (entries.len == 0
        && !leave
        && worker->known
        && ngx_current_msec - worker->heard < NGX_HTTP_LOCKBOX_TRAIL_BEAT)
    {
        return;
    }

    ngx_http_lockbox_trail_send(worker, &entries,
                                leave ? 0
                                : all ? ngx_lockbox_clock_msec()
                                      : worker->until);

    if (leave && worker->command != NULL) {
        worker->known = 0;
        ngx_lockbox_redis_spare(worker->command);
    }
}


/* "until" 0: the worker takes its leave. */

static void
ngx_http_lockbox_trail_send(ngx_http_lockbox_trail_worker_t *worker,
    const ngx_str_t *entries, int64_t until)
{
    u_char      *p;
    u_char       numbers[4][NGX_INT64_LEN];
    int64_t      value[4];
    ngx_str_t    argv[NGX_HTTP_LOCKBOX_TRAIL_ARGC];
    ngx_uint_t   i;

    value[0] = (int64_t) worker->trail.number;
    value[1] = until;
    value[2] = worker->conf->entries;
    value[3] = (int64_t) worker->conf->retention * 1000;

    if (worker->loaded) {
        ngx_str_set(&argv[0], "EVALSHA");
        argv[1].data = worker->sha;
        argv[1].len = NGX_LOCKBOX_SCRIPT_SHA;

    } else {
        ngx_str_set(&argv[0], "EVAL");
        argv[1] = ngx_http_lockbox_trail_script;
    }

    ngx_str_set(&argv[2], "0");
    argv[3] = worker->name;

    for (i = 0; i < 4; i++) {
        p = numbers[i];
        argv[4 + i].data = p;
        argv[4 + i].len = (size_t) (ngx_sprintf(p, "%L", value[i]) - p);
    }

    if (until == 0) {
        argv[5].len = 0;
    }

    argv[8] = *entries;

    worker->sent = entries->len;
    worker->sent_until = until;

    /* the entries stay in the ring until they are answered */
    worker->command = ngx_lockbox_redis_send_lent(worker->redis, argv,
                                               NGX_HTTP_LOCKBOX_TRAIL_ARGC,
                                               ngx_http_lockbox_trail_shipped,
                                               worker);
}


static void
ngx_http_lockbox_trail_shipped(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_http_lockbox_trail_worker_t *worker = data;

    worker->command = NULL;

    if (reply == NULL) {
        /* the connection has said why; all is sent again, if it must */
        return;
    }

    if (ngx_lockbox_script_unknown(reply) && worker->loaded) {
        worker->loaded = 0;
        worker->known |= (worker->sent_until == 0);
        ngx_http_lockbox_trail_ship(worker);
        return;
    }

    if (reply->type == NGX_LOCKBOX_RESP_ERROR) {
        ngx_http_lockbox_trail_refused(worker, &reply->text);
        return;
    }

    if (reply->type != NGX_LOCKBOX_RESP_INTEGER) {
        ngx_lockbox_redis_reject(worker->redis, "reply to another question");
        return;
    }

    if (reply->integer != 0) {
        ngx_log_error(NGX_LOG_ERR, worker->log, 0,
                      "lockbox: %L audit records did not get to their "
                      "streams, in whose place there is something else",
                      reply->integer);
    }

    ngx_lockbox_trail_take(&worker->trail, worker->sent);

    worker->heard = ngx_current_msec;
    worker->known = worker->sent_until != 0;
    worker->loaded = 1;
    worker->refused = 0;

    if (worker->known) {
        worker->until = worker->sent_until;
    }

    if (worker->drains
        || ngx_lockbox_trail_left(&worker->trail)
           >= NGX_HTTP_LOCKBOX_TRAIL_BATCH)
    {
        ngx_http_lockbox_trail_mark(worker);
        ngx_http_lockbox_trail_ship(worker);
        worker->timer.cancelable = ngx_http_lockbox_trail_may_go(worker);
    }
}


static void
ngx_http_lockbox_trail_refused(ngx_http_lockbox_trail_worker_t *worker,
    const ngx_str_t *reason)
{
    if (worker->refused) {
        return;
    }

    worker->refused = 1;

    ngx_log_error(NGX_LOG_ERR, worker->log, 0,
                  "lockbox: Redis does not take audit records: %V", reason);
}


static ngx_int_t
ngx_http_lockbox_trail_init(ngx_conf_t *cf)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);

    ngx_http_lockbox_trail_conf(cf)->enabled =
                                    mcf->redis.addr != NULL
                                    && ngx_http_lockbox_audit_configured(cf);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_trail_init_process(ngx_cycle_t *cycle)
{
    u_char                           *memory;
    ngx_http_lockbox_main_conf_t     *mcf;
    ngx_http_lockbox_trail_conf_t    *conf;
    ngx_http_lockbox_trail_worker_t  *worker;

    conf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lockbox_trail_module);
    if (conf == NULL
        || !conf->enabled
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lockbox_module);

    worker = ngx_pcalloc(cycle->pool, sizeof(ngx_http_lockbox_trail_worker_t));
    memory = ngx_palloc(cycle->pool, NGX_HTTP_LOCKBOX_TRAIL_RING);

    if (worker == NULL
        || memory == NULL
        || ngx_http_lockbox_trail_name(cycle->pool, &worker->name) != NGX_OK
        || ngx_lockbox_script_sha(&ngx_http_lockbox_trail_script, worker->sha)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_lockbox_trail_init(&worker->trail, memory,
                           NGX_HTTP_LOCKBOX_TRAIL_RING,
                           NGX_HTTP_LOCKBOX_TRAIL_ENTRY);

    worker->conf = conf;
    worker->log = cycle->log;
    worker->until = ngx_lockbox_clock_msec();
    worker->marked = ngx_current_msec - NGX_HTTP_LOCKBOX_TRAIL_MARK;
    worker->strangers = NGX_HTTP_LOCKBOX_TRAIL_STRANGERS;
    worker->admitted = ngx_current_msec;

    worker->redis = ngx_lockbox_redis_create(&mcf->redis, "trail",
                                             NGX_HTTP_LOCKBOX_TRAIL_REPLY,
                                             NULL, cycle->log);
    if (worker->redis == NULL) {
        return NGX_ERROR;
    }

    worker->dummy.fd = (ngx_socket_t) -1;
    worker->dummy.data = worker;

    worker->timer.handler = ngx_http_lockbox_trail_tick;
    worker->timer.data = &worker->dummy;
    worker->timer.log = cycle->log;

    ngx_add_timer(&worker->timer, NGX_HTTP_LOCKBOX_TRAIL_TICK);

    conf->worker = worker;

    return NGX_OK;
}


/*
 * Which worker it is, among all that there ever were: numbers of its records
 * mean nothing under the name of another one.
 */

static ngx_int_t
ngx_http_lockbox_trail_name(ngx_pool_t *pool, ngx_str_t *name)
{
    u_char  *p;
    u_char   random[NGX_HTTP_LOCKBOX_TRAIL_RANDOM];

    p = ngx_pnalloc(pool, 2 * sizeof(random) + 1 + NGX_INT64_LEN);

    if (p == NULL || RAND_bytes(random, sizeof(random)) != 1) {
        return NGX_ERROR;
    }

    name->data = p;

    p = ngx_hex_dump(p, random, sizeof(random));
    p = ngx_sprintf(p, "-%P", ngx_pid);

    name->len = (size_t) (p - name->data);

    return NGX_OK;
}


static void
ngx_http_lockbox_trail_exit_process(ngx_cycle_t *cycle)
{
    size_t                            left;
    ngx_http_lockbox_trail_conf_t    *conf;
    ngx_http_lockbox_trail_worker_t  *worker;

    conf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lockbox_trail_module);

    if (conf == NULL || conf->worker == NULL) {
        return;
    }

    worker = conf->worker;
    conf->worker = NULL;

    left = ngx_lockbox_trail_left(&worker->trail);

    if (left != 0) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "lockbox: %uz bytes of audit records may not have got "
                      "to their streams", left);
    }

    ngx_lockbox_redis_destroy(worker->redis);
}


static void *
ngx_http_lockbox_trail_create_conf(ngx_conf_t *cf)
{
    ngx_http_lockbox_trail_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lockbox_trail_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->retention = 0;
     *     conf->enabled = 0;
     *     conf->worker = NULL;
     */

    conf->entries = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_lockbox_trail_init_conf(ngx_conf_t *cf, void *data)
{
    ngx_http_lockbox_trail_conf_t *conf = data;

    ngx_conf_init_value(conf->entries, NGX_HTTP_LOCKBOX_TRAIL_ENTRIES);

    return NGX_CONF_OK;
}
