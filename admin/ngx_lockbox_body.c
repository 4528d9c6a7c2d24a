/*
 * What the bodies of admin calls say.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_body.h"
#include "ngx_lockbox_text.h"


#define NGX_LOCKBOX_BODY_JUSTIFICATION_MIN  10
#define NGX_LOCKBOX_BODY_JUSTIFICATION_MAX  2000
#define NGX_LOCKBOX_BODY_COMMENT_MAX        2000
#define NGX_LOCKBOX_BODY_TICKET_MAX         128
#define NGX_LOCKBOX_BODY_DURATION_MIN       60


static ngx_int_t ngx_lockbox_body_ticket(ngx_pool_t *pool,
    const json_t *body, const ngx_lockbox_body_limits_t *limits,
    ngx_str_t *ticket, ngx_lockbox_fault_t *fault);
static ngx_int_t ngx_lockbox_body_narrowing(ngx_pool_t *pool,
    const json_t *body, ngx_lockbox_body_step_t *step,
    ngx_lockbox_fault_t *fault);
static ngx_uint_t ngx_lockbox_body_prose(const ngx_str_t *text, size_t min,
    size_t max);


static const char *const  ngx_lockbox_body_reasons[] = {
    "customer_initiated_support", "vendor_initiated_service",
    "vendor_initiated_review", "third_party_data_request",
    "production_alert", NULL
};


static const char *const  ngx_lockbox_body_filing_members[] = {
    "justification", "reason", "ticket", "duration", "access", NULL
};

static const char *const  ngx_lockbox_body_approval_members[] = {
    "version", "comment", "access", "duration", NULL
};

static const char *const  ngx_lockbox_body_step_members[] = {
    "version", "comment", NULL
};

static const char *const  ngx_lockbox_body_grant_members[] = { NULL };


typedef struct {
    const char *const  *members;
    unsigned            version:1;    /* required */
    unsigned            comment:1;    /* required */
} ngx_lockbox_body_rule_t;


static const ngx_lockbox_body_rule_t  ngx_lockbox_body_rules[] = {
    [NGX_LOCKBOX_BODY_GRANT] = { ngx_lockbox_body_grant_members, 0, 0 },
    [NGX_LOCKBOX_BODY_STEP] = { ngx_lockbox_body_step_members, 0, 0 },
    [NGX_LOCKBOX_BODY_ANSWER] = { ngx_lockbox_body_step_members, 0, 1 },
    [NGX_LOCKBOX_BODY_DENIAL] = { ngx_lockbox_body_step_members, 1, 0 },
    [NGX_LOCKBOX_BODY_QUESTION] = { ngx_lockbox_body_step_members, 1, 1 },
    [NGX_LOCKBOX_BODY_APPROVAL] = { ngx_lockbox_body_approval_members, 1, 0 }
};


ngx_int_t
ngx_lockbox_body_filing(ngx_pool_t *pool, const json_t *body,
    const ngx_lockbox_body_limits_t *limits,
    ngx_lockbox_body_filing_t *filing, ngx_lockbox_fault_t *fault)
{
    ngx_int_t  rc;

    rc = ngx_lockbox_json_only(pool, body, ngx_lockbox_body_filing_members,
                               "", fault);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_lockbox_json_string(body, "justification", &filing->justification)
        != NGX_OK
        || !ngx_lockbox_body_prose(&filing->justification,
                                   NGX_LOCKBOX_BODY_JUSTIFICATION_MIN,
                                   NGX_LOCKBOX_BODY_JUSTIFICATION_MAX))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be a text of 10 to 2000 "
                                      "characters.", "/justification");
    }

    if (ngx_lockbox_json_string(body, "reason", &filing->reason) != NGX_OK
        || !ngx_lockbox_text_among(&filing->reason, ngx_lockbox_body_reasons))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be one of the reason codes.",
                                      "/reason");
    }

    if (ngx_lockbox_json_integer(body, "duration", &filing->duration) != NGX_OK
        || filing->duration < NGX_LOCKBOX_BODY_DURATION_MIN
        || filing->duration > limits->max_duration)
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be a whole number of seconds "
                                      "from 60 to the longest window.",
                                      "/duration");
    }

    rc = ngx_lockbox_body_ticket(pool, body, limits, &filing->ticket, fault);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_lockbox_scope_parse(pool, json_object_get(body, "access"),
                                   NGX_LOCKBOX_SCOPE_ACCESS, "/access",
                                   &filing->scope, fault);
}


static ngx_int_t
ngx_lockbox_body_ticket(ngx_pool_t *pool, const json_t *body,
    const ngx_lockbox_body_limits_t *limits, ngx_str_t *ticket,
    ngx_lockbox_fault_t *fault)
{
    ngx_int_t  rc;

    ngx_str_null(ticket);

    rc = ngx_lockbox_json_string(body, "ticket", ticket);

    if (rc == NGX_DECLINED && limits->ticket == NULL) {
        return NGX_OK;
    }

    /* one line: "$" in a pattern would take another one for the end, too */

    if (rc != NGX_OK
        || !ngx_lockbox_body_prose(ticket, 1, NGX_LOCKBOX_BODY_TICKET_MAX)
        || ngx_strlchr(ticket->data, ticket->data + ticket->len, LF) != NULL)
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be a line of 1 to 128 "
                                      "characters.", "/ticket");
    }

    if (limits->ticket != NULL
        && ngx_regex_exec(limits->ticket, ticket, NULL, 0) < 0)
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It is not in the form of a ticket.",
                                      "/ticket");
    }

    return NGX_OK;
}


ngx_int_t
ngx_lockbox_body_step(ngx_pool_t *pool, const json_t *body,
    ngx_lockbox_body_form_e form, ngx_lockbox_body_step_t *step,
    ngx_lockbox_fault_t *fault)
{
    ngx_int_t                       rc;
    const ngx_lockbox_body_rule_t  *rule;

    ngx_memzero(step, sizeof(ngx_lockbox_body_step_t));

    rule = &ngx_lockbox_body_rules[form];

    rc = ngx_lockbox_json_only(pool, body, rule->members, "", fault);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_lockbox_json_integer(body, "version", &step->version);

    if (rc == NGX_ERROR
        || (rc == NGX_OK && step->version < 1)
        || (rc == NGX_DECLINED && rule->version))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be the version that was "
                                      "decided on.", "/version");
    }

    rc = ngx_lockbox_json_string(body, "comment", &step->comment);

    if (rc == NGX_ERROR
        || (rc == NGX_DECLINED && rule->comment)
        || !ngx_lockbox_body_prose(&step->comment, 0,
                                   NGX_LOCKBOX_BODY_COMMENT_MAX))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be a text of 1 to 2000 "
                                      "characters.", "/comment");
    }

    return ngx_lockbox_body_narrowing(pool, body, step, fault);
}


static ngx_int_t
ngx_lockbox_body_narrowing(ngx_pool_t *pool, const json_t *body,
    ngx_lockbox_body_step_t *step, ngx_lockbox_fault_t *fault)
{
    ngx_int_t      rc;
    const json_t  *access;

    rc = ngx_lockbox_json_integer(body, "duration", &step->duration);

    if (rc == NGX_ERROR
        || (rc == NGX_OK && step->duration < NGX_LOCKBOX_BODY_DURATION_MIN))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be a whole number of seconds, "
                                      "60 or more.", "/duration");
    }

    access = json_object_get(body, "access");

    if (access == NULL) {
        return NGX_OK;
    }

    return ngx_lockbox_scope_parse(pool, access, NGX_LOCKBOX_SCOPE_ACCESS,
                                   "/access", &step->scope, fault);
}


/*
 * Whether the text has "min" to "max" characters, and none that would not
 * show.  The reader of the body has made sure that it is UTF-8.
 */

static ngx_uint_t
ngx_lockbox_body_prose(const ngx_str_t *text, size_t min, size_t max)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < text->len; i++) {
        if ((text->data[i] < 0x20 && text->data[i] != LF)
            || text->data[i] == 0x7f)
        {
            return 0;
        }

        n += (text->data[i] & 0xc0) != 0x80;
    }

    return n >= min && n <= max;
}
