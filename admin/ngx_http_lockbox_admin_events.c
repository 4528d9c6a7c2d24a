/*
 * Events: what they look like, and a page of them.
 */

#include "ngx_http_lockbox_admin_events.h"
#include "ngx_http_lockbox_admin_query.h"
#include "ngx_lockbox_json.h"


#define NGX_HTTP_LOCKBOX_EVENTS_PAGE  50

/* The letters of the name of an event. */
#define NGX_HTTP_LOCKBOX_EVENT        "abcdefghijklmnopqrstuvwxyz_"


typedef enum {
    NGX_HTTP_LOCKBOX_EVENT_TEXT = 0,
    NGX_HTTP_LOCKBOX_EVENT_NUMBER,
    NGX_HTTP_LOCKBOX_EVENT_TIME
} ngx_http_lockbox_event_type_e;


typedef struct {
    const char                     *member;
    const char                     *field;
    ngx_http_lockbox_event_type_e   type;
} ngx_http_lockbox_event_member_t;


typedef struct {
    ngx_str_t                       cursor;
    int64_t                         limit;
} ngx_http_lockbox_events_query_t;


static json_t *ngx_http_lockbox_event_kind(const json_t *fields);
static json_t *ngx_http_lockbox_event_data(const json_t *fields);
static json_t *ngx_http_lockbox_event_value(const char *text,
    ngx_http_lockbox_event_type_e type);
static json_t *ngx_http_lockbox_event_person(const json_t *fields,
    const char *iss, const char *sub);
static void ngx_http_lockbox_events_page(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);


/* The members of "data" and the fields that they come from, where there. */

static const ngx_http_lockbox_event_member_t  ngx_http_lockbox_event[] = {
    { "event", "event", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "tenant", "tenant", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "request", "id", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "state", "state", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "version", "version", NGX_HTTP_LOCKBOX_EVENT_NUMBER },
    { "stage", "stage", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "opens", "opens", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "settles", "settles", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "preapproval", "preapproval", NGX_HTTP_LOCKBOX_EVENT_TEXT },
    { "at", "at", NGX_HTTP_LOCKBOX_EVENT_TIME },
    { NULL, NULL, NGX_HTTP_LOCKBOX_EVENT_TEXT }
};


static const ngx_lockbox_query_parameter_t  ngx_http_lockbox_events_query[] =
{
    { "cursor", NGX_LOCKBOX_QUERY_TEXT,
      offsetof(ngx_http_lockbox_events_query_t, cursor),
      NULL, 0, NGX_HTTP_LOCKBOX_CURSOR_MAX },

    { "limit", NGX_LOCKBOX_QUERY_NUMBER,
      offsetof(ngx_http_lockbox_events_query_t, limit),
      NULL, 1, NGX_HTTP_LOCKBOX_EVENTS_MAX },

    { NULL, NGX_LOCKBOX_QUERY_WORD, 0, NULL, 0, 0 }
};


json_t *
ngx_http_lockbox_admin_event(const ngx_str_t *source, const json_t *fields)
{
    json_t  *event, *id, *subject, *time;

    id = json_object_get(fields, "id");
    subject = id != NULL ? id : json_object_get(fields, "tenant");
    time = json_object_get(fields, "at");

    event = json_object();

    if (ngx_lockbox_json_set(event, "specversion", json_string("1.0"))
        != NGX_OK
        || ngx_lockbox_json_set(event, "id",
                                json_incref(json_object_get(fields, "cursor")))
           != NGX_OK
        || ngx_lockbox_json_set(event, "source",
                                ngx_lockbox_json_text(source)) != NGX_OK
        || ngx_lockbox_json_set(event, "type",
                                ngx_http_lockbox_event_kind(fields)) != NGX_OK
        || ngx_lockbox_json_set(event, "time",
               ngx_http_lockbox_event_value(json_string_value(time),
                                            NGX_HTTP_LOCKBOX_EVENT_TIME))
           != NGX_OK
        || ngx_lockbox_json_set(event, "subject", json_incref(subject))
           != NGX_OK
        || ngx_lockbox_json_set(event, "datacontenttype",
                                json_string("application/json")) != NGX_OK
        || ngx_lockbox_json_set(event, "data",
                                ngx_http_lockbox_event_data(fields)) != NGX_OK)
    {
        json_decref(event);
        return NULL;
    }

    return event;
}


/* "approved" of a request, or what is said of nothing but a tenant. */

static json_t *
ngx_http_lockbox_event_kind(const json_t *fields)
{
    u_char       kind[64], *p, *last;
    ngx_str_t    text;
    const char  *name;

    name = json_string_value(json_object_get(fields, "event"));

    if (name == NULL || strspn(name, NGX_HTTP_LOCKBOX_EVENT) != strlen(name)) {
        return NULL;
    }

    last = kind + sizeof(kind);

    if (json_object_get(fields, "id") != NULL) {
        p = ngx_slprintf(kind, last, "lockbox.request.%s", name);

    } else {
        p = ngx_slprintf(kind, last, "lockbox.%s", name);
    }

    text.data = kind;
    text.len = (size_t) (p - kind);

    p = ngx_strlchr(kind, p, '_');

    if (p != NULL) {
        *p = '.';
    }

    return ngx_lockbox_json_text(&text);
}


static json_t *
ngx_http_lockbox_event_data(const json_t *fields)
{
    json_t                                 *data;
    const char                             *text;
    const ngx_http_lockbox_event_member_t  *member;

    data = json_object();

    for (member = ngx_http_lockbox_event; member->member != NULL; member++) {
        text = json_string_value(json_object_get(fields, member->field));

        if (text != NULL
            && ngx_lockbox_json_set(data, member->member,
                             ngx_http_lockbox_event_value(text, member->type))
               != NGX_OK)
        {
            json_decref(data);
            return NULL;
        }
    }

    if (ngx_lockbox_json_set(data, "actor",
                         ngx_http_lockbox_event_person(fields, "iss", "sub"))
        != NGX_OK
        || (json_object_get(fields, "engineer_iss") != NULL
            && ngx_lockbox_json_set(data, "engineer",
                             ngx_http_lockbox_event_person(fields,
                                                           "engineer_iss",
                                                           "engineer_sub"))
               != NGX_OK))
    {
        json_decref(data);
        return NULL;
    }

    return data;
}


static json_t *
ngx_http_lockbox_event_value(const char *text,
    ngx_http_lockbox_event_type_e type)
{
    ngx_int_t  n;

    if (text == NULL) {
        return NULL;
    }

    if (type == NGX_HTTP_LOCKBOX_EVENT_TEXT) {
        return json_string(text);
    }

    n = ngx_atoi((u_char *) text, ngx_strlen(text));

    if (n == NGX_ERROR) {
        return NULL;
    }

    return type == NGX_HTTP_LOCKBOX_EVENT_TIME
           ? ngx_http_lockbox_admin_view_time(n) : json_integer(n);
}


/* What happens by itself is nobody's. */

static json_t *
ngx_http_lockbox_event_person(const json_t *fields, const char *iss,
    const char *sub)
{
    const char  *issuer, *subject;

    issuer = json_string_value(json_object_get(fields, iss));
    subject = json_string_value(json_object_get(fields, sub));

    if (issuer == NULL || subject == NULL) {
        return NULL;
    }

    if (*issuer == '\0' && *subject == '\0') {
        return json_null();
    }

    return json_pack("{s:s, s:s}", "iss", issuer, "sub", subject);
}


/* ASCII: what would not show on somebody's screen, or turn it around, does. */

ngx_int_t
ngx_http_lockbox_admin_event_text(ngx_pool_t *pool, json_t *event,
    ngx_str_t *text)
{
    size_t     size;
    ngx_int_t  rc;

    if (event == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;
    size = json_dumpb(event, NULL, 0, JSON_COMPACT|JSON_ENSURE_ASCII);

    text->len = size;
    text->data = ngx_pnalloc(pool, size + 1);

    if (size != 0
        && text->data != NULL
        && json_dumpb(event, (char *) text->data, size,
                      JSON_COMPACT|JSON_ENSURE_ASCII)
           == size)
    {
        rc = NGX_OK;
    }

    json_decref(event);

    return rc;
}


json_t *
ngx_http_lockbox_admin_events_args(const ngx_lockbox_identity_t *identity,
    const ngx_str_t *cursor, ngx_uint_t limit, ngx_uint_t latest)
{
    json_t  *args;

    args = json_pack("{s:o, s:I, s:b}",
                     "actor", ngx_http_lockbox_admin_actor(identity),
                     "limit", (json_int_t) limit,
                     "latest", (int) latest);

    if (cursor->len != 0
        && ngx_lockbox_json_set(args, "cursor", ngx_lockbox_json_text(cursor))
           != NGX_OK)
    {
        json_decref(args);
        return NULL;
    }

    return args;
}


void
ngx_http_lockbox_admin_events(ngx_http_lockbox_admin_call_t *call)
{
    ngx_lockbox_fault_t              fault;
    ngx_http_lockbox_events_query_t  query;

    ngx_memzero(&query, sizeof(ngx_http_lockbox_events_query_t));

    if (ngx_http_lockbox_admin_query(call, ngx_http_lockbox_events_query,
                                     &query)
        != NGX_OK)
    {
        return;
    }

    if (ngx_http_lockbox_admin_prefers(call, "text/event-stream")) {

        if (query.limit != 0) {
            ngx_str_set(&fault.member, "limit");
            fault.reason = "A stream has no pages.";
            ngx_http_lockbox_admin_refuse_member(call, &fault);
            return;
        }

        ngx_http_lockbox_admin_stream(call, &query.cursor);
        return;
    }

    if (query.limit == 0) {
        query.limit = NGX_HTTP_LOCKBOX_EVENTS_PAGE;
    }

    ngx_http_lockbox_admin_step(call, "events",
                      ngx_http_lockbox_admin_events_args(&call->identity,
                                                         &query.cursor,
                                                         (ngx_uint_t)
                                                         query.limit, 0),
                      ngx_http_lockbox_events_page);
}


static void
ngx_http_lockbox_events_page(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    size_t                         i;
    json_t                        *list, *page;
    ngx_lockbox_fault_t            fault;
    ngx_http_lockbox_main_conf_t  *mcf;

    if (result->decision == NGX_LOCKBOX_INVALID_MEMBER) {
        ngx_str_set(&fault.member, "cursor");
        fault.reason = "The cursor does not come from here.";
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    mcf = ngx_http_get_module_main_conf(call->request,
                                        ngx_http_lockbox_module);
    list = json_array();

    for (i = 0; i < json_array_size(result->events); i++) {
        if (json_array_append_new(list,
                ngx_http_lockbox_admin_event(&mcf->grant_issuer,
                                          json_array_get(result->events, i)))
            != 0)
        {
            json_decref(list);
            list = NULL;
            break;
        }
    }

    page = json_pack("{s:o, s:o}", "events", list,
                     "next", ngx_lockbox_json_text(&result->next));

    if (result->gap
        && ngx_lockbox_json_set(page, "gap", json_true()) != NGX_OK)
    {
        json_decref(page);
        page = NULL;
    }

    ngx_http_lockbox_admin_answer(call, NGX_HTTP_OK, page);
}
