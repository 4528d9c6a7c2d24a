/*
 * The audit log: an intent before any effect, the outcome in the log phase.
 * Names are those of the Elastic Common Schema.
 */

#include "ngx_http_lockbox_audit.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_http_lockbox_trail.h"
#include "ngx_lockbox_clock.h"
#include "ngx_lockbox_journal.h"
#include "ngx_lockbox_record.h"

#include <signal.h>


#define NGX_HTTP_LOCKBOX_FIELDS  20

/* Room for a line of what clients usually send. */
#define NGX_HTTP_LOCKBOX_LINE    16384


typedef struct {
    ngx_lockbox_random_t  random;        /* for the ids of records */
    u_char                line[NGX_HTTP_LOCKBOX_LINE];
} ngx_http_lockbox_audit_worker_t;


typedef struct {
    ngx_array_t           journals;      /* of ngx_lockbox_journal_t */
    ngx_int_t             request_id;    /* index of $request_id */

    ngx_http_lockbox_trail_conf_t  *trail;

    /* NULL outside of a worker */
    ngx_http_lockbox_audit_worker_t
                         *worker;
} ngx_http_lockbox_audit_conf_t;


typedef struct {
    ngx_http_lockbox_leg_t   *first;
    ngx_http_lockbox_leg_t  **last;
} ngx_http_lockbox_legs_t;


typedef struct {
    ngx_lockbox_field_t   elts[NGX_HTTP_LOCKBOX_FIELDS];
    ngx_uint_t            nelts;
} ngx_http_lockbox_fields_t;


#define ngx_http_lockbox_field_text(fields, name, text)                       \
    ngx_http_lockbox_field(fields, NGX_LOCKBOX_FIELD_TEXT, name,              \
                           sizeof(name) - 1, text, 0)

#define ngx_http_lockbox_field_texts(fields, name, texts)                     \
    ngx_http_lockbox_field(fields, NGX_LOCKBOX_FIELD_TEXTS, name,             \
                           sizeof(name) - 1, (texts)->elts,                   \
                           (int64_t) (texts)->nelts)

#define ngx_http_lockbox_field_number(fields, name, number)                   \
    ngx_http_lockbox_field(fields, NGX_LOCKBOX_FIELD_INTEGER, name,           \
                           sizeof(name) - 1, NULL, number)

#define ngx_http_lockbox_field_time(fields, name, number)                     \
    ngx_http_lockbox_field(fields, NGX_LOCKBOX_FIELD_TIME, name,              \
                           sizeof(name) - 1, NULL, number)

#define ngx_http_lockbox_field_part(fields, part)                             \
    ngx_http_lockbox_field(fields, NGX_LOCKBOX_FIELD_PART, NULL, 0, part, 0)


static ngx_http_lockbox_legs_t *ngx_http_lockbox_audit_legs(
    ngx_http_request_t *r, ngx_uint_t create);
static void ngx_http_lockbox_audit_cleanup(void *data);
static ngx_int_t ngx_http_lockbox_audit_log_handler(ngx_http_request_t *r);
static void ngx_http_lockbox_audit_outcome(
    ngx_http_lockbox_audit_conf_t *acf, ngx_http_lockbox_leg_t *leg);
static void ngx_http_lockbox_fields_intent(
    ngx_http_lockbox_fields_t *fields);
static void ngx_http_lockbox_fields_outcome(ngx_http_lockbox_fields_t *fields,
    const ngx_http_lockbox_leg_t *leg);
static void ngx_http_lockbox_fields_response(
    ngx_http_lockbox_fields_t *fields, ngx_http_request_t *r);
static void ngx_http_lockbox_fields_id(ngx_http_lockbox_fields_t *fields,
    ngx_http_lockbox_audit_conf_t *acf, ngx_http_request_t *r,
    ngx_str_t *id);
static ngx_int_t ngx_http_lockbox_audit_common(ngx_pool_t *pool,
    const ngx_http_lockbox_leg_t *leg, ngx_str_t *common);
static ngx_int_t ngx_http_lockbox_audit_write(ngx_pool_t *pool,
    ngx_http_lockbox_audit_conf_t *acf, const ngx_http_lockbox_leg_t *leg,
    const ngx_http_lockbox_fields_t *fields, ngx_log_t *log);
static void ngx_http_lockbox_field(ngx_http_lockbox_fields_t *fields,
    ngx_lockbox_field_type_e type, const char *name, size_t len,
    const ngx_str_t *text, int64_t number);
static ngx_int_t ngx_http_lockbox_audit_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_lockbox_audit_init_process(ngx_cycle_t *cycle);
static void *ngx_http_lockbox_audit_create_conf(ngx_conf_t *cf);
static char *ngx_http_lockbox_audit_log(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_lockbox_audit_commands[] = {

    { ngx_string("lockbox_audit_log"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_lockbox_audit_log,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_lockbox_audit_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_lockbox_audit_init,           /* postconfiguration */

    ngx_http_lockbox_audit_create_conf,    /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_lockbox_audit_module = {
    NGX_MODULE_V1,
    &ngx_http_lockbox_audit_module_ctx,    /* module context */
    ngx_http_lockbox_audit_commands,       /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_lockbox_audit_init_process,   /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_lockbox_leg_t *
ngx_http_lockbox_audit_leg(ngx_http_request_t *r, ngx_uint_t create)
{
    ngx_http_lockbox_leg_t         *leg;
    ngx_http_lockbox_legs_t        *legs;
    ngx_http_lockbox_audit_conf_t  *acf;

    legs = ngx_http_lockbox_audit_legs(r, create);
    if (legs == NULL) {
        return NULL;
    }

    for (leg = legs->first; leg != NULL; leg = leg->next) {
        if (leg->request == r && !leg->past) {
            return leg;
        }
    }

    if (!create) {
        return NULL;
    }

    leg = ngx_pcalloc(r->pool, sizeof(ngx_http_lockbox_leg_t));
    if (leg == NULL) {
        return NULL;
    }

    acf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_audit_module);

    if (ngx_lockbox_id_create(leg->id, (uint64_t) ngx_lockbox_clock_msec(),
                              acf->worker != NULL ? &acf->worker->random
                                                  : NULL)
        != NGX_OK)
    {
        return NULL;
    }

    leg->request = r;
    leg->path = r->uri;
    ngx_str_set(&leg->action, "access");

    *legs->last = leg;
    legs->last = &leg->next;

    return leg;
}


ngx_http_lockbox_leg_t *
ngx_http_lockbox_audit_next(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t  *leg;

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg != NULL && leg->intended) {
        leg->past = 1;
    }

    return ngx_http_lockbox_audit_leg(r, 1);
}


/*
 * All requests of a connection's request share the pool of the main one; the
 * list is found by its cleanup handler, the one thing of ours that nobody
 * wipes.
 */

static ngx_http_lockbox_legs_t *
ngx_http_lockbox_audit_legs(ngx_http_request_t *r, ngx_uint_t create)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_lockbox_legs_t  *legs;

    for (cln = r->pool->cleanup; cln != NULL; cln = cln->next) {
        if (cln->handler == ngx_http_lockbox_audit_cleanup) {
            return cln->data;
        }
    }

    if (!create) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_lockbox_legs_t));
    if (cln == NULL) {
        return NULL;
    }

    legs = cln->data;
    legs->first = NULL;
    legs->last = &legs->first;

    cln->handler = ngx_http_lockbox_audit_cleanup;

    return legs;
}


static void
ngx_http_lockbox_audit_cleanup(void *data)
{
    /* nothing to release: the handler's address is what the list is found by */
}


ngx_int_t
ngx_http_lockbox_audit_intent(ngx_http_request_t *r,
    ngx_http_lockbox_leg_t *leg)
{
    ngx_str_t                       id, common;
    ngx_http_lockbox_fields_t       fields;
    ngx_http_lockbox_audit_conf_t  *acf;

    acf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_audit_module);

    if (ngx_http_lockbox_audit_common(r->pool, leg, &common) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_lockbox_fields_intent(&fields);
    ngx_http_lockbox_field_part(&fields, &common);
    ngx_http_lockbox_fields_id(&fields, acf, r, &id);

    if (ngx_http_lockbox_audit_write(r->pool, acf, leg, &fields,
                                     r->connection->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* what is known of a step of the workflow may grow until its outcome */

    if (leg->gated) {
        leg->common = common;
    }

    leg->intended = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_lockbox_audit_step(ngx_cycle_t *cycle, ngx_pool_t *pool,
    const ngx_http_lockbox_leg_t *leg, ngx_uint_t outcome)
{
    ngx_str_t                       common;
    ngx_http_lockbox_fields_t       fields;
    ngx_http_lockbox_audit_conf_t  *acf;

    acf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_lockbox_audit_module);

    if (acf == NULL
        || ngx_http_lockbox_audit_common(pool, leg, &common) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (outcome) {
        ngx_http_lockbox_fields_outcome(&fields, leg);

    } else {
        ngx_http_lockbox_fields_intent(&fields);
    }

    ngx_http_lockbox_field_part(&fields, &common);

    return ngx_http_lockbox_audit_write(pool, acf, leg, &fields, pool->log);
}


/* Subrequests have no log phase of their own: the main request closes all. */

static ngx_int_t
ngx_http_lockbox_audit_log_handler(ngx_http_request_t *r)
{
    ngx_http_lockbox_leg_t         *leg;
    ngx_http_lockbox_legs_t        *legs;
    ngx_http_lockbox_loc_conf_t    *lcf;
    ngx_http_lockbox_audit_conf_t  *acf;

    if (r != r->main) {
        return NGX_OK;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    if (lcf->recorded.len != 0 && ngx_http_lockbox_audit_leg(r, 0) == NULL) {
        leg = ngx_http_lockbox_audit_leg(r, 1);

        if (leg == NULL) {
            return NGX_ERROR;
        }

        leg->action = lcf->recorded;
    }

    legs = ngx_http_lockbox_audit_legs(r, 0);
    if (legs == NULL) {
        return NGX_OK;
    }

    acf = ngx_http_get_module_main_conf(r, ngx_http_lockbox_audit_module);

    for (leg = legs->first; leg != NULL; leg = leg->next) {
        if (!leg->silent) {
            ngx_http_lockbox_audit_outcome(acf, leg);
        }
    }

    return NGX_OK;
}


static void
ngx_http_lockbox_audit_outcome(ngx_http_lockbox_audit_conf_t *acf,
    ngx_http_lockbox_leg_t *leg)
{
    ngx_str_t                   id, common;
    ngx_http_request_t         *r;
    ngx_http_lockbox_fields_t   fields;

    r = leg->request;
    common = leg->common;

    if (common.len == 0
        && ngx_http_lockbox_audit_common(r->pool, leg, &common) != NGX_OK)
    {
        return;
    }

    ngx_http_lockbox_fields_outcome(&fields, leg);
    ngx_http_lockbox_field_part(&fields, &common);
    ngx_http_lockbox_fields_id(&fields, acf, r, &id);
    ngx_http_lockbox_fields_response(&fields, r);

    /* too late to refuse anything; the journal has counted the loss */

    (void) ngx_http_lockbox_audit_write(r->pool, acf, leg, &fields,
                                        r->connection->log);
}


static void
ngx_http_lockbox_fields_intent(ngx_http_lockbox_fields_t *fields)
{
    static const ngx_str_t  type = ngx_string("start");

    fields->nelts = 0;

    ngx_http_lockbox_field_time(fields, "@timestamp",
                                ngx_lockbox_clock_msec());
    ngx_http_lockbox_field_text(fields, "event.type", &type);
}


static void
ngx_http_lockbox_fields_outcome(ngx_http_lockbox_fields_t *fields,
    const ngx_http_lockbox_leg_t *leg)
{
    const ngx_str_t        *outcome;
    static const ngx_str_t  type = ngx_string("end");
    static const ngx_str_t  success = ngx_string("success");
    static const ngx_str_t  failure = ngx_string("failure");
    static const ngx_str_t  unknown = ngx_string("unknown");
    static const ngx_str_t  cut = ngx_string("true");

    fields->nelts = 0;

    outcome = leg->decision == NGX_LOCKBOX_ALLOW ? &success
              : leg->decision == NGX_LOCKBOX_NOT_DECIDED ? &unknown
              : &failure;

    ngx_http_lockbox_field_time(fields, "@timestamp",
                                ngx_lockbox_clock_msec());
    ngx_http_lockbox_field_text(fields, "event.type", &type);
    ngx_http_lockbox_field_text(fields, "event.outcome", outcome);
    ngx_http_lockbox_field_text(fields, "event.reason",
                             &ngx_lockbox_decision_info(leg->decision)->word);

    if (leg->cut) {
        ngx_http_lockbox_field_text(fields, "lockbox.cut", &cut);
    }
}


static void
ngx_http_lockbox_fields_response(ngx_http_lockbox_fields_t *fields,
    ngx_http_request_t *r)
{
    off_t       sent;
    ngx_uint_t  status;

    status = r->err_status ? r->err_status : r->headers_out.status;
    sent = r->connection->sent - (off_t) r->header_size;

    ngx_http_lockbox_field_number(fields, "http.response.status_code",
                                  (int64_t) status);

    /* what a subrequest contributed to the connection is not known */

    if (r == r->main) {
        ngx_http_lockbox_field_number(fields, "http.response.bytes",
                                      sent > 0 ? (int64_t) sent : 0);

        if (r->headers_in.user_agent != NULL) {
            ngx_http_lockbox_field_text(fields, "user_agent.original",
                                        &r->headers_in.user_agent->value);
        }
    }
}


/*
 * Only when nginx has made it already, for an upstream or for another log: it
 * costs random bytes from OpenSSL, and the record has an id of its own.
 */

static void
ngx_http_lockbox_fields_id(ngx_http_lockbox_fields_t *fields,
    ngx_http_lockbox_audit_conf_t *acf, ngx_http_request_t *r, ngx_str_t *id)
{
    const ngx_http_variable_value_t  *v;

    v = &r->main->variables[acf->request_id];

    if (v->valid && !v->not_found) {
        id->data = v->data;
        id->len = v->len;
        ngx_http_lockbox_field_text(fields, "http.request.id", id);
    }
}


/* What both records tell alike: who does what, where, and from where. */

static ngx_int_t
ngx_http_lockbox_audit_common(ngx_pool_t *pool,
    const ngx_http_lockbox_leg_t *leg, ngx_str_t *common)
{
    ngx_str_t                   id, both[2];
    ngx_http_request_t         *r;
    ngx_lockbox_strings_t       methods;
    ngx_http_lockbox_fields_t   fields;

    id.data = (u_char *) leg->id;
    id.len = NGX_LOCKBOX_ID_LEN;

    fields.nelts = 0;

    ngx_http_lockbox_field_text(&fields, "event.action", &leg->action);
    ngx_http_lockbox_field_text(&fields, "user.id", &leg->user_sub);
    ngx_http_lockbox_field_text(&fields, "user.domain", &leg->user_iss);
    ngx_http_lockbox_field_text(&fields, "organization.id", &leg->tenant);
    ngx_http_lockbox_field_text(&fields, "lockbox.request_id",
                                &leg->request_id);
    ngx_http_lockbox_field_text(&fields, "lockbox.service", &leg->service);
    ngx_http_lockbox_field_texts(&fields, "lockbox.labels", &leg->labels);
    ngx_http_lockbox_field_text(&fields, "lockbox.manager", &leg->manager);
    ngx_http_lockbox_field_text(&fields, "lockbox.customer", &leg->customer);
    ngx_http_lockbox_field_text(&fields, "lockbox.preapproval",
                                &leg->preapproval);

    if (leg->policy_version != 0) {
        ngx_http_lockbox_field_number(&fields, "lockbox.policy_version",
                                      leg->policy_version);
    }

    ngx_http_lockbox_field_text(&fields, "event.id", &id);

    r = leg->request;

    if (r != NULL) {
        ngx_http_lockbox_field_text(&fields, "http.request.method",
                                    &r->method_name);

        if (leg->upgrade) {
            both[0] = r->method_name;
            ngx_str_set(&both[1], NGX_LOCKBOX_UPGRADE);

            methods.elts = both;
            methods.nelts = 2;

            ngx_http_lockbox_field_texts(&fields, "lockbox.methods", &methods);
        }

        ngx_http_lockbox_field_text(&fields, "url.path", &leg->path);
        ngx_http_lockbox_field_text(&fields, "source.ip",
                                    &r->connection->addr_text);
    }

    return ngx_lockbox_record_part(pool, fields.elts, fields.nelts, common);
}


static ngx_int_t
ngx_http_lockbox_audit_write(ngx_pool_t *pool,
    ngx_http_lockbox_audit_conf_t *acf, const ngx_http_lockbox_leg_t *leg,
    const ngx_http_lockbox_fields_t *fields, ngx_log_t *log)
{
    ngx_str_t  line, room;

    ngx_str_null(&room);

    if (acf->worker != NULL) {
        room.data = acf->worker->line;
        room.len = NGX_HTTP_LOCKBOX_LINE;
    }

    if (ngx_lockbox_record_write(pool, &room, fields->elts, fields->nelts,
                                 &line)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_lockbox_journal_write(&acf->journals, &line, log) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_lockbox_trail_add(acf->trail, leg, &line);

    return NGX_OK;
}


static void
ngx_http_lockbox_field(ngx_http_lockbox_fields_t *fields,
    ngx_lockbox_field_type_e type, const char *name, size_t len,
    const ngx_str_t *text, int64_t number)
{
    ngx_lockbox_field_t  *field;

    field = &fields->elts[fields->nelts++];

    field->type = type;
    field->name.data = (u_char *) name;
    field->name.len = len;
    field->text = text;
    field->number = number;
}


static ngx_int_t
ngx_http_lockbox_audit_init(ngx_conf_t *cf)
{
    ngx_str_t                       name = ngx_string("request_id");
    ngx_http_handler_pt            *h;
    ngx_http_core_main_conf_t      *cmcf;
    ngx_http_lockbox_audit_conf_t  *acf;

    acf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_lockbox_audit_module);

    acf->trail = ngx_http_lockbox_trail_conf(cf);
    acf->request_id = ngx_http_get_variable_index(cf, &name);
    if (acf->request_id == NGX_ERROR) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_lockbox_audit_log_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_audit_init_process(ngx_cycle_t *cycle)
{
    struct sigaction                sa;
    ngx_http_lockbox_audit_conf_t  *acf;

    acf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_lockbox_audit_module);

    if (acf == NULL || acf->journals.nelts == 0) {
        return NGX_OK;
    }

    acf->worker = ngx_pcalloc(cycle->pool,
                              sizeof(ngx_http_lockbox_audit_worker_t));
    if (acf->worker == NULL) {
        return NGX_ERROR;
    }

    /*
     * A file at its size limit (RLIMIT_FSIZE) is a full disk like any other;
     * without this the signal would kill the worker.
     */

    ngx_memzero(&sa, sizeof(struct sigaction));
    sa.sa_handler = SIG_IGN;

    if (sigaction(SIGXFSZ, &sa, NULL) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "sigaction(SIGXFSZ) failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void *
ngx_http_lockbox_audit_create_conf(ngx_conf_t *cf)
{
    ngx_http_lockbox_audit_conf_t  *acf;

    acf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lockbox_audit_conf_t));
    if (acf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&acf->journals, cf->pool, 2,
                       sizeof(ngx_lockbox_journal_t))
        != NGX_OK)
    {
        return NULL;
    }

    return acf;
}


static char *
ngx_http_lockbox_audit_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lockbox_audit_conf_t *acf = conf;

    ngx_str_t              *value;
    ngx_flag_t              optional;
    ngx_lockbox_journal_t  *journal;

    value = cf->args->elts;
    optional = 0;

    if (cf->args->nelts == 3) {
        if (ngx_strcmp(value[2].data, "optional") != 0) {
            return ngx_http_lockbox_conf_invalid(cf, &value[2],
                                                 "\"optional\" or nothing");
        }

        optional = 1;
    }

    if (value[1].len == 0
        || ngx_strncmp(value[1].data, "syslog:", sizeof("syslog:") - 1) == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid audit log \"%V\": it must be a file, "
                           "which can tell whether a record was written",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    journal = ngx_array_push(&acf->journals);
    if (journal == NULL) {
        return NGX_CONF_ERROR;
    }

    journal->optional = optional;

    if (ngx_lockbox_journal_open(cf, &value[1], &ngx_http_lockbox_audit_module,
                                 journal)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_lockbox_audit_configured(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_lockbox_journal_t          *journal;
    ngx_http_lockbox_audit_conf_t  *acf;

    acf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_lockbox_audit_module);

    journal = acf->journals.elts;

    for (i = 0; i < acf->journals.nelts; i++) {
        if (!journal[i].optional) {
            return 1;
        }
    }

    return 0;
}
