/*
 * A tenant's policy.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_body.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_policy.h"
#include "ngx_lockbox_query.h"
#include "ngx_lockbox_text.h"


/* What is read, and where in its document it stands. */
typedef struct {
    ngx_pool_t                         *pool;
    ngx_lockbox_fault_t                *fault;
    const char                         *at;
    const json_t                       *object;
    const ngx_lockbox_policy_limits_t  *limits;    /* NULL: as it is */
    int64_t                             now;
} ngx_lockbox_policy_ctx_t;


/* A list of distinct texts. */
typedef struct {
    const char                         *name;
    ngx_uint_t                          min;
    ngx_uint_t                        (*valid)(const ngx_str_t *text);
    const char                         *bad_list;
    const char                         *bad_text;
} ngx_lockbox_policy_list_t;


static ngx_int_t ngx_lockbox_policy_size(const ngx_lockbox_policy_ctx_t *ctx);
static ngx_int_t ngx_lockbox_policy_duration(
    const ngx_lockbox_policy_ctx_t *ctx, int64_t *duration);
static ngx_int_t ngx_lockbox_policy_approvals(
    const ngx_lockbox_policy_ctx_t *ctx, ngx_uint_t *approvals);
static ngx_int_t ngx_lockbox_policy_strings(
    const ngx_lockbox_policy_ctx_t *ctx,
    const ngx_lockbox_policy_list_t *list, ngx_lockbox_strings_t *strings);
static ngx_uint_t ngx_lockbox_policy_reason(const ngx_str_t *text);
static ngx_uint_t ngx_lockbox_policy_has(const ngx_lockbox_strings_t *strings,
    const ngx_str_t *text);
static ngx_int_t ngx_lockbox_policy_preapprovals(
    const ngx_lockbox_policy_ctx_t *ctx, ngx_lockbox_policy_t *policy);
static ngx_int_t ngx_lockbox_policy_entry(const ngx_lockbox_policy_ctx_t *ctx,
    ngx_lockbox_preapproval_t *preapproval);
static ngx_int_t ngx_lockbox_policy_name(const ngx_lockbox_policy_ctx_t *ctx,
    ngx_str_t *name);
static ngx_int_t ngx_lockbox_policy_until(const ngx_lockbox_policy_ctx_t *ctx,
    int64_t *until);
static ngx_int_t ngx_lockbox_policy_narrow(
    const ngx_lockbox_policy_ctx_t *ctx, const ngx_lockbox_scope_t *scope);
static ngx_int_t ngx_lockbox_policy_distinct(
    const ngx_lockbox_policy_ctx_t *ctx, const ngx_lockbox_policy_t *policy);
static ngx_int_t ngx_lockbox_policy_copy(ngx_pool_t *pool,
    const ngx_str_t *text, ngx_str_t *copy);
static ngx_int_t ngx_lockbox_policy_allows_item(ngx_pool_t *pool,
    const ngx_lockbox_policy_t *policy, const ngx_lockbox_item_t *item,
    size_t i, ngx_lockbox_fault_t *fault);
static ngx_uint_t ngx_lockbox_policy_covers(
    const ngx_lockbox_preapproval_t *preapproval,
    const ngx_lockbox_policy_wish_t *wish, int64_t begins);


static const char *const  ngx_lockbox_policy_members[] = {
    "max_duration", "approvals", "services", "reasons", "labels_never",
    "preapprovals", NULL
};

static const char *const  ngx_lockbox_policy_entry_members[] = {
    "name", "access", "max_duration", "reasons", "until", NULL
};


static const ngx_lockbox_policy_list_t  ngx_lockbox_policy_services = {
    "services", 1, ngx_lockbox_name_valid,
    "It must be a list of 1 to 64 services.",
    "It must be the name of a service, and listed once."
};

static const ngx_lockbox_policy_list_t  ngx_lockbox_policy_reasons = {
    "reasons", 1, ngx_lockbox_policy_reason,
    "It must be a list of one reason code or more.",
    "It must be one of the reason codes, and listed once."
};

static const ngx_lockbox_policy_list_t  ngx_lockbox_policy_labels = {
    "labels_never", 0, ngx_lockbox_name_valid,
    "It must be a list of at most 64 labels.",
    "It must be a label, and listed once."
};


ngx_int_t
ngx_lockbox_policy_parse(ngx_pool_t *pool, const json_t *value,
    const char *at, const ngx_lockbox_policy_limits_t *limits, int64_t now,
    ngx_lockbox_policy_t *policy, ngx_lockbox_fault_t *fault)
{
    ngx_int_t                 rc;
    ngx_lockbox_policy_ctx_t  ctx;

    ngx_memzero(policy, sizeof(ngx_lockbox_policy_t));

    ctx.pool = pool;
    ctx.fault = fault;
    ctx.at = at;
    ctx.object = value;
    ctx.limits = limits;
    ctx.now = now;

    if (!json_is_object(value)) {
        return ngx_lockbox_json_fault(pool, fault, "It must be an object.",
                                      "%s", at);
    }

    rc = ngx_lockbox_json_only(pool, value, ngx_lockbox_policy_members, at,
                               fault);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_lockbox_policy_size(&ctx);

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_duration(&ctx, &policy->max_duration);
    }

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_approvals(&ctx, &policy->approvals);
    }

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_strings(&ctx, &ngx_lockbox_policy_services,
                                        &policy->services);
    }

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_strings(&ctx, &ngx_lockbox_policy_reasons,
                                        &policy->reasons);
    }

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_strings(&ctx, &ngx_lockbox_policy_labels,
                                        &policy->labels_never);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_lockbox_policy_preapprovals(&ctx, policy);
}


static ngx_int_t
ngx_lockbox_policy_size(const ngx_lockbox_policy_ctx_t *ctx)
{
    ngx_str_t  text;

    if (ngx_lockbox_json_dump(ctx->pool, ctx->object, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len > NGX_LOCKBOX_POLICY_MAX) {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "It is longer than 16384 bytes.",
                                      "%s", ctx->at);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_policy_duration(const ngx_lockbox_policy_ctx_t *ctx,
    int64_t *duration)
{
    ngx_int_t  rc;

    rc = ngx_lockbox_json_integer(ctx->object, "max_duration", duration);

    if (rc == NGX_DECLINED) {
        *duration = 0;
        return NGX_OK;
    }

    if (rc != NGX_OK
        || *duration < NGX_LOCKBOX_BODY_DURATION_MIN
        || (ctx->limits != NULL && *duration > ctx->limits->max_duration))
    {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "It must be a whole number of seconds "
                                      "from 60 to the operator's longest "
                                      "window.", "%s/max_duration", ctx->at);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_policy_approvals(const ngx_lockbox_policy_ctx_t *ctx,
    ngx_uint_t *approvals)
{
    int64_t    n;
    ngx_int_t  rc;

    rc = ngx_lockbox_json_integer(ctx->object, "approvals", &n);

    if (rc == NGX_DECLINED) {
        *approvals = 0;
        return NGX_OK;
    }

    if (rc != NGX_OK
        || n < 1 || n > NGX_LOCKBOX_POLICY_APPROVALS
        || (ctx->limits != NULL && n < (int64_t) ctx->limits->approvals))
    {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "It must be a whole number from what "
                                      "the operator requires, and 1 at least, "
                                      "to 9.", "%s/approvals", ctx->at);
    }

    *approvals = (ngx_uint_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_policy_strings(const ngx_lockbox_policy_ctx_t *ctx,
    const ngx_lockbox_policy_list_t *list, ngx_lockbox_strings_t *strings)
{
    size_t         i, n;
    json_t        *value;
    ngx_str_t      text;
    const json_t  *values;

    values = json_object_get(ctx->object, list->name);
    n = json_array_size(values);

    if (values == NULL) {
        return NGX_OK;
    }

    if (!json_is_array(values)
        || n < list->min || n > NGX_LOCKBOX_POLICY_NAMES_MAX)
    {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault, list->bad_list,
                                      "%s/%s", ctx->at, list->name);
    }

    strings->elts = ngx_palloc(ctx->pool, n * sizeof(ngx_str_t));
    if (strings->elts == NULL) {
        return NGX_ERROR;
    }

    json_array_foreach(values, i, value) {

        /* what is no string reads as empty, which is never valid */

        text.data = (u_char *) json_string_value(value);
        text.len = json_string_length(value);

        if (!list->valid(&text) || ngx_lockbox_policy_has(strings, &text)) {
            return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                          list->bad_text, "%s/%s/%zu",
                                          ctx->at, list->name, i);
        }

        if (ngx_lockbox_policy_copy(ctx->pool, &text, &strings->elts[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        strings->nelts++;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_lockbox_policy_reason(const ngx_str_t *text)
{
    return ngx_lockbox_text_among(text, ngx_lockbox_body_reasons);
}


static ngx_uint_t
ngx_lockbox_policy_has(const ngx_lockbox_strings_t *strings,
    const ngx_str_t *text)
{
    ngx_uint_t  i;

    for (i = 0; i < strings->nelts; i++) {
        if (ngx_lockbox_text_same(&strings->elts[i], text)) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_lockbox_policy_preapprovals(const ngx_lockbox_policy_ctx_t *ctx,
    ngx_lockbox_policy_t *policy)
{
    char                       at[256];
    size_t                     i, n;
    ngx_int_t                  rc;
    const json_t              *list;
    ngx_lockbox_policy_ctx_t   entry;

    list = json_object_get(ctx->object, "preapprovals");
    n = json_array_size(list);

    if (list == NULL) {
        return NGX_OK;
    }

    if (!json_is_array(list) || n > NGX_LOCKBOX_POLICY_PREAPPROVALS) {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "It must be a list of at most 16 "
                                      "preapprovals.", "%s/preapprovals",
                                      ctx->at);
    }

    policy->preapprovals = ngx_pcalloc(ctx->pool,
                                       n * sizeof(ngx_lockbox_preapproval_t));
    if (policy->preapprovals == NULL) {
        return NGX_ERROR;
    }

    entry = *ctx;
    entry.at = at;

    for (i = 0; i < n; i++) {
        (void) snprintf(at, sizeof(at), "%s/preapprovals/%zu", ctx->at, i);
        entry.object = json_array_get(list, i);

        rc = ngx_lockbox_policy_entry(&entry, &policy->preapprovals[i]);
        if (rc != NGX_OK) {
            return rc;
        }

        policy->npreapprovals++;

        rc = ngx_lockbox_policy_distinct(&entry, policy);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_policy_entry(const ngx_lockbox_policy_ctx_t *ctx,
    ngx_lockbox_preapproval_t *preapproval)
{
    char       access[sizeof("/access") + 256];
    ngx_int_t  rc;

    if (!json_is_object(ctx->object)) {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "It must be an object.", "%s", ctx->at);
    }

    rc = ngx_lockbox_json_only(ctx->pool, ctx->object,
                               ngx_lockbox_policy_entry_members, ctx->at,
                               ctx->fault);
    if (rc != NGX_OK) {
        return rc;
    }

    (void) snprintf(access, sizeof(access), "%s/access", ctx->at);

    rc = ngx_lockbox_policy_name(ctx, &preapproval->name);

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_duration(ctx, &preapproval->max_duration);
    }

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_strings(ctx, &ngx_lockbox_policy_reasons,
                                        &preapproval->reasons);
    }

    if (rc == NGX_OK) {
        rc = ngx_lockbox_policy_until(ctx, &preapproval->until);
    }

    if (rc == NGX_OK) {
        rc = ngx_lockbox_scope_parse(ctx->pool,
                                     json_object_get(ctx->object, "access"),
                                     NGX_LOCKBOX_SCOPE_ACCESS, access,
                                     &preapproval->scope, ctx->fault);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_lockbox_policy_narrow(ctx, &preapproval->scope);
}


static ngx_int_t
ngx_lockbox_policy_name(const ngx_lockbox_policy_ctx_t *ctx, ngx_str_t *name)
{
    ngx_str_t  text;

    if (ngx_lockbox_json_string(ctx->object, "name", &text) != NGX_OK
        || !ngx_lockbox_name_valid(&text))
    {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "It must be a name of lower-case "
                                      "letters, digits, '.', '_' and '-'.",
                                      "%s/name", ctx->at);
    }

    return ngx_lockbox_policy_copy(ctx->pool, &text, name);
}


static ngx_int_t
ngx_lockbox_policy_until(const ngx_lockbox_policy_ctx_t *ctx, int64_t *until)
{
    ngx_str_t  text;

    if (ngx_lockbox_json_string(ctx->object, "until", &text) == NGX_OK) {
        *until = ngx_lockbox_query_time(&text);

        if (*until != NGX_ERROR
            && (ctx->limits == NULL
                || (*until > ctx->now
                    && *until - ctx->now
                       <= (int64_t) NGX_LOCKBOX_POLICY_AHEAD * 1000)))
        {
            return NGX_OK;
        }
    }

    return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                  "It must be a time like "
                                  "2026-01-31T12:00:00Z (RFC 3339), to come "
                                  "within 90 days.", "%s/until", ctx->at);
}


/*
 * A whole service is nothing narrow, and behind another protocol nobody sees
 * what is done.
 */

static ngx_int_t
ngx_lockbox_policy_narrow(const ngx_lockbox_policy_ctx_t *ctx,
    const ngx_lockbox_scope_t *scope)
{
    size_t                     i, j;
    const ngx_lockbox_item_t  *item;

    for (i = 0; i < scope->nelts; i++) {
        item = &scope->elts[i];

        for (j = 0; j < item->paths.nelts; j++) {
            if (ngx_lockbox_text_is(&item->paths.elts[j], "/")) {
                return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                              "A preapproval cannot open a "
                                              "whole service.",
                                              "%s/access/%zu/paths/%zu",
                                              ctx->at, i, j);
            }
        }

        for (j = 0; j < item->methods.nelts; j++) {
            if (ngx_lockbox_text_is(&item->methods.elts[j],
                                    NGX_LOCKBOX_UPGRADE))
            {
                return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                              "A preapproval cannot open "
                                              "another protocol.",
                                              "%s/access/%zu/methods/%zu",
                                              ctx->at, i, j);
            }
        }
    }

    return NGX_OK;
}


/* The name of the last one is that of no other. */

static ngx_int_t
ngx_lockbox_policy_distinct(const ngx_lockbox_policy_ctx_t *ctx,
    const ngx_lockbox_policy_t *policy)
{
    ngx_uint_t                        i, last;
    const ngx_lockbox_preapproval_t  *preapproval;

    preapproval = policy->preapprovals;
    last = policy->npreapprovals - 1;

    for (i = 0; i < last; i++) {
        if (ngx_lockbox_text_same(&preapproval[i].name,
                                  &preapproval[last].name))
        {
            return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                          "Another preapproval has this name.",
                                          "%s/name", ctx->at);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_policy_copy(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_str_t *copy)
{
    copy->data = ngx_pnalloc(pool, text->len);
    if (copy->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy->data, text->data, text->len);
    copy->len = text->len;

    return NGX_OK;
}


void
ngx_lockbox_policy_clamp(ngx_lockbox_policy_t *policy,
    const ngx_lockbox_policy_limits_t *limits)
{
    if (policy->max_duration == 0
        || policy->max_duration > limits->max_duration)
    {
        policy->max_duration = limits->max_duration;
    }

    policy->approvals = ngx_max(policy->approvals, limits->approvals);
}


ngx_int_t
ngx_lockbox_policy_allows(ngx_pool_t *pool,
    const ngx_lockbox_policy_t *policy, const ngx_lockbox_policy_wish_t *wish,
    ngx_lockbox_fault_t *fault)
{
    size_t     i;
    ngx_int_t  rc;

    if (wish->duration > policy->max_duration) {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It is longer than the tenant's policy "
                                      "allows.", "/duration");
    }

    if (policy->reasons.nelts != 0
        && !ngx_lockbox_policy_has(&policy->reasons, &wish->reason))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "The tenant's policy does not allow "
                                      "this reason.", "/reason");
    }

    for (i = 0; i < wish->scope->nelts; i++) {
        rc = ngx_lockbox_policy_allows_item(pool, policy,
                                            &wish->scope->elts[i], i, fault);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_policy_allows_item(ngx_pool_t *pool,
    const ngx_lockbox_policy_t *policy, const ngx_lockbox_item_t *item,
    size_t i, ngx_lockbox_fault_t *fault)
{
    size_t  j;

    if (policy->services.nelts != 0
        && !ngx_lockbox_policy_has(&policy->services, &item->service))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "The tenant's policy does not allow "
                                      "this service.", "/access/%zu/service",
                                      i);
    }

    for (j = 0; j < item->labels.nelts; j++) {
        if (ngx_lockbox_policy_has(&policy->labels_never,
                                   &item->labels.elts[j]))
        {
            return ngx_lockbox_json_fault(pool, fault,
                                          "The tenant's policy never allows "
                                          "this label.",
                                          "/access/%zu/labels/%zu", i, j);
        }
    }

    return NGX_OK;
}


const ngx_lockbox_preapproval_t *
ngx_lockbox_policy_preapproval(const ngx_lockbox_policy_t *policy,
    const ngx_lockbox_policy_wish_t *wish, int64_t begins)
{
    ngx_uint_t  i;

    if (ngx_lockbox_policy_allows(NULL, policy, wish, NULL) != NGX_OK) {
        return NULL;
    }

    for (i = 0; i < policy->npreapprovals; i++) {
        if (ngx_lockbox_policy_covers(&policy->preapprovals[i], wish,
                                      begins))
        {
            return &policy->preapprovals[i];
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_lockbox_policy_covers(const ngx_lockbox_preapproval_t *preapproval,
    const ngx_lockbox_policy_wish_t *wish, int64_t begins)
{
    return (begins + wish->duration) * 1000 <= preapproval->until
           && (preapproval->max_duration == 0
               || wish->duration <= preapproval->max_duration)
           && (preapproval->reasons.nelts == 0
               || ngx_lockbox_policy_has(&preapproval->reasons, &wish->reason))
           && ngx_lockbox_scope_within(wish->scope, &preapproval->scope);
}
