/*
 * The caches and stores of nginx, which are told of each answer that is not to
 * be kept.  Where a gate is, caches are off altogether: they keep the status
 * of some errors without asking anybody.
 */

#include "ngx_http_lockbox_caches.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_lockbox_text.h"


typedef struct {
    const char  *module;
    ngx_str_t    name;           /* what it calls itself as an upstream */
} ngx_http_lockbox_caches_module_t;


static const ngx_http_lockbox_caches_module_t *ngx_http_lockbox_caches_module(
    const ngx_module_t *module);
static ngx_int_t ngx_http_lockbox_caches_one_off(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, void *conf,
    const ngx_http_lockbox_caches_module_t *module);


/* Those that have a cache; nginx can be built without them. */

static const ngx_http_lockbox_caches_module_t
    ngx_http_lockbox_caches_modules[] =
{
    { "ngx_http_proxy_module", ngx_string("proxy") },
    { "ngx_http_fastcgi_module", ngx_string("fastcgi") },
    { "ngx_http_scgi_module", ngx_string("scgi") },
    { "ngx_http_uwsgi_module", ngx_string("uwsgi") },
    { NULL, ngx_null_string }
};


ngx_int_t
ngx_http_lockbox_caches_off(ngx_conf_t *cf)
{
    void                                    *conf;
    ngx_uint_t                               i, n;
    ngx_module_t                            *module;
    ngx_http_lockbox_loc_conf_t            **gated;
    ngx_http_lockbox_main_conf_t            *mcf;
    const ngx_http_lockbox_caches_module_t  *caches;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);
    gated = mcf->gated.elts;

    for (i = 0; cf->cycle->modules[i] != NULL; i++) {
        module = cf->cycle->modules[i];
        caches = ngx_http_lockbox_caches_module(module);

        if (caches == NULL) {
            continue;
        }

        for (n = 0; n < mcf->gated.nelts; n++) {
            conf = gated[n]->loc_conf[module->ctx_index];

            if (ngx_http_lockbox_caches_one_off(cf, gated[n], conf, caches)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static const ngx_http_lockbox_caches_module_t *
ngx_http_lockbox_caches_module(const ngx_module_t *module)
{
    const ngx_http_lockbox_caches_module_t  *caches;

    for (caches = ngx_http_lockbox_caches_modules;
         caches->module != NULL;
         caches++)
    {
        if (ngx_strcmp(module->name, caches->module) == 0) {
            return caches;
        }
    }

    return NULL;
}


/*
 * The configuration of an upstream is the first member of that of all these
 * modules, in all releases up to 1.30; its name shows that it is there.  Each
 * location has one of its own, and when they are merged nobody inherits from
 * it any more.
 */

static ngx_int_t
ngx_http_lockbox_caches_one_off(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, void *conf,
    const ngx_http_lockbox_caches_module_t *module)
{
    ngx_http_upstream_conf_t  *ucf;

    ucf = conf;

    if (!ngx_lockbox_text_same(&ucf->module, &module->name)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"lockbox on\" in %V:%ui cannot switch off the caches "
                      "of %s", &lcf->file, lcf->line, module->module);
        return NGX_ERROR;
    }

#if (NGX_HTTP_CACHE)
    ucf->cache = 0;
#endif

    return NGX_OK;
}


void
ngx_http_lockbox_caches_forbid(ngx_http_request_t *r)
{
    if (r->upstream != NULL) {
        r->upstream->cacheable = 0;
        r->upstream->store = 0;
    }
}


ngx_uint_t
ngx_http_lockbox_caches_hit(const ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)
    return r->cached;
#else
    return 0;
#endif
}


ngx_uint_t
ngx_http_lockbox_caches_error(const ngx_http_request_t *r)
{
#if (NGX_HTTP_CACHE)
    return r->upstream != NULL
           && r->upstream->cache_status == NGX_HTTP_CACHE_HIT;
#else
    return 0;
#endif
}
