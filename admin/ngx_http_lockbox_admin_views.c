/*
 * What the calls show.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_record.h"


#define NGX_HTTP_LOCKBOX_DECISIONS_MAX  100


typedef enum {
    NGX_HTTP_LOCKBOX_VIEW_TEXT = 0,
    NGX_HTTP_LOCKBOX_VIEW_STAGE,      /* null for none */
    NGX_HTTP_LOCKBOX_VIEW_NUMBER,
    NGX_HTTP_LOCKBOX_VIEW_TIME,       /* null while it has not happened */
    NGX_HTTP_LOCKBOX_VIEW_JSON,
    NGX_HTTP_LOCKBOX_VIEW_ENGINEER,
    NGX_HTTP_LOCKBOX_VIEW_DECISIONS,
    NGX_HTTP_LOCKBOX_VIEW_ACTIONS
} ngx_http_lockbox_view_type_e;


typedef struct {
    const char                    *member;
    ngx_http_lockbox_view_type_e   type;
    unsigned                       optional:1;
} ngx_http_lockbox_view_member_t;


static json_t *ngx_http_lockbox_view_value(const json_t *fields,
    const ngx_http_lockbox_view_member_t *member);
static json_t *ngx_http_lockbox_view_number(const char *text);
static json_t *ngx_http_lockbox_view_engineer(const json_t *fields);
static json_t *ngx_http_lockbox_view_decisions(const json_t *fields);
static json_t *ngx_http_lockbox_view_decision(const char *text);


/* The members of a request, in the order in which they are shown. */

static const ngx_http_lockbox_view_member_t  ngx_http_lockbox_view[] = {
    { "id", NGX_HTTP_LOCKBOX_VIEW_TEXT, 0 },
    { "tenant", NGX_HTTP_LOCKBOX_VIEW_TEXT, 0 },
    { "state", NGX_HTTP_LOCKBOX_VIEW_TEXT, 0 },
    { "version", NGX_HTTP_LOCKBOX_VIEW_NUMBER, 0 },
    { "engineer", NGX_HTTP_LOCKBOX_VIEW_ENGINEER, 0 },
    { "justification", NGX_HTTP_LOCKBOX_VIEW_TEXT, 0 },
    { "reason", NGX_HTTP_LOCKBOX_VIEW_TEXT, 0 },
    { "ticket", NGX_HTTP_LOCKBOX_VIEW_TEXT, 1 },
    { "extends", NGX_HTTP_LOCKBOX_VIEW_TEXT, 1 },
    { "duration", NGX_HTTP_LOCKBOX_VIEW_NUMBER, 0 },
    { "access", NGX_HTTP_LOCKBOX_VIEW_JSON, 0 },
    { "created_at", NGX_HTTP_LOCKBOX_VIEW_TIME, 0 },
    { "asked_by_stage", NGX_HTTP_LOCKBOX_VIEW_STAGE, 0 },
    { "answer_by", NGX_HTTP_LOCKBOX_VIEW_TIME, 0 },
    { "lapses_at", NGX_HTTP_LOCKBOX_VIEW_TIME, 0 },
    { "approved_at", NGX_HTTP_LOCKBOX_VIEW_TIME, 0 },
    { "starts_at", NGX_HTTP_LOCKBOX_VIEW_TIME, 0 },
    { "expires_at", NGX_HTTP_LOCKBOX_VIEW_TIME, 0 },
    { "ended_at", NGX_HTTP_LOCKBOX_VIEW_TIME, 0 },
    { "decisions", NGX_HTTP_LOCKBOX_VIEW_DECISIONS, 0 },
    { "actions", NGX_HTTP_LOCKBOX_VIEW_ACTIONS, 0 },
    { NULL, NGX_HTTP_LOCKBOX_VIEW_TEXT, 0 }
};


json_t *
ngx_http_lockbox_admin_view(const json_t *fields)
{
    json_t                                *view, *value;
    const ngx_http_lockbox_view_member_t  *member;

    view = json_object();

    for (member = ngx_http_lockbox_view; member->member != NULL; member++) {

        if (member->optional
            && json_object_get(fields, member->member) == NULL)
        {
            continue;
        }

        value = ngx_http_lockbox_view_value(fields, member);

        if (ngx_lockbox_json_set(view, member->member, value) != NGX_OK) {
            json_decref(view);
            return NULL;
        }
    }

    return view;
}


static json_t *
ngx_http_lockbox_view_value(const json_t *fields,
    const ngx_http_lockbox_view_member_t *member)
{
    json_t      *number;
    int64_t      msec;
    const char  *text;

    text = json_string_value(json_object_get(fields, member->member));

    switch (member->type) {

    case NGX_HTTP_LOCKBOX_VIEW_TEXT:
        return text != NULL ? json_string(text) : NULL;

    case NGX_HTTP_LOCKBOX_VIEW_STAGE:
        return text != NULL && *text != '\0' ? json_string(text)
                                             : json_null();

    case NGX_HTTP_LOCKBOX_VIEW_NUMBER:
        return ngx_http_lockbox_view_number(text);

    case NGX_HTTP_LOCKBOX_VIEW_TIME:
        if (text == NULL || *text == '\0') {
            return json_null();
        }

        number = ngx_http_lockbox_view_number(text);
        msec = json_integer_value(number);
        json_decref(number);

        return number != NULL ? ngx_http_lockbox_admin_view_time(msec) : NULL;

    case NGX_HTTP_LOCKBOX_VIEW_JSON:
        return text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, NULL)
                            : NULL;

    case NGX_HTTP_LOCKBOX_VIEW_ENGINEER:
        return ngx_http_lockbox_view_engineer(fields);

    case NGX_HTTP_LOCKBOX_VIEW_DECISIONS:
        return ngx_http_lockbox_view_decisions(fields);

    default: /* NGX_HTTP_LOCKBOX_VIEW_ACTIONS */
        return json_incref(json_object_get(fields, "actions"));
    }
}


static json_t *
ngx_http_lockbox_view_number(const char *text)
{
    ngx_int_t  n;

    if (text == NULL) {
        return NULL;
    }

    n = ngx_atoi((u_char *) text, ngx_strlen(text));

    return n != NGX_ERROR ? json_integer(n) : NULL;
}


json_t *
ngx_http_lockbox_admin_view_time(int64_t msec)
{
    u_char  text[NGX_LOCKBOX_TIME_LEN];

    (void) ngx_lockbox_record_time(text, msec);

    return json_stringn((char *) text, NGX_LOCKBOX_TIME_LEN);
}


static json_t *
ngx_http_lockbox_view_engineer(const json_t *fields)
{
    return json_pack("{s:O, s:O}",
                     "iss", json_object_get(fields, "engineer_iss"),
                     "sub", json_object_get(fields, "engineer_sub"));
}


/* The first decision is the filing: who and when stand above already. */

static json_t *
ngx_http_lockbox_view_decisions(const json_t *fields)
{
    char         name[sizeof("decision:") + NGX_INT_T_LEN];
    json_t      *decisions;
    ngx_int_t    i, n;
    const char  *text;

    text = json_string_value(json_object_get(fields, "decisions"));
    n = text != NULL ? ngx_atoi((u_char *) text, ngx_strlen(text)) : NGX_ERROR;

    if (n < 1 || n > NGX_HTTP_LOCKBOX_DECISIONS_MAX) {
        return NULL;
    }

    decisions = json_array();

    for (i = 1; i < n; i++) {
        *ngx_sprintf((u_char *) name, "decision:%i", i) = '\0';

        text = json_string_value(json_object_get(fields, name));

        if (json_array_append_new(decisions,
                                  ngx_http_lockbox_view_decision(text))
            != 0)
        {
            json_decref(decisions);
            return NULL;
        }
    }

    return decisions;
}


/* What a decision is verified by is for the module alone. */

static json_t *
ngx_http_lockbox_view_decision(const char *text)
{
    json_t  *decision;

    if (text == NULL) {
        return NULL;
    }

    decision = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    (void) json_object_del(decision, "seal");
    (void) json_object_del(decision, "token_hash");

    return decision;
}


void
ngx_http_lockbox_admin_refuse_result(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    json_t  *more, *version;

    more = NULL;

    if (result->decision == NGX_LOCKBOX_CONFLICT && result->request != NULL) {
        version = ngx_http_lockbox_view_number(
              json_string_value(json_object_get(result->request, "version")));

        more = json_pack("{s:O, s:o}",
                         "state", json_object_get(result->request, "state"),
                         "version", version);
    }

    ngx_http_lockbox_admin_refuse(call, result->decision, NULL, more);

    json_decref(more);
}
