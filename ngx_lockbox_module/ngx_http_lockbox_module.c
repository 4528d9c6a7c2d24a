/*
 * Lockbox for nginx: directives, configurations and phases of the gate.
 */

#include "ngx_http_lockbox_module.h"
#include "ngx_http_lockbox_certificate.h"
#include "ngx_http_lockbox_gate.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_LEEWAY_MAX      60
#define NGX_HTTP_LOCKBOX_DURATION_MAX    (14 * 24 * 3600)
#define NGX_HTTP_LOCKBOX_DURATION_MIN    60


typedef struct {
    ngx_str_t   name;
    ngx_uint_t  prefix;                        /* of a family of variables */
} ngx_http_lockbox_source_t;


static ngx_int_t ngx_http_lockbox_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_lockbox_phase(ngx_http_core_main_conf_t *cmcf,
    ngx_uint_t phase, ngx_http_handler_pt handler);
static void *ngx_http_lockbox_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_lockbox_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_lockbox_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_lockbox_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_lockbox_merge_labels(ngx_conf_t *cf,
    ngx_http_lockbox_loc_conf_t *prev, ngx_http_lockbox_loc_conf_t *conf);
static char *ngx_http_lockbox(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_lockbox_text(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_lockbox_tenant(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_lockbox_service(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_lockbox_claimed(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf, ngx_uint_t (*valid)(const ngx_str_t *text));
static ngx_uint_t ngx_http_lockbox_untrusted(const ngx_str_t *text);
static ngx_uint_t ngx_http_lockbox_clients(const ngx_str_t *name);
static char *ngx_http_lockbox_label(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_http_lockbox_bounds_t  ngx_http_lockbox_leeway_bounds = {
    ngx_conf_set_sec_slot, 0, NGX_HTTP_LOCKBOX_LEEWAY_MAX,
    "a time of at most 60 seconds"
};

static ngx_http_lockbox_bounds_t  ngx_http_lockbox_duration_bounds = {
    ngx_conf_set_sec_slot,
    NGX_HTTP_LOCKBOX_DURATION_MIN, NGX_HTTP_LOCKBOX_DURATION_MAX,
    "a time from 1 minute to 14 days"
};


/* Variables that are what the client says. */

static const ngx_http_lockbox_source_t  ngx_http_lockbox_sources[] = {
    { ngx_string("arg_"), 1 },
    { ngx_string("args"), 0 },
    { ngx_string("content_length"), 0 },
    { ngx_string("content_type"), 0 },
    { ngx_string("cookie_"), 1 },
    { ngx_string("http_"), 1 },
    { ngx_string("query_string"), 0 },
    { ngx_string("request"), 0 },
    { ngx_string("request_body"), 0 },
    { ngx_string("request_uri"), 0 },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_lockbox_commands[] = {

    { ngx_string("lockbox_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_lockbox_conf_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_issuer,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_signing_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      1,
      NULL },

    { ngx_string("lockbox_accept_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_grant_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_text,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_main_conf_t, grant_issuer),
      NULL },

    { ngx_string("lockbox_grant_audience"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_text,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_main_conf_t, grant_audience),
      NULL },

    { ngx_string("lockbox_help_url"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_text,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_main_conf_t, help_url),
      NULL },

    { ngx_string("lockbox_leeway"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_bounded,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_main_conf_t, leeway),
      &ngx_http_lockbox_leeway_bounds },

    { ngx_string("lockbox_max_duration"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_bounded,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_main_conf_t, max_duration),
      &ngx_http_lockbox_duration_bounds },

    { ngx_string("lockbox"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_lockbox,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_lockbox_loc_conf_t, enable),
      NULL },

    { ngx_string("lockbox_tenant"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_tenant,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_lockbox_loc_conf_t, tenant),
      NULL },

    { ngx_string("lockbox_service"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_service,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_lockbox_loc_conf_t, service),
      NULL },

    { ngx_string("lockbox_label"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_lockbox_label,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lockbox_token"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_lockbox_loc_conf_t, token),
      NULL },

    { ngx_string("lockbox_realm"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_text,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_lockbox_loc_conf_t, realm),
      NULL },

    { ngx_string("lockbox_bind_certificate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_certificate_bind,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_lockbox_loc_conf_t, bind),
      ngx_http_lockbox_certificate_modes },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_lockbox_module_ctx = {
    ngx_http_lockbox_add_variables,        /* preconfiguration */
    ngx_http_lockbox_init,                 /* postconfiguration */

    ngx_http_lockbox_create_main_conf,     /* create main configuration */
    ngx_http_lockbox_init_main_conf,       /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_lockbox_create_loc_conf,      /* create location configuration */
    ngx_http_lockbox_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_lockbox_module = {
    NGX_MODULE_V1,
    &ngx_http_lockbox_module_ctx,          /* module context */
    ngx_http_lockbox_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_lockbox_gate_init_process,    /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_lockbox_init(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);

    if (ngx_http_lockbox_conf_complete(cf, mcf) != NGX_OK
        || ngx_http_lockbox_certificate_check(cf, mcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (mcf->gated.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (ngx_http_lockbox_phase(cmcf, NGX_HTTP_REWRITE_PHASE,
                               ngx_http_lockbox_gate_arrival)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_lockbox_phase(cmcf, NGX_HTTP_CONTENT_PHASE,
                               ngx_http_lockbox_gate_content)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lockbox_phase(cmcf, NGX_HTTP_PREACCESS_PHASE,
                                  ngx_http_lockbox_gate_handler);
}


/*
 * nginx runs the handlers of a phase from the last one registered to the
 * first.  The arrival has to come before "return" and "rewrite", what looks
 * at content before what serves files, and the gate behind realip, limit_req
 * and limit_conn: so those are the last of their arrays, and it is the first.
 */

static ngx_int_t
ngx_http_lockbox_phase(ngx_http_core_main_conf_t *cmcf, ngx_uint_t phase,
    ngx_http_handler_pt handler)
{
    ngx_uint_t            i;
    ngx_http_handler_pt  *h;

    if (ngx_array_push(&cmcf->phases[phase].handlers) == NULL) {
        return NGX_ERROR;
    }

    h = cmcf->phases[phase].handlers.elts;
    i = cmcf->phases[phase].handlers.nelts - 1;

    if (phase == NGX_HTTP_PREACCESS_PHASE) {
        for ( /* void */ ; i > 0; i--) {
            h[i] = h[i - 1];
        }
    }

    h[i] = handler;

    return NGX_OK;
}


static void *
ngx_http_lockbox_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lockbox_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     mcf->redis = { NULL, ... };
     *     mcf->grant_rule = { NULL, ... };
     *     mcf->grant_issuer = { 0, NULL };
     *     mcf->grant_audience = { 0, NULL };
     *     mcf->help_url = { 0, NULL };
     */

    mcf->leeway = NGX_CONF_UNSET;
    mcf->max_duration = NGX_CONF_UNSET;

    if (ngx_array_init(&mcf->issuers.rules, cf->pool, 2,
                       sizeof(ngx_lockbox_token_rule_t)) != NGX_OK
        || ngx_array_init(&mcf->issuers.issuers, cf->pool, 2,
                          sizeof(ngx_lockbox_issuer_t)) != NGX_OK
        || ngx_array_init(&mcf->signing, cf->pool, 1,
                          sizeof(ngx_lockbox_key_t)) != NGX_OK
        || ngx_array_init(&mcf->accepted, cf->pool, 4,
                          sizeof(ngx_lockbox_key_t)) != NGX_OK
        || ngx_array_init(&mcf->places, cf->pool, 16,
                          sizeof(ngx_http_lockbox_loc_conf_t *)) != NGX_OK
        || ngx_array_init(&mcf->gated, cf->pool, 8,
                          sizeof(ngx_http_lockbox_loc_conf_t *)) != NGX_OK
        || ngx_array_init(&mcf->doors, cf->pool, 8,
                          sizeof(ngx_http_lockbox_loc_conf_t *)) != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static char *
ngx_http_lockbox_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_lockbox_main_conf_t *mcf = conf;

    ngx_conf_init_value(mcf->leeway, 0);
    ngx_conf_init_value(mcf->max_duration, 4 * 3600);

    if (mcf->grant_issuer.len == 0) {
        ngx_str_set(&mcf->grant_issuer, "urn:lockbox");
    }

    if (mcf->grant_audience.len == 0) {
        ngx_str_set(&mcf->grant_audience, "lockbox-gate");
    }

    mcf->grant_rule.typ = NGX_LOCKBOX_GRANT_TYP;
    mcf->grant_rule.issuer = mcf->grant_issuer;
    mcf->grant_rule.audience = mcf->grant_audience;
    mcf->grant_rule.keys = &mcf->accepted;
    mcf->grant_rule.leeway = mcf->leeway;
    mcf->grant_rule.max_life = mcf->max_duration;

    return NGX_CONF_OK;
}


static void *
ngx_http_lockbox_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_lockbox_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lockbox_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     lcf->labels = NULL;
     *     lcf->realm = { 0, NULL };
     *     lcf->recorded = { 0, NULL };
     *     lcf->file = { 0, NULL };
     *     lcf->line = 0;
     *     lcf->bind_file = { 0, NULL };
     *     lcf->bind_line = 0;
     *     lcf->server = NULL;
     *     lcf->loc_conf = NULL;
     *     lcf->parent = NULL;
     */

    lcf->enable = NGX_CONF_UNSET;
    lcf->tenant = NGX_CONF_UNSET_PTR;
    lcf->service = NGX_CONF_UNSET_PTR;
    lcf->token = NGX_CONF_UNSET_PTR;
    lcf->bind = NGX_CONF_UNSET_UINT;

    return lcf;
}


static char *
ngx_http_lockbox_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_lockbox_loc_conf_t *prev = parent;
    ngx_http_lockbox_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_lockbox_loc_conf_t   **gated, **place;
    ngx_http_lockbox_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);

    place = ngx_array_push(&mcf->places);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    *place = conf;

    conf->server = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    conf->loc_conf = ((ngx_http_conf_ctx_t *) cf->ctx)->loc_conf;
    conf->parent = prev;

    if (conf->enable == NGX_CONF_UNSET) {
        conf->file = prev->file;
        conf->line = prev->line;
    }

    if (conf->bind == NGX_CONF_UNSET_UINT) {
        conf->bind_file = prev->bind_file;
        conf->bind_line = prev->bind_line;
    }

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_ptr_value(conf->tenant, prev->tenant, NULL);
    ngx_conf_merge_ptr_value(conf->service, prev->service, NULL);
    ngx_conf_merge_ptr_value(conf->token, prev->token, NULL);
    ngx_conf_merge_str_value(conf->realm, prev->realm, "lockbox");
    ngx_conf_merge_uint_value(conf->bind, prev->bind,
                              NGX_HTTP_LOCKBOX_BIND_OFF);

    if (ngx_http_lockbox_merge_labels(cf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    if (conf->tenant == NULL || conf->service == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lockbox on\" in %V:%ui has no \"%s\"",
                      &conf->file, conf->line,
                      conf->tenant == NULL ? "lockbox_tenant"
                                           : "lockbox_service");
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->post_action.len != 0) {
        /* it would run as this request, and overwrite how it ended */
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lockbox on\" in %V:%ui and \"post_action\" exclude "
                      "each other", &conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&conf->recorded, "access");

    gated = ngx_array_push(&mcf->gated);
    if (gated == NULL) {
        return NGX_CONF_ERROR;
    }

    *gated = conf;

    if (ngx_http_lockbox_certificate_note(cf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * Labels add up: what lies in a labelled location carries its labels too, or
 * a nested location could lose one by naming another.
 */

static ngx_int_t
ngx_http_lockbox_merge_labels(ngx_conf_t *cf,
    ngx_http_lockbox_loc_conf_t *prev, ngx_http_lockbox_loc_conf_t *conf)
{
    ngx_str_t   *label, *inherited, *own;
    ngx_uint_t   i, j;

    if (prev->labels == NULL) {
        return NGX_OK;
    }

    if (conf->labels == NULL) {
        conf->labels = prev->labels;
        return NGX_OK;
    }

    inherited = prev->labels->elts;

    for (i = 0; i < prev->labels->nelts; i++) {
        own = conf->labels->elts;

        for (j = 0; j < conf->labels->nelts; j++) {
            if (ngx_lockbox_text_same(&own[j], &inherited[i])) {
                break;
            }
        }

        if (j < conf->labels->nelts) {
            continue;
        }

        if (conf->labels->nelts == NGX_LOCKBOX_LABELS_MAX) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "a location carries more than %d labels, with the "
                          "inherited \"%V\"",
                          NGX_LOCKBOX_LABELS_MAX, &inherited[i]);
            return NGX_ERROR;
        }

        label = ngx_array_push(conf->labels);
        if (label == NULL) {
            return NGX_ERROR;
        }

        *label = inherited[i];
    }

    return NGX_OK;
}


static char *
ngx_http_lockbox(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lockbox_loc_conf_t *lcf = conf;

    lcf->file = cf->conf_file->file.name;
    lcf->line = cf->conf_file->line;

    return ngx_conf_set_flag_slot(cf, cmd, conf);
}


/* For texts that stand in a header or a claim as they are. */

static char *
ngx_http_lockbox_text(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    size_t      i;
    ngx_str_t  *value, *field;

    field = (ngx_str_t *) (void *) ((u_char *) conf + cmd->offset);
    value = cf->args->elts;

    if (field->data != NULL) {
        return "is duplicate";
    }

    if (value[1].len == 0 || value[1].len > 255) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have 1 to 255 bytes: \"%V\"",
                           &cmd->name, &value[1]);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value[1].len; i++) {
        if (value[1].data[i] < 0x20 || value[1].data[i] >= 0x7f
            || value[1].data[i] == '"' || value[1].data[i] == '\\')
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" must be plain ASCII without quotes "
                               "and backslashes: \"%V\"",
                               &cmd->name, &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    *field = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_lockbox_tenant(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_lockbox_claimed(cf, cmd, conf, ngx_lockbox_tenant_valid);
}


static char *
ngx_http_lockbox_service(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_lockbox_claimed(cf, cmd, conf, ngx_lockbox_name_valid);
}


static char *
ngx_http_lockbox_claimed(ngx_conf_t *cf, ngx_command_t *cmd, void *conf,
    ngx_uint_t (*valid)(const ngx_str_t *text))
{
    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_http_lockbox_untrusted(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must not be made of $1..$9 or of what the "
                           "client says, as $http_ and $arg_ variables: "
                           "\"%V\"; use a named capture of the location",
                           &cmd->name, &value[1]);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_script_variables_count(&value[1]) == 0 && !valid(&value[1]))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": \"%V\"", &cmd->name,
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


/* As nginx reads variables in a text: in any case, with or without braces. */

static ngx_uint_t
ngx_http_lockbox_untrusted(const ngx_str_t *text)
{
    u_char     *p, *end;
    ngx_str_t   name;

    end = text->data + text->len;

    for (p = text->data; p < end; p++) {

        if (*p != '$') {
            continue;
        }

        name.data = p + 1;

        if (name.data < end && *name.data == '{') {
            name.data++;
        }

        for (p = name.data; p < end; p++) {
            if ((*p < '0' || *p > '9') && (*p < 'a' || *p > 'z')
                && (*p < 'A' || *p > 'Z') && *p != '_')
            {
                break;
            }
        }

        name.len = (size_t) (p - name.data);
        p--;

        if (ngx_http_lockbox_clients(&name)) {
            return 1;
        }
    }

    return 0;
}


/*
 * A "map" with a regular expression can replace $1 behind the operator's back,
 * and the others are whatever the client says.
 */

static ngx_uint_t
ngx_http_lockbox_clients(const ngx_str_t *name)
{
    const ngx_http_lockbox_source_t  *source;

    /* nginx reads one digit, whatever stands behind it */

    if (name->len != 0 && *name->data >= '1' && *name->data <= '9') {
        return 1;
    }

    for (source = ngx_http_lockbox_sources; source->name.len != 0; source++) {

        if (name->len < source->name.len
            || (name->len > source->name.len && !source->prefix))
        {
            continue;
        }

        if (ngx_strncasecmp(name->data, source->name.data, source->name.len)
            == 0)
        {
            return 1;
        }
    }

    return 0;
}


static char *
ngx_http_lockbox_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lockbox_loc_conf_t *lcf = conf;

    ngx_str_t   *value, *label;
    ngx_uint_t   i, j;

    if (lcf->labels != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts - 1 > NGX_LOCKBOX_LABELS_MAX) {
        return "has too many labels";
    }

    lcf->labels = ngx_array_create(cf->pool, NGX_LOCKBOX_LABELS_MAX,
                                   sizeof(ngx_str_t));
    if (lcf->labels == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (!ngx_lockbox_name_valid(&value[i])) {
            return ngx_http_lockbox_conf_invalid(cf, &value[i],
                                             "[a-z0-9][a-z0-9._-]{0,63}");
        }

        for (j = 1; j < i; j++) {
            if (ngx_lockbox_text_same(&value[j], &value[i])) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate label \"%V\"", &value[i]);
                return NGX_CONF_ERROR;
            }
        }

        label = ngx_array_push(lcf->labels);
        if (label == NULL) {
            return NGX_CONF_ERROR;
        }

        *label = value[i];
    }

    return NGX_CONF_OK;
}
