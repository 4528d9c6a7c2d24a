/*
 * The admin API: directives and mounting.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_admin_events.h"
#include "ngx_http_lockbox_admin_notify.h"
#include "ngx_http_lockbox_certificate.h"
#include "ngx_http_lockbox_trail.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"


/* A page of 100 requests with all that belongs to them fits. */
#define NGX_HTTP_LOCKBOX_ADMIN_REPLY_MAX  (64 * 1024 * 1024)

#define NGX_HTTP_LOCKBOX_ANSWER_MIN       60
#define NGX_HTTP_LOCKBOX_ANSWER_MAX       (14 * 24 * 3600)
#define NGX_HTTP_LOCKBOX_APPROVALS_MAX    9
#define NGX_HTTP_LOCKBOX_OPEN_MAX         1000

/* in seconds; with it times are still such as the script takes */
#define NGX_HTTP_LOCKBOX_RETENTION_MAX    ((time_t) 100 * 365 * 24 * 3600)

#define NGX_HTTP_LOCKBOX_STREAMS          256
#define NGX_HTTP_LOCKBOX_STREAMS_PERSON   16
#define NGX_HTTP_LOCKBOX_STREAMS_MAX      65536

/* Milliseconds */
#define NGX_HTTP_LOCKBOX_NOTIFY           10000
#define NGX_HTTP_LOCKBOX_NOTIFY_MIN       100
#define NGX_HTTP_LOCKBOX_NOTIFY_MAX       60000


typedef struct {
    ngx_str_t    name;
    size_t       offset;
} ngx_http_lockbox_admin_stage_t;


static void *ngx_http_lockbox_admin_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_lockbox_admin_init_main_conf(ngx_conf_t *cf,
    void *data);
static void *ngx_http_lockbox_admin_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_lockbox_admin_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_lockbox_admin_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_lockbox_admin_complete(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf);
static ngx_int_t ngx_http_lockbox_admin_tenants(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf, ngx_http_lockbox_admin_conf_t *conf);
static ngx_int_t ngx_http_lockbox_admin_init_process(ngx_cycle_t *cycle);
static void ngx_http_lockbox_admin_exit_process(ngx_cycle_t *cycle);
static char *ngx_http_lockbox_admin(ngx_conf_t *cf, ngx_command_t *cmd,
    void *data);
static char *ngx_http_lockbox_admin_within(ngx_conf_t *cf,
    ngx_command_t *cmd, void *data);
static char *ngx_http_lockbox_admin_approvals(ngx_conf_t *cf,
    ngx_command_t *cmd, void *data);
static ngx_str_t ngx_http_lockbox_admin_stage(const ngx_str_t *param,
    const ngx_http_lockbox_admin_stage_t *stages, size_t *offset);
static char *ngx_http_lockbox_admin_manager_only(ngx_conf_t *cf,
    ngx_command_t *cmd, void *data);
static char *ngx_http_lockbox_admin_ticket(ngx_conf_t *cf,
    ngx_command_t *cmd, void *data);
static char *ngx_http_lockbox_admin_streams(ngx_conf_t *cf,
    ngx_command_t *cmd, void *data);
static char *ngx_http_lockbox_admin_notify(ngx_conf_t *cf,
    ngx_command_t *cmd, void *data);
static ngx_int_t ngx_http_lockbox_admin_notified(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf, ngx_http_lockbox_admin_conf_t *conf);


/* Where the values of "manager=", "customer=" and the like go. */

static const ngx_http_lockbox_admin_stage_t
    ngx_http_lockbox_admin_answers[] =
{
    { ngx_string("manager="),
      offsetof(ngx_http_lockbox_admin_conf_t, manager_within) },
    { ngx_string("customer="),
      offsetof(ngx_http_lockbox_admin_conf_t, customer_within) },
    { ngx_string("engineer="),
      offsetof(ngx_http_lockbox_admin_conf_t, engineer_within) },
    { ngx_null_string, 0 }
};

static const ngx_http_lockbox_admin_stage_t
    ngx_http_lockbox_admin_needed[] =
{
    { ngx_string("manager="),
      offsetof(ngx_http_lockbox_admin_conf_t, manager_needed) },
    { ngx_string("customer="),
      offsetof(ngx_http_lockbox_admin_conf_t, customer_needed) },
    { ngx_null_string, 0 }
};


static ngx_http_lockbox_bounds_t  ngx_http_lockbox_admin_open_bounds = {
    ngx_conf_set_num_slot, 1, NGX_HTTP_LOCKBOX_OPEN_MAX,
    "a number from 1 to 1000"
};

static ngx_http_lockbox_bounds_t  ngx_http_lockbox_admin_retention_bounds = {
    ngx_conf_set_sec_slot, 1, NGX_HTTP_LOCKBOX_RETENTION_MAX,
    "a time from 1 second to 100 years"
};


static ngx_command_t  ngx_http_lockbox_admin_commands[] = {

    { ngx_string("lockbox_admin"),
      NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_lockbox_admin,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_lockbox_admin_loc_conf_t, enable),
      NULL },

    { ngx_string("lockbox_answer_within"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_lockbox_admin_within,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_approvals"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_lockbox_admin_approvals,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_manager_only"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_lockbox_admin_manager_only,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_ticket_pattern"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_admin_ticket,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_max_open"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_bounded,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_admin_conf_t, max_open),
      &ngx_http_lockbox_admin_open_bounds },

    { ngx_string("lockbox_retention"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_bounded,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_admin_conf_t, retention),
      &ngx_http_lockbox_admin_retention_bounds },

    { ngx_string("lockbox_streams"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_lockbox_admin_streams,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_notify"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_lockbox_admin_notify,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_lockbox_admin_module_ctx = {
    NULL,                                    /* preconfiguration */
    ngx_http_lockbox_admin_init,             /* postconfiguration */

    ngx_http_lockbox_admin_create_main_conf, /* create main configuration */
    ngx_http_lockbox_admin_init_main_conf,   /* init main configuration */

    NULL,                                    /* create server configuration */
    NULL,                                    /* merge server configuration */

    ngx_http_lockbox_admin_create_loc_conf,  /* create location configuration */
    ngx_http_lockbox_admin_merge_loc_conf    /* merge location configuration */
};


ngx_module_t  ngx_http_lockbox_admin_module = {
    NGX_MODULE_V1,
    &ngx_http_lockbox_admin_module_ctx,      /* module context */
    ngx_http_lockbox_admin_commands,         /* module directives */
    NGX_HTTP_MODULE,                         /* module type */
    NULL,                                    /* init master */
    NULL,                                    /* init module */
    ngx_http_lockbox_admin_init_process,     /* init process */
    NULL,                                    /* init thread */
    NULL,                                    /* exit thread */
    ngx_http_lockbox_admin_exit_process,     /* exit process */
    NULL,                                    /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_lockbox_admin_conf_t *
ngx_http_lockbox_admin_conf(ngx_http_request_t *r)
{
    return ngx_http_get_module_main_conf(r, ngx_http_lockbox_admin_module);
}


ngx_uint_t
ngx_http_lockbox_admin_customers(const ngx_http_lockbox_admin_conf_t *conf,
    const ngx_str_t *tenant)
{
    ngx_str_t   *listed;
    ngx_uint_t   i;

    listed = conf->manager_only.elts;

    for (i = 0; i < conf->manager_only.nelts; i++) {
        if (ngx_lockbox_text_same(&listed[i], tenant)) {
            return 0;
        }
    }

    return conf->customer_needed;
}


static void *
ngx_http_lockbox_admin_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lockbox_admin_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->ticket = NULL;
     *     conf->mounted = 0;
     *     conf->server = NULL;
     *     conf->notify = { 0, NULL };
     *     conf->redis = NULL;
     *     conf->streams = NULL;
     *     conf->notifier = NULL;
     */

    conf->manager_within = NGX_CONF_UNSET;
    conf->customer_within = NGX_CONF_UNSET;
    conf->engineer_within = NGX_CONF_UNSET;
    conf->manager_needed = NGX_CONF_UNSET_UINT;
    conf->customer_needed = NGX_CONF_UNSET_UINT;
    conf->retention = NGX_CONF_UNSET;
    conf->max_open = NGX_CONF_UNSET;
    conf->streams_max = NGX_CONF_UNSET_UINT;
    conf->streams_person = NGX_CONF_UNSET_UINT;
    conf->notify_timeout = NGX_CONF_UNSET_MSEC;

    if (ngx_array_init(&conf->manager_only, cf->pool, 4, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NULL;
    }

    return conf;
}


static char *
ngx_http_lockbox_admin_init_main_conf(ngx_conf_t *cf, void *data)
{
    ngx_http_lockbox_admin_conf_t *conf = data;

    ngx_conf_init_value(conf->manager_within, 3600);
    ngx_conf_init_value(conf->customer_within, 12 * 3600);
    ngx_conf_init_value(conf->engineer_within, 24 * 3600);
    ngx_conf_init_uint_value(conf->manager_needed, 1);
    ngx_conf_init_uint_value(conf->customer_needed, 1);
    ngx_conf_init_value(conf->max_open, 10);
    ngx_conf_init_value(conf->retention, 400 * 24 * 3600);
    ngx_conf_init_uint_value(conf->streams_max, NGX_HTTP_LOCKBOX_STREAMS);
    ngx_conf_init_uint_value(conf->streams_person,
                             NGX_HTTP_LOCKBOX_STREAMS_PERSON);
    ngx_conf_init_msec_value(conf->notify_timeout, NGX_HTTP_LOCKBOX_NOTIFY);

    return NGX_CONF_OK;
}


static void *
ngx_http_lockbox_admin_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_lockbox_admin_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lockbox_admin_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    lcf->enable = NGX_CONF_UNSET;

    return lcf;
}


/*
 * Not inherited: the prefix belongs to one location.  Neither is the content
 * handler that the directive sets.
 */

static char *
ngx_http_lockbox_admin_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_lockbox_admin_loc_conf_t *conf = child;

    ngx_http_lockbox_loc_conf_t  *lcf;

    if (conf->enable == NGX_CONF_UNSET) {
        conf->enable = 0;
    }

    lcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_lockbox_module);

    /* modules merge in order: the gate's configuration is merged by now */

    if (conf->enable && lcf->enable == 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lockbox_admin on\" in the gated location \"%V\": "
                      "nobody could ask for a grant there; add \"lockbox "
                      "off\"", &conf->prefix);
        return NGX_CONF_ERROR;
    }

    if (conf->enable && ngx_http_lockbox_certificate_note(cf, lcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_lockbox_admin_init(ngx_conf_t *cf)
{
    ngx_http_lockbox_main_conf_t   *mcf;
    ngx_http_lockbox_admin_conf_t  *conf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);
    conf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_lockbox_admin_module);

    ngx_http_lockbox_trail_keep(cf, conf->retention);

    if (conf->mounted) {

        if (ngx_http_lockbox_admin_complete(cf, mcf) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_lockbox_admin_errors_init();
    }

    if (conf->notify.len != 0
        && ngx_http_lockbox_admin_notified(cf, mcf, conf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lockbox_admin_tenants(cf, mcf, conf);
}


static ngx_int_t
ngx_http_lockbox_admin_complete(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf)
{
    const char  *missing;

    missing = mcf->redis.addr == NULL ? "lockbox_redis"
              : mcf->issuers.rules.nelts == 0 ? "lockbox_issuer"
              : mcf->signing.nelts == 0 ? "lockbox_signing_key"
              : !ngx_http_lockbox_audit_configured(cf) ? "lockbox_audit_log"
              : NULL;

    if (missing != NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lockbox_admin on\" needs \"%s\"", missing);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* A tenant that is known by name must have somebody who can approve. */

static ngx_int_t
ngx_http_lockbox_admin_tenants(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf, ngx_http_lockbox_admin_conf_t *conf)
{
    ngx_uint_t                     i;
    ngx_http_complex_value_t      *tenant;
    ngx_http_lockbox_loc_conf_t  **gated;

    gated = mcf->gated.elts;

    for (i = 0; i < mcf->gated.nelts; i++) {
        tenant = gated[i]->tenant;

        if (tenant->lengths != NULL
            || ngx_http_lockbox_admin_customers(conf, &tenant->value) == 0
            || ngx_lockbox_identity_customer_possible(&mcf->issuers,
                                                      &tenant->value))
        {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"lockbox_issuer\" can speak for the customer of "
                      "the tenant \"%V\", gated in %V:%ui",
                      &tenant->value, &gated[i]->file, gated[i]->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_admin_init_process(ngx_cycle_t *cycle)
{
    ngx_http_lockbox_main_conf_t   *mcf;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lockbox_admin_module);
    if (conf == NULL
        || !conf->mounted
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lockbox_module);

    conf->redis = ngx_lockbox_redis_create(&mcf->redis, "admin",
                                           NGX_HTTP_LOCKBOX_ADMIN_REPLY_MAX,
                                           NULL, cycle->log);
    if (conf->redis == NULL) {
        return NGX_ERROR;
    }

    conf->streams = ngx_http_lockbox_streams_create(cycle, conf);
    if (conf->streams == NULL) {
        return NGX_ERROR;
    }

    if (conf->notify.len != 0) {
        conf->notifier = ngx_http_lockbox_notifier_create(cycle, conf);

        if (conf->notifier == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_lockbox_admin_sweep_start(cycle, conf);
}


static void
ngx_http_lockbox_admin_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lockbox_admin_module);

    if (conf == NULL || conf->redis == NULL) {
        return;
    }

    if (conf->notifier != NULL) {
        ngx_http_lockbox_notifier_destroy(conf->notifier);
        conf->notifier = NULL;
    }

    if (conf->streams != NULL) {
        ngx_http_lockbox_streams_destroy(conf->streams);
        conf->streams = NULL;
    }

    ngx_lockbox_redis_destroy(conf->redis);
    conf->redis = NULL;
}


static char *
ngx_http_lockbox_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_lockbox_admin_loc_conf_t *lcf = data;

    char                           *rv;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_core_srv_conf_t       *cscf;
    ngx_http_lockbox_loc_conf_t    *gate;
    ngx_http_lockbox_admin_conf_t  *conf;

    rv = ngx_conf_set_flag_slot(cf, cmd, data);

    if (rv != NGX_CONF_OK || !lcf->enable) {
        return rv;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (
#if (NGX_PCRE)
        clcf->regex ||
#endif
        clcf->named
        || clcf->noname
        || clcf->exact_match
        || clcf->name.len == 0
        || clcf->name.data[0] != '/'
        || clcf->name.data[clcf->name.len - 1] != '/')
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"lockbox_admin\" needs a prefix location that "
                           "ends with \"/\", not \"%V\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    conf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_lockbox_admin_module);

    if (conf->mounted++ == 0) {
        cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
        conf->server = cscf->ctx;
    }

    gate = ngx_http_conf_get_module_loc_conf(cf, ngx_http_lockbox_module);
    ngx_str_set(&gate->recorded, "call");

    lcf->prefix = clcf->name;
    clcf->handler = ngx_http_lockbox_admin_handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_admin_within(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_lockbox_admin_conf_t *conf = data;

    size_t       offset;
    time_t       seconds, *field;
    ngx_str_t   *param, value;
    ngx_uint_t   i;

    param = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        value = ngx_http_lockbox_admin_stage(&param[i],
                                             ngx_http_lockbox_admin_answers,
                                             &offset);
        seconds = value.len != 0 ? ngx_parse_time(&value, 1)
                                 : (time_t) NGX_ERROR;

        if (seconds == (time_t) NGX_ERROR
            || seconds < NGX_HTTP_LOCKBOX_ANSWER_MIN
            || seconds > NGX_HTTP_LOCKBOX_ANSWER_MAX)
        {
            return ngx_http_lockbox_conf_invalid(cf, &param[i],
                                       "manager=, customer= or engineer= with "
                                       "a time from 1 minute to 14 days");
        }

        field = (time_t *) (void *) ((u_char *) conf + offset);

        if (*field != NGX_CONF_UNSET) {
            return "is duplicate";
        }

        *field = seconds;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_admin_approvals(ngx_conf_t *cf, ngx_command_t *cmd,
    void *data)
{
    ngx_http_lockbox_admin_conf_t *conf = data;

    size_t       offset;
    ngx_int_t    n;
    ngx_str_t   *param, value;
    ngx_uint_t   i, *field;

    param = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        value = ngx_http_lockbox_admin_stage(&param[i],
                                             ngx_http_lockbox_admin_needed,
                                             &offset);
        n = value.len != 0 ? ngx_atoi(value.data, value.len) : NGX_ERROR;

        if (n < 1 || n > NGX_HTTP_LOCKBOX_APPROVALS_MAX) {
            return ngx_http_lockbox_conf_invalid(cf, &param[i],
                                       "manager= or customer= with a number "
                                       "from 1 to 9; tenants without a "
                                       "customer's approval are listed by "
                                       "\"lockbox_manager_only\"");
        }

        field = (ngx_uint_t *) (void *) ((u_char *) conf + offset);

        if (*field != NGX_CONF_UNSET_UINT) {
            return "is duplicate";
        }

        *field = (ngx_uint_t) n;
    }

    return NGX_CONF_OK;
}


/* The value behind one of the names, empty if there is none of them. */

static ngx_str_t
ngx_http_lockbox_admin_stage(const ngx_str_t *param,
    const ngx_http_lockbox_admin_stage_t *stages, size_t *offset)
{
    ngx_str_t  value;

    ngx_str_null(&value);
    *offset = 0;

    for ( /* void */ ; stages->name.len != 0; stages++) {

        if (param->len >= stages->name.len
            && ngx_memcmp(param->data, stages->name.data, stages->name.len)
               == 0)
        {
            value.data = param->data + stages->name.len;
            value.len = param->len - stages->name.len;
            *offset = stages->offset;
            break;
        }
    }

    return value;
}


static char *
ngx_http_lockbox_admin_manager_only(ngx_conf_t *cf, ngx_command_t *cmd,
    void *data)
{
    ngx_http_lockbox_admin_conf_t *conf = data;

    ngx_str_t   *value, *tenant;
    ngx_uint_t   i, j;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (!ngx_lockbox_tenant_valid(&value[i])) {
            return ngx_http_lockbox_conf_invalid(cf, &value[i],
                                       "[A-Za-z0-9._-]{1,64}, neither \".\" "
                                       "nor \"..\"");
        }

        tenant = conf->manager_only.elts;

        for (j = 0; j < conf->manager_only.nelts; j++) {
            if (ngx_lockbox_text_same(&tenant[j], &value[i])) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate tenant \"%V\"", &value[i]);
                return NGX_CONF_ERROR;
            }
        }

        tenant = ngx_array_push(&conf->manager_only);
        if (tenant == NULL) {
            return NGX_CONF_ERROR;
        }

        *tenant = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_admin_ticket(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_lockbox_admin_conf_t *conf = data;

    u_char                errstr[NGX_MAX_CONF_ERRSTR];
    ngx_str_t            *value;
    ngx_regex_compile_t   rc;

    if (conf->ticket != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern = value[1];
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &rc.err);
        return NGX_CONF_ERROR;
    }

    conf->ticket = rc.regex;

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_admin_streams(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_lockbox_admin_conf_t *conf = data;

    ngx_int_t    n;
    ngx_str_t   *param, value;
    ngx_uint_t   i, *field;

    if (conf->streams_max != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    param = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        value = param[i];
        field = &conf->streams_max;

        if (i == 2) {
            field = &conf->streams_person;

            if (ngx_strncmp(value.data, "person=", 7) != 0) {
                return ngx_http_lockbox_conf_invalid(cf, &param[i],
                                       "person= with a number");
            }

            value.data += 7;
            value.len -= 7;
        }

        n = ngx_atoi(value.data, value.len);

        if (n < 0 || n > NGX_HTTP_LOCKBOX_STREAMS_MAX) {
            return ngx_http_lockbox_conf_invalid(cf, &param[i],
                                       "a number from 0 to 65536");
        }

        *field = (ngx_uint_t) n;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_admin_notify(ngx_conf_t *cf, ngx_command_t *cmd, void *data)
{
    ngx_http_lockbox_admin_conf_t *conf = data;

    ngx_str_t  *value, time;
    ngx_int_t   msec;

    if (conf->notify.len != 0) {
        return "is duplicate";
    }

    value = cf->args->elts;

    /* a location is found by a path, as it is after decoding */

    if (value[1].len == 0
        || value[1].data[0] != '/'
        || ngx_strlchr(value[1].data, value[1].data + value[1].len, '?')
           != NULL
        || ngx_strlchr(value[1].data, value[1].data + value[1].len, '$')
           != NULL)
    {
        return ngx_http_lockbox_conf_invalid(cf, &value[1],
                                       "a path that begins with \"/\", without "
                                       "arguments and variables");
    }

    conf->notify = value[1];

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    msec = NGX_ERROR;

    if (ngx_strncmp(value[2].data, "timeout=", 8) == 0) {
        time.data = value[2].data + 8;
        time.len = value[2].len - 8;
        msec = ngx_parse_time(&time, 0);
    }

    if (msec == NGX_ERROR
        || msec < NGX_HTTP_LOCKBOX_NOTIFY_MIN
        || msec > NGX_HTTP_LOCKBOX_NOTIFY_MAX)
    {
        return ngx_http_lockbox_conf_invalid(cf, &value[2],
                                       "timeout= with a time from 100ms to "
                                       "60s");
    }

    conf->notify_timeout = (ngx_msec_t) msec;

    return NGX_CONF_OK;
}


/*
 * What can be told of the location before there is a request: that its server
 * is known, and that no gate stands before it, which nothing but a grant opens.
 */

static ngx_int_t
ngx_http_lockbox_admin_notified(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf, ngx_http_lockbox_admin_conf_t *conf)
{
    ngx_uint_t                     i;
    ngx_http_core_srv_conf_t      *cscf;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_lockbox_loc_conf_t  **gated;

    if (conf->server == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lockbox_notify\" needs a server with "
                      "\"lockbox_admin on\"");
        return NGX_ERROR;
    }

    cscf = conf->server->srv_conf[ngx_http_core_module.ctx_index];
    gated = mcf->gated.elts;

    for (i = 0; i < mcf->gated.nelts; i++) {
        clcf = gated[i]->loc_conf[ngx_http_core_module.ctx_index];

        if (gated[i]->server == cscf
            && ngx_lockbox_text_same(&clcf->name, &conf->notify))
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "the location of \"lockbox_notify\" is gated by "
                          "\"lockbox on\" in %V:%ui: it would take no event; "
                          "add \"lockbox off\"",
                          &gated[i]->file, gated[i]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
