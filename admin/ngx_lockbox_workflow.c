/*
 * Runs workflow.lua in Redis and names its results.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_workflow.h"
#include "ngx_lockbox_assets.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_script.h"
#include "ngx_lockbox_text.h"


/* EVALSHA or EVAL, script, number of keys, action, arguments */
#define NGX_LOCKBOX_WORKFLOW_ARGC  5

/* SHA-1 in hexadecimal: what Redis calls a script by. */

/* No field of a request has a longer name. */
#define NGX_LOCKBOX_WORKFLOW_NAME  63


/*
 * Reads an answer of one form.  NGX_ERROR when it has another one, or without
 * memory.
 */
typedef ngx_int_t (*ngx_lockbox_workflow_read_pt)(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);


typedef struct {
    const char                    *action;    /* NULL: all others */
    ngx_lockbox_workflow_read_pt   read;
} ngx_lockbox_workflow_form_t;


typedef struct {
    ngx_str_t                      text;
    ngx_lockbox_decision_t         decision;
} ngx_lockbox_workflow_word_t;


struct ngx_lockbox_workflow_call_s {
    ngx_lockbox_redis_t            *redis;
    ngx_pool_t                     *pool;
    ngx_lockbox_workflow_read_pt    read;
    ngx_lockbox_workflow_pt         handler;
    void                           *data;
    ngx_lockbox_redis_command_t    *command;    /* NULL: none under way */
    ngx_str_t                       argv[NGX_LOCKBOX_WORKFLOW_ARGC];
    u_char                          sha[NGX_LOCKBOX_SCRIPT_SHA];
    ngx_lockbox_workflow_result_t   result;
    unsigned                        whole:1;    /* sent with its text */
};


static ngx_lockbox_workflow_read_pt ngx_lockbox_workflow_form(
    const char *action);
static ngx_int_t ngx_lockbox_workflow_send(ngx_lockbox_workflow_call_t *call);
static ngx_int_t ngx_lockbox_workflow_send_whole(
    ngx_lockbox_workflow_call_t *call);
static void ngx_lockbox_workflow_answered(void *data,
    const ngx_lockbox_reply_t *reply);
static ngx_int_t ngx_lockbox_workflow_read(ngx_lockbox_workflow_call_t *call,
    const ngx_lockbox_reply_t *reply);
static ngx_int_t ngx_lockbox_workflow_read_request(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_lockbox_workflow_read_list(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_lockbox_workflow_read_due(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_lockbox_workflow_read_audit(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);
static ngx_array_t *ngx_lockbox_workflow_texts(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, size_t i);
static ngx_int_t ngx_lockbox_workflow_text(ngx_pool_t *pool,
    const ngx_str_t *text, ngx_str_t *copy);
static ngx_int_t ngx_lockbox_workflow_read_events(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_lockbox_workflow_decision(
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_lockbox_workflow_next(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_lockbox_workflow_events(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *list, ngx_lockbox_workflow_result_t *result);
static json_t *ngx_lockbox_workflow_event(const ngx_lockbox_reply_t *entry);
static json_t *ngx_lockbox_workflow_entry(const ngx_lockbox_reply_t *entry);
static json_t *ngx_lockbox_workflow_pair(const ngx_lockbox_reply_t *pair);
static ngx_int_t ngx_lockbox_workflow_fields(json_t *request,
    const ngx_lockbox_reply_t *fields);
static ngx_int_t ngx_lockbox_workflow_actions(json_t *request,
    const ngx_lockbox_reply_t *actions);
static ngx_int_t ngx_lockbox_workflow_at(const ngx_lockbox_reply_t *reply,
    size_t i, ngx_lockbox_resp_type_e type, ngx_lockbox_reply_t *element);
static void ngx_lockbox_workflow_cleanup(void *data);


static const ngx_str_t  ngx_lockbox_workflow_script = {
    sizeof(ngx_lockbox_workflow_lua), (u_char *) ngx_lockbox_workflow_lua
};


static const ngx_lockbox_workflow_form_t  ngx_lockbox_workflow_forms[] = {
    { "list", ngx_lockbox_workflow_read_list },
    { "due", ngx_lockbox_workflow_read_due },
    { "audit", ngx_lockbox_workflow_read_audit },
    { "events", ngx_lockbox_workflow_read_events },
    { NULL, ngx_lockbox_workflow_read_request }
};


static const ngx_lockbox_workflow_word_t  ngx_lockbox_workflow_words[] = {
    { ngx_string("ok"), NGX_LOCKBOX_ALLOW },
    { ngx_string("not_found"), NGX_LOCKBOX_NOT_FOUND },
    { ngx_string("forbidden_role"), NGX_LOCKBOX_FORBIDDEN_ROLE },
    { ngx_string("own_request"), NGX_LOCKBOX_OWN_REQUEST },
    { ngx_string("same_person"), NGX_LOCKBOX_SAME_PERSON },
    { ngx_string("conflict"), NGX_LOCKBOX_CONFLICT },
    { ngx_string("stale_policy"), NGX_LOCKBOX_CONFLICT },
    { ngx_string("invalid_cursor"), NGX_LOCKBOX_INVALID_MEMBER },
    { ngx_string("invalid_extends"), NGX_LOCKBOX_INVALID_MEMBER },
    { ngx_string("too_many_requests"), NGX_LOCKBOX_TOO_MANY_REQUESTS },
    { ngx_string("clock"), NGX_LOCKBOX_INTERNAL_ERROR },
    { ngx_null_string, NGX_LOCKBOX_NOT_DECIDED }
};


ngx_lockbox_workflow_call_t *
ngx_lockbox_workflow_run(ngx_lockbox_redis_t *redis, ngx_pool_t *pool,
    const char *action, const json_t *args, ngx_lockbox_workflow_pt handler,
    void *data)
{
    ngx_pool_cleanup_t           *cln;
    ngx_lockbox_workflow_call_t  *call;

    call = ngx_pcalloc(pool, sizeof(ngx_lockbox_workflow_call_t));
    if (call == NULL) {
        return NULL;
    }

    call->redis = redis;
    call->pool = pool;
    call->read = ngx_lockbox_workflow_form(action);
    call->handler = handler;
    call->data = data;

    if (ngx_lockbox_script_sha(&ngx_lockbox_workflow_script, call->sha)
        != NGX_OK
        || ngx_lockbox_json_dump(pool, args, &call->argv[4]) != NGX_OK)
    {
        return NULL;
    }

    ngx_str_set(&call->argv[0], "EVALSHA");
    call->argv[1].data = call->sha;
    call->argv[1].len = NGX_LOCKBOX_SCRIPT_SHA;
    ngx_str_set(&call->argv[2], "0");
    call->argv[3].data = (u_char *) action;
    call->argv[3].len = ngx_strlen(action);

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_lockbox_workflow_cleanup;
    cln->data = call;

    return (ngx_lockbox_workflow_send(call) == NGX_OK) ? call : NULL;
}


void
ngx_lockbox_workflow_cancel(ngx_lockbox_workflow_call_t *call)
{
    if (call->command) {
        ngx_lockbox_redis_cancel(call->command);
        call->command = NULL;
    }
}


/* A reply must never find the memory of a call that is gone. */

static void
ngx_lockbox_workflow_cleanup(void *data)
{
    ngx_lockbox_workflow_cancel(data);
}


static ngx_lockbox_workflow_read_pt
ngx_lockbox_workflow_form(const char *action)
{
    const ngx_lockbox_workflow_form_t  *form;

    form = ngx_lockbox_workflow_forms;

    while (form->action && ngx_strcmp(form->action, action) != 0) {
        form++;
    }

    return form->read;
}


static ngx_int_t
ngx_lockbox_workflow_send(ngx_lockbox_workflow_call_t *call)
{
    call->command = ngx_lockbox_redis_send(call->redis, call->argv,
                                           NGX_LOCKBOX_WORKFLOW_ARGC,
                                           ngx_lockbox_workflow_answered,
                                           call);

    return call->command ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_lockbox_workflow_send_whole(ngx_lockbox_workflow_call_t *call)
{
    if (call->whole) {
        return NGX_DECLINED;
    }

    call->whole = 1;

    ngx_str_set(&call->argv[0], "EVAL");
    call->argv[1] = ngx_lockbox_workflow_script;

    return ngx_lockbox_workflow_send(call);
}


static void
ngx_lockbox_workflow_answered(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_workflow_call_t *call = data;

    call->command = NULL;

    if (ngx_lockbox_script_unknown(reply)
        && ngx_lockbox_workflow_send_whole(call) == NGX_OK)
    {
        return;
    }

    if (ngx_lockbox_workflow_read(call, reply) != NGX_OK) {
        ngx_memzero(&call->result, sizeof(ngx_lockbox_workflow_result_t));
        call->result.decision = NGX_LOCKBOX_STORE_UNAVAILABLE;
    }

    call->handler(call->data, &call->result);
}


static ngx_int_t
ngx_lockbox_workflow_read(ngx_lockbox_workflow_call_t *call,
    const ngx_lockbox_reply_t *reply)
{
    ngx_str_t  *action;

    action = &call->argv[3];

    if (reply == NULL) {
        /* the connection has said why */
        return NGX_ERROR;
    }

    if (reply->type == NGX_LOCKBOX_RESP_ERROR) {
        ngx_log_error(NGX_LOG_ERR, call->pool->log, 0,
                      "lockbox: Redis refused workflow action \"%V\": %V",
                      action, &reply->text);
        return NGX_ERROR;
    }

    if (call->read(call->pool, reply, &call->result) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, call->pool->log, 0,
                      "lockbox: no usable answer to workflow action \"%V\"",
                      action);
        return NGX_ERROR;
    }

    if (call->result.decision == NGX_LOCKBOX_INTERNAL_ERROR) {
        ngx_log_error(NGX_LOG_ERR, call->pool->log, 0,
                      "lockbox: workflow action \"%V\" was refused because "
                      "the clocks of this machine and of Redis are too far "
                      "apart", action);
    }

    return NGX_OK;
}


/* { result, fields, actions }, and what has just happened, if anything has */

static ngx_int_t
ngx_lockbox_workflow_read_request(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result)
{
    ngx_lockbox_reply_t  fields, actions, events;

    if (ngx_lockbox_workflow_decision(reply, result) != NGX_OK
        || ngx_lockbox_workflow_at(reply, 1, NGX_LOCKBOX_RESP_ARRAY, &fields)
           != NGX_OK
        || ngx_lockbox_workflow_at(reply, 2, NGX_LOCKBOX_RESP_ARRAY, &actions)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (fields.nelts == 0) {
        return (result->decision == NGX_LOCKBOX_ALLOW) ? NGX_ERROR : NGX_OK;
    }

    result->request = ngx_lockbox_json_own(pool, json_object());

    if (result->request == NULL
        || ngx_lockbox_workflow_fields(result->request, &fields) != NGX_OK
        || ngx_lockbox_workflow_actions(result->request, &actions) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_lockbox_workflow_at(reply, 3, NGX_LOCKBOX_RESP_ARRAY, &events)
        != NGX_OK
        || events.nelts == 0)
    {
        return NGX_OK;
    }

    return ngx_lockbox_workflow_events(pool, &events, result);
}


/* { result, cursor, { { fields, actions }, ... } } */

static ngx_int_t
ngx_lockbox_workflow_read_list(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result)
{
    size_t               i;
    ngx_lockbox_reply_t  page, entry;

    if (ngx_lockbox_workflow_decision(reply, result) != NGX_OK
        || ngx_lockbox_workflow_next(pool, reply, result) != NGX_OK
        || ngx_lockbox_workflow_at(reply, 2, NGX_LOCKBOX_RESP_ARRAY, &page)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    result->requests = ngx_lockbox_json_own(pool, json_array());
    if (result->requests == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < page.nelts; i++) {
        if (ngx_lockbox_workflow_at(&page, i, NGX_LOCKBOX_RESP_ARRAY, &entry)
            != NGX_OK
            || json_array_append_new(result->requests,
                                     ngx_lockbox_workflow_entry(&entry))
               != 0)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* { result, { { tenant, id }, ... } } */

static ngx_int_t
ngx_lockbox_workflow_read_due(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result)
{
    size_t               i;
    ngx_lockbox_reply_t  pairs, pair;

    if (ngx_lockbox_workflow_decision(reply, result) != NGX_OK
        || ngx_lockbox_workflow_at(reply, 1, NGX_LOCKBOX_RESP_ARRAY, &pairs)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    result->requests = ngx_lockbox_json_own(pool, json_array());
    if (result->requests == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < pairs.nelts; i++) {
        if (ngx_lockbox_workflow_at(&pairs, i, NGX_LOCKBOX_RESP_ARRAY, &pair)
            != NGX_OK
            || json_array_append_new(result->requests,
                                     ngx_lockbox_workflow_pair(&pair))
               != 0)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* { result, cursor, { { id, fields }, ... }, "gap" or "" } */

static ngx_int_t
ngx_lockbox_workflow_read_events(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result)
{
    ngx_lockbox_reply_t  page, gap;

    if (ngx_lockbox_workflow_decision(reply, result) != NGX_OK
        || ngx_lockbox_workflow_next(pool, reply, result) != NGX_OK
        || ngx_lockbox_workflow_at(reply, 2, NGX_LOCKBOX_RESP_ARRAY, &page)
           != NGX_OK
        || ngx_lockbox_workflow_at(reply, 3, NGX_LOCKBOX_RESP_STRING, &gap)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    result->gap = (gap.text.len != 0);

    return ngx_lockbox_workflow_events(pool, &page, result);
}


/* { result, cursor, { record, ... }, time, { worker, time, ... } } */

static ngx_int_t
ngx_lockbox_workflow_read_audit(ngx_pool_t *pool,
    const ngx_lockbox_reply_t *reply, ngx_lockbox_workflow_result_t *result)
{
    ngx_lockbox_reply_t  complete;

    if (ngx_lockbox_workflow_decision(reply, result) != NGX_OK
        || ngx_lockbox_workflow_next(pool, reply, result) != NGX_OK
        || ngx_lockbox_workflow_at(reply, 3, NGX_LOCKBOX_RESP_STRING,
                                   &complete)
           != NGX_OK
        || ngx_lockbox_workflow_text(pool, &complete.text, &result->complete)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    result->records = ngx_lockbox_workflow_texts(pool, reply, 2);
    result->silent = ngx_lockbox_workflow_texts(pool, reply, 4);

    return result->records != NULL && result->silent != NULL
           ? NGX_OK : NGX_ERROR;
}


/* The texts that element "i" of the reply is a list of, or NULL. */

static ngx_array_t *
ngx_lockbox_workflow_texts(ngx_pool_t *pool, const ngx_lockbox_reply_t *reply,
    size_t i)
{
    size_t                n;
    ngx_str_t            *text;
    ngx_array_t          *texts;
    ngx_lockbox_reply_t   list, element;

    if (ngx_lockbox_workflow_at(reply, i, NGX_LOCKBOX_RESP_ARRAY, &list)
        != NGX_OK)
    {
        return NULL;
    }

    texts = ngx_palloc(pool, sizeof(ngx_array_t));

    if (texts == NULL
        || ngx_array_init(texts, pool, list.nelts + 1, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    for (n = 0; n < list.nelts; n++) {
        text = ngx_array_push(texts);

        if (text == NULL
            || ngx_lockbox_workflow_at(&list, n, NGX_LOCKBOX_RESP_STRING,
                                       &element)
               != NGX_OK
            || ngx_lockbox_workflow_text(pool, &element.text, text) != NGX_OK)
        {
            return NULL;
        }
    }

    return texts;
}


/* A copy, which must outlive the reply, with a NUL behind it. */

static ngx_int_t
ngx_lockbox_workflow_text(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_str_t *copy)
{
    copy->len = text->len;
    copy->data = ngx_pnalloc(pool, text->len + 1);

    if (copy->data == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(copy->data, text->data, text->len) = '\0';

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_workflow_decision(const ngx_lockbox_reply_t *reply,
    ngx_lockbox_workflow_result_t *result)
{
    ngx_lockbox_reply_t                 word;
    const ngx_lockbox_workflow_word_t  *known;

    if (ngx_lockbox_workflow_at(reply, 0, NGX_LOCKBOX_RESP_STRING, &word)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (known = ngx_lockbox_workflow_words; known->text.len; known++) {
        if (known->text.len == word.text.len
            && ngx_memcmp(known->text.data, word.text.data, word.text.len)
               == 0)
        {
            result->decision = known->decision;
            result->stale = ngx_lockbox_text_is(&word.text, "stale_policy");
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_lockbox_workflow_next(ngx_pool_t *pool, const ngx_lockbox_reply_t *reply,
    ngx_lockbox_workflow_result_t *result)
{
    ngx_lockbox_reply_t  cursor;

    if (ngx_lockbox_workflow_at(reply, 1, NGX_LOCKBOX_RESP_STRING, &cursor)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_lockbox_workflow_text(pool, &cursor.text, &result->next);
}


static ngx_int_t
ngx_lockbox_workflow_events(ngx_pool_t *pool, const ngx_lockbox_reply_t *list,
    ngx_lockbox_workflow_result_t *result)
{
    size_t               i;
    ngx_lockbox_reply_t  entry;

    result->events = ngx_lockbox_json_own(pool, json_array());
    if (result->events == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < list->nelts; i++) {
        if (ngx_lockbox_workflow_at(list, i, NGX_LOCKBOX_RESP_ARRAY, &entry)
            != NGX_OK
            || json_array_append_new(result->events,
                                     ngx_lockbox_workflow_event(&entry))
               != 0)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* A new reference to the event that { id, fields } is, or NULL. */

static json_t *
ngx_lockbox_workflow_event(const ngx_lockbox_reply_t *entry)
{
    json_t               *event;
    ngx_lockbox_reply_t   id, fields;

    if (ngx_lockbox_workflow_at(entry, 0, NGX_LOCKBOX_RESP_STRING, &id)
        != NGX_OK
        || ngx_lockbox_workflow_at(entry, 1, NGX_LOCKBOX_RESP_ARRAY, &fields)
           != NGX_OK)
    {
        return NULL;
    }

    event = json_object();

    if (event == NULL
        || ngx_lockbox_workflow_fields(event, &fields) != NGX_OK
        || ngx_lockbox_json_set(event, "cursor",
                                ngx_lockbox_json_text(&id.text)) != NGX_OK)
    {
        json_decref(event);
        return NULL;
    }

    return event;
}


/* A new reference to the request that { fields, actions } is, or NULL. */

static json_t *
ngx_lockbox_workflow_entry(const ngx_lockbox_reply_t *entry)
{
    json_t               *request;
    ngx_lockbox_reply_t   fields, actions;

    if (ngx_lockbox_workflow_at(entry, 0, NGX_LOCKBOX_RESP_ARRAY, &fields)
        != NGX_OK
        || ngx_lockbox_workflow_at(entry, 1, NGX_LOCKBOX_RESP_ARRAY, &actions)
           != NGX_OK)
    {
        return NULL;
    }

    request = json_object();

    if (request == NULL
        || ngx_lockbox_workflow_fields(request, &fields) != NGX_OK
        || ngx_lockbox_workflow_actions(request, &actions) != NGX_OK)
    {
        json_decref(request);
        return NULL;
    }

    return request;
}


/* A new reference to {"tenant", "id"}, or NULL. */

static json_t *
ngx_lockbox_workflow_pair(const ngx_lockbox_reply_t *pair)
{
    json_t               *request;
    ngx_lockbox_reply_t   tenant, id;

    if (ngx_lockbox_workflow_at(pair, 0, NGX_LOCKBOX_RESP_STRING, &tenant)
        != NGX_OK
        || ngx_lockbox_workflow_at(pair, 1, NGX_LOCKBOX_RESP_STRING, &id)
           != NGX_OK)
    {
        return NULL;
    }

    request = json_object();

    if (request == NULL
        || ngx_lockbox_json_set(request, "tenant",
                                ngx_lockbox_json_text(&tenant.text))
           != NGX_OK
        || ngx_lockbox_json_set(request, "id", ngx_lockbox_json_text(&id.text))
           != NGX_OK)
    {
        json_decref(request);
        return NULL;
    }

    return request;
}


static ngx_int_t
ngx_lockbox_workflow_fields(json_t *request,
    const ngx_lockbox_reply_t *fields)
{
    char                 name[NGX_LOCKBOX_WORKFLOW_NAME + 1];
    size_t               i;
    ngx_lockbox_reply_t  field, value;

    for (i = 0; i < fields->nelts; i += 2) {
        if (ngx_lockbox_workflow_at(fields, i, NGX_LOCKBOX_RESP_STRING, &field)
            != NGX_OK
            || ngx_lockbox_workflow_at(fields, i + 1, NGX_LOCKBOX_RESP_STRING,
                                       &value)
               != NGX_OK
            || field.text.len > NGX_LOCKBOX_WORKFLOW_NAME)
        {
            return NGX_ERROR;
        }

        ngx_memcpy(name, field.text.data, field.text.len);
        name[field.text.len] = '\0';

        if (ngx_lockbox_json_set(request, name,
                                 ngx_lockbox_json_text(&value.text))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_workflow_actions(json_t *request,
    const ngx_lockbox_reply_t *actions)
{
    size_t                i;
    json_t               *names;
    ngx_lockbox_reply_t   action;

    names = json_array();

    if (ngx_lockbox_json_set(request, "actions", names) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < actions->nelts; i++) {
        if (ngx_lockbox_workflow_at(actions, i, NGX_LOCKBOX_RESP_STRING,
                                    &action)
            != NGX_OK
            || json_array_append_new(names,
                                     ngx_lockbox_json_text(&action.text))
               != 0)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_workflow_at(const ngx_lockbox_reply_t *reply, size_t i,
    ngx_lockbox_resp_type_e type, ngx_lockbox_reply_t *element)
{
    if (ngx_lockbox_resp_at(reply, i, element) != NGX_OK
        || element->type != type)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
