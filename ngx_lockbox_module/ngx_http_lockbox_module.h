/*
 * What the capabilities of the module share: configuration and clients.
 */

#ifndef _NGX_HTTP_LOCKBOX_MODULE_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_lockbox_identity.h"
#include "ngx_lockbox_jwks.h"
#include "ngx_lockbox_redis.h"
#include "ngx_lockbox_scope.h"
#include "ngx_lockbox_token.h"
#include "ngx_lockbox_turns.h"


typedef struct {
    ngx_lockbox_redis_conf_t   redis;          /* addr NULL: not configured */
    ngx_lockbox_issuers_t      issuers;

    ngx_lockbox_jwks_t         signing;        /* one key, or none */
    ngx_lockbox_jwks_t         accepted;       /* signing key and others */
    ngx_lockbox_token_rule_t   grant_rule;     /* how grants are checked */

    ngx_str_t                  grant_issuer;
    ngx_str_t                  grant_audience;
    time_t                     leeway;
    time_t                     max_duration;   /* seconds */
    ngx_str_t                  help_url;

    ngx_array_t                places;         /* of ngx_http_lockbox_loc_
                                                  conf_t *, once merged: all
                                                  servers and locations */
    ngx_array_t                gated;          /* likewise: those gated */
    ngx_array_t                doors;          /* likewise: where grants are
                                                  used or issued */

    /* of this worker; set in init_process on the cycle's own configuration */
    ngx_lockbox_turns_t       *turns;          /* to verify signatures */
} ngx_http_lockbox_main_conf_t;


typedef struct ngx_http_lockbox_loc_conf_s  ngx_http_lockbox_loc_conf_t;

struct ngx_http_lockbox_loc_conf_s {
    ngx_flag_t                 enable;
    ngx_http_complex_value_t  *tenant;
    ngx_http_complex_value_t  *service;
    ngx_http_complex_value_t  *token;          /* NULL: Authorization */
    ngx_array_t               *labels;         /* of ngx_str_t */
    ngx_str_t                  realm;
    ngx_uint_t                 bind;           /* NGX_HTTP_LOCKBOX_BIND_* */

    /*
     * The action that requests of this location go on record with even when
     * nothing of ours has seen them; empty: they do not.
     */
    ngx_str_t                  recorded;

    ngx_str_t                  file;           /* where it was switched on */
    ngx_uint_t                 line;
    ngx_str_t                  bind_file;      /* where "bind" was set */
    ngx_uint_t                 bind_line;

    /* where it stands; in the configuration of the http block all NULL */
    ngx_http_core_srv_conf_t     *server;
    ngx_http_lockbox_loc_conf_t  *parent;      /* ours, around it */
    void                        **loc_conf;    /* those of all modules here */
};


/*
 * Reads a file that the configuration names, relative to its prefix; at most
 * 64 kB.  The text is pool memory.  NGX_ERROR, with the reason in the error
 * log, also for an empty file.
 */
ngx_int_t ngx_http_lockbox_conf_read(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text);

/*
 * The setter of a directive with one number, size or time, whose "post" points
 * to its bounds: "slot" is the one of nginx that parses and stores it, min and
 * max are in the unit of that, and "must" says them in words.
 */
typedef struct {
    char       *(*slot)(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
    int64_t       min;
    int64_t       max;
    const char   *must;
} ngx_http_lockbox_bounds_t;

char *ngx_http_lockbox_conf_bounded(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Says in the error log that the directive at hand cannot have this value, and
 * what it must be.  NGX_CONF_ERROR.
 */
char *ngx_http_lockbox_conf_invalid(ngx_conf_t *cf, const ngx_str_t *value,
    const char *must);

/*
 * The setters of the directives that read files and addresses, and the check
 * of everything together, which names what is missing.
 */
char *ngx_http_lockbox_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_lockbox_conf_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_lockbox_conf_issuer(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_lockbox_conf_complete(ngx_conf_t *cf,
    ngx_http_lockbox_main_conf_t *mcf);

/*
 * For keys that were read from a file.  The one says in the error log that it
 * cannot be used, and why; the other one puts them to the self-test, and if
 * they fail says so, with the key.
 */
void ngx_http_lockbox_conf_unusable(ngx_conf_t *cf,
    const ngx_str_t *directive, const ngx_str_t *file, const char *err);
char *ngx_http_lockbox_conf_prove(ngx_conf_t *cf, const ngx_str_t *directive,
    const ngx_str_t *file, const ngx_lockbox_jwks_t *keys,
    ngx_uint_t private);

/* Registers the variables of the module; for preconfiguration. */
ngx_int_t ngx_http_lockbox_add_variables(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_lockbox_module;


#endif /* _NGX_HTTP_LOCKBOX_MODULE_H_INCLUDED_ */
