/*
 * Whether a grant may be used now: directives of cache and lease, the clients
 * of a worker, and the road from a token to an answer.
 */

#include "ngx_http_lockbox_liveness.h"
#include "ngx_http_lockbox_module.h"
#include "ngx_lockbox_facts.h"

#include <openssl/evp.h>


/* A look-up is answered with a status, a number or one short text. */
#define NGX_HTTP_LOCKBOX_LOOKUP_MAX     65536

#define NGX_HTTP_LOCKBOX_ZONE_SIZE      (16 * 1024 * 1024)

/* Milliseconds. */
#define NGX_HTTP_LOCKBOX_LEASE          2000
#define NGX_HTTP_LOCKBOX_LEASE_MIN      100
#define NGX_HTTP_LOCKBOX_LEASE_MAX      60000


/* What one worker uses; made in init_process. */
typedef struct {
    ngx_lockbox_redis_t          *redis;
    ngx_lockbox_watch_t          *watch;
    ngx_http_lockbox_flights_t   *flights;
    ngx_lockbox_watch_conf_t      watch_conf;
    EVP_MD                       *sha256;
    EVP_MD_CTX                   *digest;
} ngx_http_lockbox_liveness_worker_t;


typedef struct {
    size_t                               zone_size;
    ngx_msec_t                           lease;
    ngx_msec_t                           trust;     /* by a coarse clock */
    ngx_cycle_t                         *cycle;
    ngx_lockbox_cache_t                  cache;

    /* of the keys and rules under which facts were verified */
    u_char                               rules[NGX_LOCKBOX_CACHE_KEY_LEN];

    /* NULL outside of a worker, and where nothing is gated */
    ngx_http_lockbox_liveness_worker_t  *worker;
} ngx_http_lockbox_liveness_conf_t;


static ngx_http_lockbox_liveness_conf_t *ngx_http_lockbox_liveness_conf(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_liveness_key(
    ngx_http_lockbox_liveness_conf_t *lcf, const ngx_str_t *token,
    u_char *key);
static void ngx_http_lockbox_liveness_answer(void *data,
    ngx_lockbox_decision_t answer);

static ngx_int_t ngx_http_lockbox_liveness_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_lockbox_liveness_store(ngx_conf_t *cf,
    const ngx_lockbox_redis_conf_t *redis, u_char *store);
static ngx_int_t ngx_http_lockbox_liveness_rules(
    ngx_http_lockbox_main_conf_t *mcf, const u_char *store, u_char *digest);
static ngx_int_t ngx_http_lockbox_liveness_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_lockbox_liveness_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_lockbox_liveness_digest(
    ngx_http_lockbox_liveness_worker_t *worker);
static ngx_int_t ngx_http_lockbox_liveness_connect(ngx_cycle_t *cycle,
    ngx_http_lockbox_liveness_conf_t *lcf, ngx_http_lockbox_main_conf_t *mcf);
static void ngx_http_lockbox_liveness_exit_process(ngx_cycle_t *cycle);
static void *ngx_http_lockbox_liveness_create_conf(ngx_conf_t *cf);
static char *ngx_http_lockbox_liveness_init_conf(ngx_conf_t *cf, void *conf);


static ngx_http_lockbox_bounds_t  ngx_http_lockbox_zone_bounds = {
    ngx_conf_set_size_slot, NGX_LOCKBOX_CACHE_SIZE_MIN, NGX_MAX_SIZE_T_VALUE,
    "a size of at least 64k"
};

static ngx_http_lockbox_bounds_t  ngx_http_lockbox_lease_bounds = {
    ngx_conf_set_msec_slot,
    NGX_HTTP_LOCKBOX_LEASE_MIN, NGX_HTTP_LOCKBOX_LEASE_MAX,
    "a time from 100 milliseconds to 60 seconds"
};


static ngx_command_t  ngx_http_lockbox_liveness_commands[] = {

    { ngx_string("lockbox_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_bounded,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_liveness_conf_t, zone_size),
      &ngx_http_lockbox_zone_bounds },

    { ngx_string("lockbox_lease"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_lockbox_conf_bounded,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_lockbox_liveness_conf_t, lease),
      &ngx_http_lockbox_lease_bounds },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_lockbox_liveness_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_lockbox_liveness_init,        /* postconfiguration */

    ngx_http_lockbox_liveness_create_conf, /* create main configuration */
    ngx_http_lockbox_liveness_init_conf,   /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_lockbox_liveness_module = {
    NGX_MODULE_V1,
    &ngx_http_lockbox_liveness_module_ctx, /* module context */
    ngx_http_lockbox_liveness_commands,    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_lockbox_liveness_init_process,
                                           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_lockbox_liveness_exit_process,
                                           /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_int_t
ngx_http_lockbox_liveness_recall(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, const ngx_str_t *token,
    const ngx_str_t *service, ngx_lockbox_grant_t *grant)
{
    u_char                             known[NGX_LOCKBOX_CACHE_FACTS_MAX];
    ngx_str_t                         *facts;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    lcf = ngx_http_lockbox_liveness_conf(r);

    if (lcf->worker == NULL
        || ngx_http_lockbox_liveness_key(lcf, token, liveness->key) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    facts = &liveness->facts;
    facts->len = ngx_lockbox_cache_find(&lcf->cache, liveness->key,
                                        liveness->name, known);
    if (facts->len == 0) {
        return NGX_DECLINED;
    }

    facts->data = ngx_pnalloc(r->pool, facts->len);
    if (facts->data == NULL) {
        facts->len = 0;
        return NGX_DECLINED;
    }

    ngx_memcpy(facts->data, known, facts->len);

    return ngx_lockbox_facts_unpack(r->pool, facts, service, grant) == NGX_OK
           ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_lockbox_liveness_complete(ngx_http_request_t *r,
    const ngx_http_lockbox_liveness_t *liveness, ngx_lockbox_grant_t *grant)
{
    return liveness->facts.len == 0
           ? NGX_OK
           : ngx_lockbox_facts_unpack(r->pool, &liveness->facts, NULL, grant);
}


/* The name is kept as well, so that it is not worked out each time. */

ngx_int_t
ngx_http_lockbox_liveness_remember(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, const ngx_lockbox_grant_t *grant)
{
    size_t                             len;
    u_char                             facts[NGX_LOCKBOX_CACHE_FACTS_MAX];
    ngx_str_t                          live_key;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    lcf = ngx_http_lockbox_liveness_conf(r);

    if (ngx_lockbox_store_live_key(r->pool, &grant->tenant, &grant->id,
                                   &live_key)
        != NGX_OK
        || ngx_lockbox_cache_name(&lcf->cache, &live_key, liveness->name)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lcf->worker == NULL) {
        return NGX_OK;
    }

    len = ngx_lockbox_facts_pack(grant, facts, sizeof(facts));

    if (len != 0) {
        ngx_lockbox_cache_keep(&lcf->cache, liveness->key, liveness->name,
                               facts, len);
    }

    return NGX_OK;
}


ngx_lockbox_decision_t
ngx_http_lockbox_liveness_check(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, const ngx_lockbox_grant_t *grant,
    ngx_lockbox_lookup_pt handler, void *data)
{
    uint64_t                             since;
    ngx_lockbox_decision_t               known;
    ngx_http_lockbox_liveness_conf_t    *lcf;
    ngx_http_lockbox_liveness_worker_t  *worker;

    lcf = ngx_http_lockbox_liveness_conf(r);
    worker = lcf->worker;

    if (worker == NULL) {
        return NGX_LOCKBOX_STORE_UNAVAILABLE;
    }

    liveness->request = r;
    liveness->grant = grant;
    liveness->handler = handler;
    liveness->data = data;

    since = ngx_lockbox_watch_since(worker->watch);
    (void) ngx_lockbox_watch_seen(worker->watch, &liveness->confirmed);

    known = ngx_lockbox_cache_liveness(&lcf->cache, liveness->name, since,
                                       &liveness->question);

    if (known != NGX_LOCKBOX_NOT_DECIDED) {
        liveness->vouched = 1;
        return known;
    }

    liveness->vouched = 0;
    liveness->confirmed = ngx_current_msec;

    liveness->lookup = ngx_lockbox_store_liveness(worker->redis, r->pool,
                                             &grant->tenant, &grant->id,
                                             ngx_http_lockbox_liveness_answer,
                                             liveness);

    return liveness->lookup != NULL ? NGX_LOCKBOX_NOT_DECIDED
                                    : NGX_LOCKBOX_STORE_UNAVAILABLE;
}


static void
ngx_http_lockbox_liveness_answer(void *data, ngx_lockbox_decision_t answer)
{
    ngx_http_lockbox_liveness_t *liveness = data;

    ngx_uint_t                         kept;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    lcf = ngx_http_lockbox_liveness_conf(liveness->request);
    liveness->lookup = NULL;

    kept = ngx_lockbox_cache_answer(&liveness->question, answer,
                                    liveness->grant->expires);

    if (answer == NGX_LOCKBOX_ALLOW) {
        liveness->vouched = kept
                            && liveness->question.ticket
                               > ngx_lockbox_watch_since(lcf->worker->watch);

        /* what was so a lease ago, nobody has seen to since */

        if (!liveness->vouched
            && ngx_current_msec - liveness->confirmed >= lcf->trust)
        {
            answer = NGX_LOCKBOX_STORE_UNAVAILABLE;
        }
    }

    liveness->handler(liveness->data, answer);
}


void
ngx_http_lockbox_liveness_begin(ngx_http_request_t *r,
    ngx_http_lockbox_liveness_t *liveness, ngx_http_lockbox_leg_t *leg)
{
    ngx_http_lockbox_flight_t         *flight;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    lcf = ngx_http_lockbox_liveness_conf(r);
    flight = &liveness->flight;

    flight->request = r;
    flight->leg = leg;
    flight->grant = liveness->grant;
    flight->confirmed = liveness->confirmed;
    flight->doubtful = !liveness->vouched;
    ngx_memcpy(flight->name, liveness->name, NGX_LOCKBOX_CACHE_NAME_LEN);

    ngx_http_lockbox_flight_begin(lcf->worker->flights, flight);
}


void
ngx_http_lockbox_liveness_end(ngx_http_lockbox_liveness_t *liveness)
{
    if (liveness->lookup != NULL) {
        ngx_lockbox_store_cancel(liveness->lookup);
        liveness->lookup = NULL;
    }

    ngx_http_lockbox_flight_end(&liveness->flight);
}


void
ngx_http_lockbox_liveness_bury(ngx_http_request_t *r, const ngx_str_t *tenant,
    const ngx_str_t *id, ngx_lockbox_decision_t end, time_t expires)
{
    u_char                             name[NGX_LOCKBOX_CACHE_NAME_LEN];
    ngx_str_t                          live_key;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    lcf = ngx_http_lockbox_liveness_conf(r);

    if (lcf->worker == NULL) {
        return;
    }

    if (ngx_lockbox_store_live_key(r->pool, tenant, id, &live_key) != NGX_OK
        || ngx_lockbox_cache_name(&lcf->cache, &live_key, name) != NGX_OK)
    {
        /* then nothing that was known is */
        ngx_lockbox_cache_forget_all(&lcf->cache);
        return;
    }

    ngx_lockbox_cache_bury(&lcf->cache, name, end, expires);
    ngx_http_lockbox_flights_cut(lcf->worker->flights, name, end);
}


ngx_msec_t
ngx_http_lockbox_liveness_lease(ngx_http_request_t *r)
{
    return ngx_http_lockbox_liveness_conf(r)->lease;
}


static ngx_http_lockbox_liveness_conf_t *
ngx_http_lockbox_liveness_conf(ngx_http_request_t *r)
{
    return ngx_http_get_module_main_conf(r, ngx_http_lockbox_liveness_module);
}


/*
 * A token is kept under its own digest and that of the rules.  Two tokens that
 * differ by what two sets of rules differ by are as hard to find as two of the
 * same digest.
 */

static ngx_int_t
ngx_http_lockbox_liveness_key(ngx_http_lockbox_liveness_conf_t *lcf,
    const ngx_str_t *token, u_char *key)
{
    size_t         i;
    uint64_t       part, rules;
    EVP_MD_CTX    *digest;
    unsigned int   len;

    digest = lcf->worker->digest;

    if (EVP_DigestInit_ex(digest, NULL, NULL) != 1
        || EVP_DigestUpdate(digest, token->data, token->len) != 1
        || EVP_DigestFinal_ex(digest, key, &len) != 1)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_LOCKBOX_CACHE_KEY_LEN; i += sizeof(uint64_t)) {
        ngx_memcpy(&part, key + i, sizeof(uint64_t));
        ngx_memcpy(&rules, lcf->rules + i, sizeof(uint64_t));

        part ^= rules;
        ngx_memcpy(key + i, &part, sizeof(uint64_t));
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_liveness_init(ngx_conf_t *cf)
{
    ngx_str_t                          name = ngx_string("lockbox_zone");
    ngx_shm_zone_t                    *shm_zone;
    ngx_http_lockbox_main_conf_t      *mcf;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lockbox_module);
    lcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_lockbox_liveness_module);

    if (mcf->gated.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_lockbox_liveness_store(cf, &mcf->redis, lcf->cache.store)
        != NGX_OK
        || ngx_http_lockbox_liveness_rules(mcf, lcf->cache.store, lcf->rules)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    shm_zone = ngx_shared_memory_add(cf, &name, lcf->zone_size,
                                     &ngx_http_lockbox_liveness_module);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    lcf->cycle = cf->cycle;
    lcf->cache.log = &cf->cycle->new_log;

    shm_zone->init = ngx_http_lockbox_liveness_init_zone;
    shm_zone->data = &lcf->cache;

    return NGX_OK;
}


/*
 * Between two ticks of "timer_resolution" nginx's clock stands still, so that
 * a lease seems younger than it is.  That directive may stand behind the http
 * block: zones are the first thing that is made when all is read.
 */

static ngx_int_t
ngx_http_lockbox_liveness_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_core_conf_t                   *ccf;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    lcf = ngx_queue_data(shm_zone->data, ngx_http_lockbox_liveness_conf_t,
                         cache);
    ccf = (ngx_core_conf_t *) ngx_get_conf(lcf->cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->timer_resolution > ngx_lockbox_watch_period(lcf->lease)) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "\"timer_resolution\" of %Mms is too coarse for a "
                      "\"lockbox_lease\" of %Mms, it must not exceed %Mms",
                      ccf->timer_resolution, lcf->lease,
                      ngx_lockbox_watch_period(lcf->lease));
        return NGX_ERROR;
    }

    lcf->trust = lcf->lease - ccf->timer_resolution;

    return ngx_lockbox_cache_init(shm_zone, data);
}


/* Where Redis is, and which of its databases is meant. */

static ngx_int_t
ngx_http_lockbox_liveness_store(ngx_conf_t *cf,
    const ngx_lockbox_redis_conf_t *redis, u_char *store)
{
    u_char        digest[EVP_MAX_MD_SIZE];
    ngx_str_t     text;
    unsigned int  len;

    text.len = redis->addr->name.len + sizeof(" ") - 1 + NGX_INT_T_LEN;
    text.data = ngx_pnalloc(cf->temp_pool, text.len);

    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = (size_t) (ngx_sprintf(text.data, "%V %ui", &redis->addr->name,
                                     redis->db)
                         - text.data);

    if (EVP_Digest(text.data, text.len, digest, &len, EVP_sha256(), NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(store, digest, NGX_LOCKBOX_CACHE_NAME_LEN);

    return NGX_OK;
}


/*
 * Everything that decides whether a token is good, and the Redis whose names
 * lie beside the facts.  Facts that were verified under other rules are not
 * found any more.
 */

static ngx_int_t
ngx_http_lockbox_liveness_rules(ngx_http_lockbox_main_conf_t *mcf,
    const u_char *store, u_char *digest)
{
    int64_t                          times[2];
    ngx_uint_t                       i, ok;
    EVP_MD_CTX                      *ctx;
    unsigned int                     len;
    const ngx_lockbox_key_t         *key;
    const ngx_lockbox_token_rule_t  *rule;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rule = &mcf->grant_rule;
    times[0] = rule->leeway;
    times[1] = rule->max_life;

    /* issuer and audience are texts without a NUL, which ends them here */

    ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1
         && EVP_DigestUpdate(ctx, store, NGX_LOCKBOX_CACHE_NAME_LEN) == 1
         && EVP_DigestUpdate(ctx, times, sizeof(times)) == 1
         && EVP_DigestUpdate(ctx, rule->issuer.data, rule->issuer.len) == 1
         && EVP_DigestUpdate(ctx, "", 1) == 1
         && EVP_DigestUpdate(ctx, rule->audience.data, rule->audience.len)
            == 1
         && EVP_DigestUpdate(ctx, "", 1) == 1;

    key = rule->keys->elts;

    for (i = 0; ok && i < rule->keys->nelts; i++) {
        ok = EVP_DigestUpdate(ctx, key[i].thumbprint.data,
                              key[i].thumbprint.len)
             == 1;
    }

    ok = ok && EVP_DigestFinal_ex(ctx, digest, &len) == 1;

    EVP_MD_CTX_free(ctx);

    return ok ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_lockbox_liveness_init_process(ngx_cycle_t *cycle)
{
    ngx_http_lockbox_main_conf_t      *mcf;
    ngx_http_lockbox_liveness_conf_t  *lcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lockbox_module);
    lcf = ngx_http_cycle_get_module_main_conf(cycle,
                                             ngx_http_lockbox_liveness_module);

    if (mcf == NULL
        || mcf->gated.nelts == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    lcf->worker = ngx_pcalloc(cycle->pool,
                              sizeof(ngx_http_lockbox_liveness_worker_t));

    if (lcf->worker == NULL
        || ngx_http_lockbox_liveness_digest(lcf->worker) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lockbox_liveness_connect(cycle, lcf, mcf);
}


/* Fetched once: OpenSSL looks an algorithm up anew each time otherwise. */

static ngx_int_t
ngx_http_lockbox_liveness_digest(ngx_http_lockbox_liveness_worker_t *worker)
{
    worker->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    worker->digest = EVP_MD_CTX_new();

    if (worker->sha256 == NULL
        || worker->digest == NULL
        || EVP_DigestInit_ex(worker->digest, worker->sha256, NULL) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_liveness_connect(ngx_cycle_t *cycle,
    ngx_http_lockbox_liveness_conf_t *lcf, ngx_http_lockbox_main_conf_t *mcf)
{
    ngx_http_lockbox_liveness_worker_t  *worker;

    worker = lcf->worker;

    worker->redis = ngx_lockbox_redis_create(&mcf->redis, "gate",
                                             NGX_HTTP_LOCKBOX_LOOKUP_MAX,
                                             NULL, cycle->log);
    if (worker->redis == NULL) {
        return NGX_ERROR;
    }

    worker->flights = ngx_http_lockbox_flights_create(cycle, worker->redis,
                                                      &lcf->cache,
                                                      lcf->trust);
    if (worker->flights == NULL) {
        return NGX_ERROR;
    }

    worker->watch_conf.redis = &mcf->redis;
    worker->watch_conf.gate = worker->redis;
    worker->watch_conf.cache = &lcf->cache;
    worker->watch_conf.lease = lcf->trust;
    worker->watch_conf.listener =
                          ngx_http_lockbox_flights_listener(worker->flights);

    worker->watch = ngx_lockbox_watch_create(&worker->watch_conf, cycle->log);
    if (worker->watch == NULL) {
        return NGX_ERROR;
    }

    ngx_http_lockbox_flights_watch(worker->flights, worker->watch);

    return NGX_OK;
}


static void
ngx_http_lockbox_liveness_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_lockbox_liveness_conf_t    *lcf;
    ngx_http_lockbox_liveness_worker_t  *worker;

    lcf = ngx_http_cycle_get_module_main_conf(cycle,
                                             ngx_http_lockbox_liveness_module);

    if (lcf == NULL || lcf->worker == NULL) {
        return;
    }

    worker = lcf->worker;
    lcf->worker = NULL;

    if (worker->watch != NULL) {
        ngx_lockbox_watch_destroy(worker->watch);
    }

    if (worker->redis != NULL) {
        ngx_lockbox_redis_destroy(worker->redis);
    }

    EVP_MD_CTX_free(worker->digest);
    EVP_MD_free(worker->sha256);
}


static void *
ngx_http_lockbox_liveness_create_conf(ngx_conf_t *cf)
{
    ngx_http_lockbox_liveness_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lockbox_liveness_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     lcf->cache = { NULL, NULL, NULL };
     *     lcf->worker = NULL;
     */

    lcf->zone_size = NGX_CONF_UNSET_SIZE;
    lcf->lease = NGX_CONF_UNSET_MSEC;

    return lcf;
}


static char *
ngx_http_lockbox_liveness_init_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_lockbox_liveness_conf_t *lcf = conf;

    ngx_conf_init_size_value(lcf->zone_size, NGX_HTTP_LOCKBOX_ZONE_SIZE);
    ngx_conf_init_msec_value(lcf->lease, NGX_HTTP_LOCKBOX_LEASE);

    return NGX_CONF_OK;
}
