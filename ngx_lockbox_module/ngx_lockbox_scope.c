/*
 * Access items: what a grant opens.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_base64url.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_path.h"
#include "ngx_lockbox_scope.h"


#define NGX_LOCKBOX_SCOPE_TYPE  "lockbox"

/* the longest that an index of NGX_LOCKBOX_ITEMS_MAX items adds to a pointer */
#define NGX_LOCKBOX_SCOPE_LAST  "/31"


/* The access item that is being read. */
typedef struct {
    ngx_pool_t                *pool;
    ngx_lockbox_fault_t       *fault;
    ngx_lockbox_scope_form_e   form;
    char                      *at;          /* its pointer: "/access/0" */
    const json_t              *object;
    ngx_lockbox_item_t        *item;
} ngx_lockbox_scope_ctx_t;


/* A list of texts that every access item has. */
typedef struct {
    const char                *name;
    size_t                     offset;      /* in ngx_lockbox_item_t */
    ngx_uint_t                 min;
    ngx_uint_t                 max;
    ngx_uint_t               (*valid)(const ngx_str_t *text);
    const char                *bad_list;
    const char                *bad_text;
} ngx_lockbox_scope_list_t;


static ngx_int_t ngx_lockbox_scope_item(ngx_lockbox_scope_ctx_t *ctx);
static ngx_int_t ngx_lockbox_scope_members(ngx_lockbox_scope_ctx_t *ctx);
static ngx_int_t ngx_lockbox_scope_service(ngx_lockbox_scope_ctx_t *ctx);
static ngx_int_t ngx_lockbox_scope_list(ngx_lockbox_scope_ctx_t *ctx,
    const ngx_lockbox_scope_list_t *list);
static const char *ngx_lockbox_scope_objection(
    const ngx_lockbox_scope_list_t *list, const ngx_lockbox_strings_t *strings,
    const ngx_str_t *text);
static void ngx_lockbox_scope_text(const json_t *value, ngx_str_t *text);
static ngx_int_t ngx_lockbox_scope_copy(ngx_lockbox_scope_ctx_t *ctx,
    ngx_str_t *text, ngx_str_t *copy);
static ngx_lockbox_strings_t *ngx_lockbox_scope_strings(
    ngx_lockbox_item_t *item, const ngx_lockbox_scope_list_t *list);

static json_t *ngx_lockbox_scope_item_json(ngx_lockbox_item_t *item,
    ngx_lockbox_scope_form_e form);
static json_t *ngx_lockbox_scope_strings_json(
    const ngx_lockbox_strings_t *strings);

static ngx_uint_t ngx_lockbox_scope_item_within(
    const ngx_lockbox_item_t *narrow, const ngx_lockbox_item_t *wide);
static ngx_uint_t ngx_lockbox_scope_reach(const ngx_lockbox_item_t *item,
    const ngx_str_t *service, const ngx_lockbox_strings_t *labels,
    const ngx_str_t *method, ngx_uint_t upgrade, const ngx_str_t *path);
static ngx_uint_t ngx_lockbox_scope_has(const ngx_lockbox_strings_t *strings,
    const ngx_str_t *text);
static ngx_uint_t ngx_lockbox_scope_has_all(
    const ngx_lockbox_strings_t *strings, const ngx_lockbox_strings_t *part);
static ngx_uint_t ngx_lockbox_scope_has_method(
    const ngx_lockbox_strings_t *methods, const ngx_str_t *method,
    ngx_uint_t upgrade);
static ngx_uint_t ngx_lockbox_scope_has_path(
    const ngx_lockbox_strings_t *paths, const ngx_str_t *path);


static const ngx_lockbox_scope_list_t  ngx_lockbox_scope_lists[] = {

    { "methods", offsetof(ngx_lockbox_item_t, methods),
      1, NGX_LOCKBOX_METHODS_MAX, ngx_lockbox_method_valid,
      "must be a list of 1 to 16 methods",
      "must be a method in upper case other than CONNECT, HEAD and TRACE" },

    { "paths", offsetof(ngx_lockbox_item_t, paths),
      1, NGX_LOCKBOX_PATHS_MAX, ngx_lockbox_path_canonical,
      "must be a list of 1 to 16 paths",
      "must be a path in canonical form" },

    { "labels", offsetof(ngx_lockbox_item_t, labels),
      0, NGX_LOCKBOX_LABELS_MAX, ngx_lockbox_name_valid,
      "must be a list of at most 16 labels",
      "must be a label" },

    { NULL, 0, 0, 0, NULL, NULL, NULL }
};


/* What a request is told if an item meets it in so many respects. */

static const ngx_lockbox_decision_t  ngx_lockbox_scope_decisions[] = {
    NGX_LOCKBOX_WRONG_SERVICE,
    NGX_LOCKBOX_WRONG_PATH,
    NGX_LOCKBOX_WRONG_METHOD,
    NGX_LOCKBOX_WRONG_LABEL,
    NGX_LOCKBOX_ALLOW
};


ngx_int_t
ngx_lockbox_scope_parse(ngx_pool_t *pool, const json_t *list,
    ngx_lockbox_scope_form_e form, const char *at, ngx_lockbox_scope_t *scope,
    ngx_lockbox_fault_t *fault)
{
    size_t                    i, n, len;
    ngx_int_t                 rc;
    ngx_lockbox_item_t       *items;
    ngx_lockbox_scope_ctx_t   ctx;

    n = json_array_size(list);

    if (n == 0 || n > NGX_LOCKBOX_ITEMS_MAX) {
        return ngx_lockbox_json_fault(pool, fault,
                                      "must be a list of 1 to 32 access items",
                                      "%s", at);
    }

    items = ngx_pcalloc(pool, n * sizeof(ngx_lockbox_item_t));
    if (items == NULL) {
        return NGX_ERROR;
    }

    len = ngx_strlen(at) + sizeof(NGX_LOCKBOX_SCOPE_LAST);

    ctx.pool = pool;
    ctx.fault = fault;
    ctx.form = form;

    ctx.at = ngx_pnalloc(pool, len);
    if (ctx.at == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        (void) snprintf(ctx.at, len, "%s/%zu", at, i);

        ctx.object = json_array_get(list, i);
        ctx.item = &items[i];

        rc = ngx_lockbox_scope_item(&ctx);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    scope->nelts = n;
    scope->elts = items;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_scope_item(ngx_lockbox_scope_ctx_t *ctx)
{
    ngx_int_t                        rc;
    const ngx_lockbox_scope_list_t  *list;

    rc = ngx_lockbox_scope_members(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_lockbox_scope_service(ctx);

    for (list = ngx_lockbox_scope_lists; list->name && rc == NGX_OK; list++) {
        rc = ngx_lockbox_scope_list(ctx, list);
    }

    return rc;
}


static ngx_int_t
ngx_lockbox_scope_members(ngx_lockbox_scope_ctx_t *ctx)
{
    ngx_str_t                 type;
    const char *const        *names;
    static const ngx_str_t    lockbox = ngx_string(NGX_LOCKBOX_SCOPE_TYPE);
    static const char *const  details[] = {
        "type", "service", "methods", "paths", "labels", NULL
    };

    if (!json_is_object(ctx->object)) {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "must be an object", "%s", ctx->at);
    }

    names = details;

    if (ctx->form == NGX_LOCKBOX_SCOPE_ACCESS) {
        names++;

    } else if (ngx_lockbox_json_string(ctx->object, "type", &type) != NGX_OK
               || !ngx_lockbox_name_same(&type, &lockbox))
    {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "must be \"" NGX_LOCKBOX_SCOPE_TYPE "\"",
                                      "%s/type", ctx->at);
    }

    return ngx_lockbox_json_only(ctx->pool, ctx->object, names, ctx->at,
                                 ctx->fault);
}


static ngx_int_t
ngx_lockbox_scope_service(ngx_lockbox_scope_ctx_t *ctx)
{
    ngx_str_t  service;

    ngx_lockbox_scope_text(json_object_get(ctx->object, "service"), &service);

    if (!ngx_lockbox_name_valid(&service)) {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault,
                                      "must be the name of a service",
                                      "%s/service", ctx->at);
    }

    return ngx_lockbox_scope_copy(ctx, &service, &ctx->item->service);
}


static ngx_int_t
ngx_lockbox_scope_list(ngx_lockbox_scope_ctx_t *ctx,
    const ngx_lockbox_scope_list_t *list)
{
    size_t                  i, n;
    json_t                 *values;
    ngx_str_t               text;
    const char             *reason;
    ngx_lockbox_strings_t  *strings;

    values = json_object_get(ctx->object, list->name);
    n = json_array_size(values);

    if ((values && !json_is_array(values)) || n < list->min || n > list->max) {
        return ngx_lockbox_json_fault(ctx->pool, ctx->fault, list->bad_list,
                                      "%s/%s", ctx->at, list->name);
    }

    strings = ngx_lockbox_scope_strings(ctx->item, list);

    strings->elts = ngx_palloc(ctx->pool, n * sizeof(ngx_str_t));
    if (strings->elts == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        ngx_lockbox_scope_text(json_array_get(values, i), &text);

        reason = ngx_lockbox_scope_objection(list, strings, &text);

        if (reason) {
            return ngx_lockbox_json_fault(ctx->pool, ctx->fault, reason,
                                          "%s/%s/%zu", ctx->at, list->name, i);
        }

        if (ngx_lockbox_scope_copy(ctx, &text, &strings->elts[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        strings->nelts++;
    }

    return NGX_OK;
}


/* What speaks against the text as one more of the list, or NULL. */

static const char *
ngx_lockbox_scope_objection(const ngx_lockbox_scope_list_t *list,
    const ngx_lockbox_strings_t *strings, const ngx_str_t *text)
{
    if (!list->valid(text)) {
        return list->bad_text;
    }

    if (ngx_lockbox_scope_has(strings, text)) {
        return "is listed twice";
    }

    return NULL;
}


/* A value that is no string reads as an empty text, which is never valid. */

static void
ngx_lockbox_scope_text(const json_t *value, ngx_str_t *text)
{
    text->data = (u_char *) json_string_value(value);
    text->len = json_string_length(value);
}


static ngx_int_t
ngx_lockbox_scope_copy(ngx_lockbox_scope_ctx_t *ctx, ngx_str_t *text,
    ngx_str_t *copy)
{
    copy->data = ngx_pstrdup(ctx->pool, text);
    copy->len = text->len;

    return copy->data ? NGX_OK : NGX_ERROR;
}


static ngx_lockbox_strings_t *
ngx_lockbox_scope_strings(ngx_lockbox_item_t *item,
    const ngx_lockbox_scope_list_t *list)
{
    return (ngx_lockbox_strings_t *) ((u_char *) item + list->offset);
}


json_t *
ngx_lockbox_scope_json(const ngx_lockbox_scope_t *scope,
    ngx_lockbox_scope_form_e form)
{
    json_t      *list;
    ngx_uint_t   i;

    list = json_array();

    for (i = 0; i < scope->nelts; i++) {
        if (json_array_append_new(list,
                ngx_lockbox_scope_item_json(&scope->elts[i], form))
            != 0)
        {
            json_decref(list);
            return NULL;
        }
    }

    return list;
}


static json_t *
ngx_lockbox_scope_item_json(ngx_lockbox_item_t *item,
    ngx_lockbox_scope_form_e form)
{
    json_t                          *object;
    ngx_int_t                        rc;
    const ngx_lockbox_scope_list_t  *list;

    object = json_object();

    rc = ngx_lockbox_json_set(object, "service",
                              ngx_lockbox_json_text(&item->service));

    if (rc == NGX_OK && form == NGX_LOCKBOX_SCOPE_DETAILS) {
        rc = ngx_lockbox_json_set(object, "type",
                                  json_string(NGX_LOCKBOX_SCOPE_TYPE));
    }

    for (list = ngx_lockbox_scope_lists; list->name && rc == NGX_OK; list++) {
        rc = ngx_lockbox_json_set(object, list->name,
                 ngx_lockbox_scope_strings_json(
                     ngx_lockbox_scope_strings(item, list)));
    }

    if (rc != NGX_OK) {
        json_decref(object);
        return NULL;
    }

    return object;
}


static json_t *
ngx_lockbox_scope_strings_json(const ngx_lockbox_strings_t *strings)
{
    json_t      *list;
    ngx_uint_t   i;

    list = json_array();

    for (i = 0; i < strings->nelts; i++) {
        if (json_array_append_new(list,
                                  ngx_lockbox_json_text(&strings->elts[i]))
            != 0)
        {
            json_decref(list);
            return NULL;
        }
    }

    return list;
}


ngx_int_t
ngx_lockbox_scope_hash(ngx_pool_t *pool, const ngx_lockbox_scope_t *scope,
    ngx_str_t *hash)
{
    json_t     *list;
    ngx_int_t   rc;
    ngx_str_t   text;

    list = ngx_lockbox_scope_json(scope, NGX_LOCKBOX_SCOPE_ACCESS);

    rc = ngx_lockbox_json_dump(pool, list, &text);

    json_decref(list);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_lockbox_base64url_sha256(pool, &text, hash);
}


ngx_uint_t
ngx_lockbox_scope_within(const ngx_lockbox_scope_t *narrow,
    const ngx_lockbox_scope_t *wide)
{
    ngx_uint_t  i, j;

    for (i = 0; i < narrow->nelts; i++) {

        for (j = 0; j < wide->nelts; j++) {
            if (ngx_lockbox_scope_item_within(&narrow->elts[i],
                                              &wide->elts[j]))
            {
                break;
            }
        }

        if (j == wide->nelts) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_lockbox_scope_item_within(const ngx_lockbox_item_t *narrow,
    const ngx_lockbox_item_t *wide)
{
    ngx_uint_t  i;

    /* a prefix that is covered as a path has all that it covers covered */

    for (i = 0; i < narrow->paths.nelts; i++) {
        if (!ngx_lockbox_scope_has_path(&wide->paths,
                                        &narrow->paths.elts[i]))
        {
            return 0;
        }
    }

    return ngx_lockbox_name_same(&narrow->service, &wide->service)
           && ngx_lockbox_scope_has_all(&wide->methods, &narrow->methods)
           && ngx_lockbox_scope_has_all(&wide->labels, &narrow->labels);
}


ngx_lockbox_decision_t
ngx_lockbox_scope_covers(const ngx_lockbox_scope_t *scope,
    const ngx_str_t *service, const ngx_lockbox_strings_t *labels,
    const ngx_str_t *method, ngx_uint_t upgrade, const ngx_str_t *path)
{
    ngx_uint_t  i, reach, best;

    best = 0;

    for (i = 0; i < scope->nelts; i++) {
        reach = ngx_lockbox_scope_reach(&scope->elts[i], service, labels,
                                        method, upgrade, path);
        best = ngx_max(best, reach);
    }

    return ngx_lockbox_scope_decisions[best];
}


/*
 * In how many respects the item meets the request, up to the first in which
 * it does not: an index of ngx_lockbox_scope_decisions.
 */

static ngx_uint_t
ngx_lockbox_scope_reach(const ngx_lockbox_item_t *item,
    const ngx_str_t *service, const ngx_lockbox_strings_t *labels,
    const ngx_str_t *method, ngx_uint_t upgrade, const ngx_str_t *path)
{
    if (!ngx_lockbox_name_same(&item->service, service)) {
        return 0;
    }

    if (!ngx_lockbox_scope_has_path(&item->paths, path)) {
        return 1;
    }

    if (!ngx_lockbox_scope_has_method(&item->methods, method, upgrade)) {
        return 2;
    }

    if (!ngx_lockbox_scope_has_all(&item->labels, labels)) {
        return 3;
    }

    return 4;
}


static ngx_uint_t
ngx_lockbox_scope_has(const ngx_lockbox_strings_t *strings,
    const ngx_str_t *text)
{
    ngx_uint_t  i;

    for (i = 0; i < strings->nelts; i++) {
        if (ngx_lockbox_name_same(&strings->elts[i], text)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_lockbox_scope_has_all(const ngx_lockbox_strings_t *strings,
    const ngx_lockbox_strings_t *part)
{
    ngx_uint_t  i;

    for (i = 0; i < part->nelts; i++) {
        if (!ngx_lockbox_scope_has(strings, &part->elts[i])) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_lockbox_scope_has_method(const ngx_lockbox_strings_t *methods,
    const ngx_str_t *method, ngx_uint_t upgrade)
{
    static const ngx_str_t  get = ngx_string("GET");
    static const ngx_str_t  head = ngx_string("HEAD");
    static const ngx_str_t  switching = ngx_string(NGX_LOCKBOX_UPGRADE);

    if (ngx_lockbox_name_same(method, &switching)
        || (upgrade && !ngx_lockbox_scope_has(methods, &switching)))
    {
        return 0;
    }

    return ngx_lockbox_scope_has(methods, method)
           || (ngx_lockbox_name_same(method, &head)
               && ngx_lockbox_scope_has(methods, &get));
}


static ngx_uint_t
ngx_lockbox_scope_has_path(const ngx_lockbox_strings_t *paths,
    const ngx_str_t *path)
{
    ngx_uint_t  i;

    for (i = 0; i < paths->nelts; i++) {
        if (ngx_lockbox_path_covers(&paths->elts[i], path)) {
            return 1;
        }
    }

    return 0;
}
