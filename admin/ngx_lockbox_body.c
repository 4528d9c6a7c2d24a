/*
 * What the bodies of admin calls say.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_body.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_text.h"
#include "ngx_lockbox_unicode.h"


#define NGX_LOCKBOX_BODY_JUSTIFICATION_MIN  10
#define NGX_LOCKBOX_BODY_JUSTIFICATION_MAX  2000
#define NGX_LOCKBOX_BODY_COMMENT_MAX        2000
#define NGX_LOCKBOX_BODY_TICKET_MAX         128

/* What stands behind "Bearer" is a word, unless it is longer than this. */
#define NGX_LOCKBOX_BODY_WORD_MAX           19
#define NGX_LOCKBOX_BODY_DIGITS_MAX         7       /* and with a digit */


static ngx_int_t ngx_lockbox_body_ticket(ngx_pool_t *pool,
    const json_t *body, const ngx_lockbox_body_limits_t *limits,
    ngx_str_t *ticket, ngx_lockbox_fault_t *fault);
static ngx_int_t ngx_lockbox_body_narrowing(ngx_pool_t *pool,
    const json_t *body, ngx_lockbox_body_step_t *step,
    ngx_lockbox_fault_t *fault);
static const char *ngx_lockbox_body_prose(const ngx_str_t *text, size_t min,
    size_t max, const char *reason);
static ngx_uint_t ngx_lockbox_body_blank(uint32_t code);
static ngx_uint_t ngx_lockbox_body_secret(const ngx_str_t *text);
static ngx_uint_t ngx_lockbox_body_jws(const u_char *p, const u_char *end);
static const u_char *ngx_lockbox_body_part(const u_char *p,
    const u_char *end);
static ngx_uint_t ngx_lockbox_body_bearer(const u_char *p,
    const u_char *end);
static ngx_uint_t ngx_lockbox_body_among(u_char c, const char *others);


const char *const  ngx_lockbox_body_reasons[] = {
    "customer_initiated_support", "vendor_initiated_service",
    "vendor_initiated_review", "third_party_data_request",
    "production_alert", NULL
};


static const char *const  ngx_lockbox_body_filing_members[] = {
    "justification", "reason", "ticket", "duration", "access", "extends", NULL
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
    ngx_int_t    rc;
    const char  *wrong;

    rc = ngx_lockbox_json_only(pool, body, ngx_lockbox_body_filing_members,
                               "", fault);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_lockbox_json_string(body, "justification", &filing->justification)
        != NGX_OK)
    {
        ngx_str_null(&filing->justification);
    }

    wrong = ngx_lockbox_body_prose(&filing->justification,
                                   NGX_LOCKBOX_BODY_JUSTIFICATION_MIN,
                                   NGX_LOCKBOX_BODY_JUSTIFICATION_MAX,
                                   "It must be a text of 10 to 2000 "
                                   "characters.");
    if (wrong != NULL) {
        return ngx_lockbox_json_fault(pool, fault, wrong, "/justification");
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

    ngx_str_null(&filing->extends);

    rc = ngx_lockbox_json_string(body, "extends", &filing->extends);

    if (rc == NGX_ERROR
        || (rc == NGX_OK && !ngx_lockbox_id_valid(&filing->extends)))
    {
        return ngx_lockbox_json_fault(pool, fault,
                                      "It must be the id of a request.",
                                      "/extends");
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
    ngx_int_t    rc;
    const char  *wrong;

    ngx_str_null(ticket);

    rc = ngx_lockbox_json_string(body, "ticket", ticket);

    if (rc == NGX_DECLINED && limits->ticket == NULL) {
        return NGX_OK;
    }

    wrong = "It must be a line of 1 to 128 characters.";

    /* one line: "$" in a pattern would take another one for the end, too */

    if (rc == NGX_OK
        && ngx_strlchr(ticket->data, ticket->data + ticket->len, LF) == NULL)
    {
        wrong = ngx_lockbox_body_prose(ticket, 1, NGX_LOCKBOX_BODY_TICKET_MAX,
                                       wrong);
    }

    if (wrong != NULL) {
        return ngx_lockbox_json_fault(pool, fault, wrong, "/ticket");
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
    const char                     *wrong;
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

    wrong = "It must be a text of 1 to 2000 characters.";

    if (rc == NGX_OK || (rc == NGX_DECLINED && !rule->comment)) {
        wrong = ngx_lockbox_body_prose(&step->comment, 0,
                                       NGX_LOCKBOX_BODY_COMMENT_MAX, wrong);
    }

    if (wrong != NULL) {
        return ngx_lockbox_json_fault(pool, fault, wrong, "/comment");
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
 * NULL when the text has "min" to "max" characters, which are not all blank,
 * none of which is hidden, and no credential among them; else why not, which
 * is "reason" for its length.  The reader of the body has made sure that it is
 * UTF-8.
 */

static const char *
ngx_lockbox_body_prose(const ngx_str_t *text, size_t min, size_t max,
    const char *reason)
{
    size_t         n;
    uint32_t       code;
    ngx_uint_t     shows;
    const u_char  *p, *end;

    if (text->len == 0) {
        return min == 0 ? NULL : reason;
    }

    n = 0;
    shows = 0;
    end = text->data + text->len;

    for (p = text->data; p < end; n++) {
        p += ngx_lockbox_unicode_decode(p, end, &code);

        if ((code < 0x20 && code != LF) || ngx_lockbox_unicode_hidden(code)) {
            return "It has a character that does not show, or that changes "
                   "how others show.";
        }

        shows |= !ngx_lockbox_body_blank(code);
    }

    if (n < min || n > max) {
        return reason;
    }

    if (!shows) {
        return "It is blank.";
    }

    return ngx_lockbox_body_secret(text)
           ? "It has what looks like a token, and that must not be stored: "
             "leave it out."
           : NULL;
}


/* The spaces of Unicode (White_Space), and the pattern without a dot. */

static ngx_uint_t
ngx_lockbox_body_blank(uint32_t code)
{
    return code == LF || code == ' ' || code == 0xa0 || code == 0x1680
           || (code >= 0x2000 && code <= 0x200a) || code == 0x202f
           || code == 0x205f || code == 0x2800 || code == 0x3000;
}


/* Whether there is a JWS in it, or what stands behind "Bearer". */

static ngx_uint_t
ngx_lockbox_body_secret(const ngx_str_t *text)
{
    const u_char  *p, *end;

    end = text->data + text->len;

    for (p = text->data; p < end; p++) {
        if (ngx_lockbox_body_jws(p, end) || ngx_lockbox_body_bearer(p, end)) {
            return 1;
        }
    }

    return 0;
}


/* "eyJ" is how '{"' begins in base64; a token that was wrapped is one, too. */

static ngx_uint_t
ngx_lockbox_body_jws(const u_char *p, const u_char *end)
{
    ngx_uint_t     i;
    const u_char  *part;

    if (end - p < 3 || ngx_memcmp(p, "eyJ", 3) != 0) {
        return 0;
    }

    for (i = 0; i < 2; i++) {
        part = p;
        p = ngx_lockbox_body_part(p, end);

        if (p == part || p == end || *p++ != '.') {
            return 0;
        }
    }

    return 1;
}


static const u_char *
ngx_lockbox_body_part(const u_char *p, const u_char *end)
{
    while (p < end && ngx_lockbox_body_among(*p, "-_\n")) {
        p++;
    }

    return p;
}


/* The scheme and a token68 (RFC 9110 section 11.2) that is no word. */

static ngx_uint_t
ngx_lockbox_body_bearer(const u_char *p, const u_char *end)
{
    size_t                  n, digits;
    static const ngx_str_t  scheme = ngx_string("bearer");

    if ((size_t) (end - p) <= scheme.len
        || ngx_strncasecmp((u_char *) p, scheme.data, scheme.len) != 0)
    {
        return 0;
    }

    p += scheme.len;

    if (ngx_strchr(" :\n", *p) == NULL) {
        return 0;
    }

    while (p < end && ngx_strchr(" :\n", *p) != NULL) {
        p++;
    }

    digits = 0;

    for (n = 0; p < end && ngx_lockbox_body_among(*p, "-._~+/="); n++, p++) {
        digits += *p >= '0' && *p <= '9';
    }

    return n > NGX_LOCKBOX_BODY_WORD_MAX
           || (digits != 0 && n > NGX_LOCKBOX_BODY_DIGITS_MAX);
}


/* Letters, digits and these. */

static ngx_uint_t
ngx_lockbox_body_among(u_char c, const char *others)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9') || ngx_strchr(others, c) != NULL;
}
