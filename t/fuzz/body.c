/*
 * Bodies of the admin calls.
 *
 * The first line has two letters: the form, "f" for a filing, "a" for an
 * approval, "d" for a denial, "q" for a question, "r" for its answer, "s" for
 * another step, "g" for a grant; and "t" if tickets have a pattern.  Then comes
 * the body.
 */

/* links: ngx_lockbox_body.c ngx_lockbox_scope.c ngx_lockbox_json.c */
/* links: ngx_lockbox_name.c ngx_lockbox_path.c ngx_lockbox_base64url.c */
/* links: ngx_lockbox_unicode.c */

#include "ngx_lockbox_body.h"
#include "ngx_lockbox_name.h"
#include "ngx_lockbox_path.h"
#include "ngx_lockbox_unicode.h"
#include "json.h"


static const char *const  mutate_lines[] = {
    "f", "ft", "a", "d", "q", "r", "s", "g", NULL
};

static const char *const  mutate_names[] = {
    "justification", "reason", "ticket", "duration", "access", "version",
    "comment", "extends", "service", "methods", "paths", "labels", "type", "x", NULL
};

#include "mutate.h"


#define MAX_DURATION  14400


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    json_object_seed(1);

    return 0;
}


/* Any pattern: a ticket has to begin with "SR-". */

ngx_int_t
ngx_regex_exec(ngx_regex_t *re, ngx_str_t *s, int *captures, ngx_uint_t size)
{
    fuzz_check(re != NULL && captures == NULL && size == 0);

    return s->len > 3 && ngx_memcmp(s->data, "SR-", 3) == 0 ? 0 : -1;
}


/*
 * 1 if the member is a text of so many characters that show.  JSON has no
 * other line ends than those of a text here.
 */

/* The table is that of the audit log, which has a test of its own. */

static ngx_uint_t
is_hiding(const char *text)
{
    size_t         len;
    uint32_t       code;
    const u_char  *p;

    len = strlen(text);
    p = (const u_char *) text;

    while (*p) {
        p += ngx_lockbox_unicode_decode(p, (const u_char *) text + len, &code);

        if (ngx_lockbox_unicode_hidden(code)) {
            return 1;
        }
    }

    return 0;
}


/* Nothing but what Unicode calls white space, or a pattern without a dot. */

static ngx_uint_t
is_blank(const char *text)
{
    size_t       i;
    const char  *p, *end;

    static const char *const  blanks[] = {
        " ", "\n", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
        "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
        "\u202f", "\u205f", "\u2800", "\u3000"
    };

    for (p = text; *p; p = end) {
        end = p;

        for (i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++) {
            if (strncmp(p, blanks[i], strlen(blanks[i])) == 0) {
                end = p + strlen(blanks[i]);
            }
        }

        if (end == p) {
            return 0;
        }
    }

    return 1;
}


/* A token, by the spans of the C library. */

static ngx_uint_t
is_telling(const char *text)
{
    size_t       n, m;
    const char  *p;

#define DIGITS   "0123456789"
#define LETTERS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

    for (p = strstr(text, "eyJ"); p; p = strstr(p + 1, "eyJ")) {
        n = strspn(p, LETTERS DIGITS "-_\n");
        m = p[n] == '.' ? strspn(p + n + 1, LETTERS DIGITS "-_\n") : 0;

        if (m != 0 && p[n + 1 + m] == '.') {
            return 1;
        }
    }

    for (p = strcasestr(text, "bearer"); p; p = strcasestr(p + 1, "bearer")) {
        n = strspn(p + 6, " :\n");
        m = strspn(p + 6 + n, LETTERS DIGITS "-._~+/=");

        if (n != 0
            && (m >= 20 || (m >= 8 && strcspn(p + 6 + n, DIGITS) < m)))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
is_prose(const json_t *body, const char *name, size_t min, size_t max)
{
    size_t       n;
    const char  *p;

    if (!json_has_text(body, name)) {
        return 0;
    }

    n = 0;

    for (p = json_string_value(json_object_get(body, name)); *p; p++) {
        if ((*p > 0 && *p < ' ' && *p != '\n') || *p == 0x7f) {
            return 0;
        }

        n += *p >= 0 || (unsigned char) *p >= 0xc0;
    }

    p = json_string_value(json_object_get(body, name));

    return n >= min && n <= max && !is_hiding(p) && (*p == 0 || !is_blank(p))
           && !is_telling(p);
}


static ngx_uint_t
is_id(const json_t *body, const char *name)
{
    const char  *p, *form;

    p = json_string_value(json_object_get(body, name));

    if (p == NULL || strlen(p) != 36) {
        return 0;
    }

    for (form = "xxxxxxxx-xxxx-7xxx-8xxx-xxxxxxxxxxxx"; *form; form++, p++) {
        if (!strchr(*form == 'x' ? "0123456789abcdef"
                    : *form == '8' ? "89ab" : *form == '7' ? "7" : "-", *p))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
is_number(const json_t *body, const char *name, json_int_t min,
    json_int_t max)
{
    json_t  *value;

    value = json_object_get(body, name);

    return json_is_integer(value) && json_integer_value(value) >= min
           && json_integer_value(value) <= max;
}


static ngx_uint_t
is_missing(const json_t *body, const char *name)
{
    return json_object_get(body, name) == NULL;
}


static ngx_uint_t
is_name(const ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (!islower(text->data[i]) && !isdigit(text->data[i])
            && (i == 0 || !strchr("._-", text->data[i])))
        {
            return 0;
        }
    }

    return text->len >= 1 && text->len <= 64;
}


static ngx_uint_t
is_method(const ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (!isupper(text->data[i]) && !strchr("-_", text->data[i])) {
            return 0;
        }
    }

    return text->len >= 1 && text->len <= 32 && !fuzz_is(text, "CONNECT")
           && !fuzz_is(text, "TRACE") && !fuzz_is(text, "HEAD");
}


/* The path rule has a target of its own. */

static ngx_uint_t
is_path(const ngx_str_t *text)
{
    return ngx_lockbox_path_canonical(text);
}


static ngx_uint_t
is_list(const json_t *item, const char *name, size_t min,
    ngx_uint_t (*is_good)(const ngx_str_t *text))
{
    size_t         i, j;
    json_t        *value;
    ngx_str_t      text;
    const json_t  *list;

    list = json_object_get(item, name);

    if (list == NULL) {
        return min == 0;
    }

    if (!json_is_array(list) || json_array_size(list) < min
        || json_array_size(list) > 16)
    {
        return 0;
    }

    json_array_foreach(list, i, value) {
        text.data = (u_char *) json_string_value(value);
        text.len = json_string_length(value);

        if (!json_is_string(value) || !is_good(&text)) {
            return 0;
        }

        for (j = 0; j < i; j++) {
            if (json_equal(json_array_get(list, j), value)) {
                return 0;
            }
        }
    }

    return 1;
}


static ngx_uint_t
is_access(const json_t *body)
{
    size_t         i;
    json_t        *item;
    ngx_str_t      service;
    const json_t  *list;

    list = json_object_get(body, "access");

    if (!json_is_array(list) || json_array_size(list) == 0
        || json_array_size(list) > 32)
    {
        return 0;
    }

    json_array_foreach(list, i, item) {
        service = json_text_of(item, "service");

        if (!is_name(&service)
            || !is_list(item, "methods", 1, is_method)
            || !is_list(item, "paths", 1, is_path)
            || !is_list(item, "labels", 0, is_name)
            || json_object_size(item)
               != (size_t) 3 + !is_missing(item, "labels"))
        {
            return 0;
        }
    }

    return 1;
}


/* A filing once more, by the words of the manual. */

static ngx_uint_t
is_filing(const json_t *body, ngx_uint_t pattern)
{
    size_t       members;
    const char  *ticket;

    members = 4;
    ticket = json_string_value(json_object_get(body, "ticket"));

    if (!is_missing(body, "ticket")) {
        members++;

        if (!is_prose(body, "ticket", 1, 128) || strchr(ticket, '\n')
            || (pattern && (strncmp(ticket, "SR-", 3) != 0 || !ticket[3])))
        {
            return 0;
        }

    } else if (pattern) {
        return 0;
    }

    if (!is_missing(body, "extends")) {
        members++;

        if (!is_id(body, "extends")) {
            return 0;
        }
    }

    return json_object_size(body) == members
           && is_prose(body, "justification", 10, 2000)
           && (json_is_text(body, "reason", "customer_initiated_support")
               || json_is_text(body, "reason", "vendor_initiated_service")
               || json_is_text(body, "reason", "vendor_initiated_review")
               || json_is_text(body, "reason", "third_party_data_request")
               || json_is_text(body, "reason", "production_alert"))
           && is_number(body, "duration", 60, MAX_DURATION)
           && is_access(body);
}


static ngx_uint_t
is_step(const json_t *body, ngx_lockbox_body_form_e form)
{
    size_t  members;

    members = 0;

    if (form != NGX_LOCKBOX_BODY_GRANT) {
        members += !is_missing(body, "version") + !is_missing(body, "comment");
    }

    if (form == NGX_LOCKBOX_BODY_APPROVAL) {
        members += !is_missing(body, "access") + !is_missing(body, "duration");
    }

    if (is_missing(body, "version")
        && (form == NGX_LOCKBOX_BODY_APPROVAL
            || form == NGX_LOCKBOX_BODY_QUESTION
            || form == NGX_LOCKBOX_BODY_DENIAL))
    {
        return 0;
    }

    if (is_missing(body, "comment")
        && (form == NGX_LOCKBOX_BODY_QUESTION
            || form == NGX_LOCKBOX_BODY_ANSWER))
    {
        return 0;
    }

    return json_object_size(body) == members
           && (is_missing(body, "version")
               || is_number(body, "version", 1, INT64_MAX))
           && (is_missing(body, "comment")
               || is_prose(body, "comment", 1, 2000))
           && (is_missing(body, "duration")
               || is_number(body, "duration", 60, INT64_MAX))
           && (is_missing(body, "access") || is_access(body));
}


/* A refusal names a member, and says why. */

static void
check_fault(const ngx_lockbox_fault_t *fault)
{
    fuzz_check(fault->reason && *fault->reason);
    fuzz_check(fault->member.len && fault->member.data[0] == '/');
}


/* What was read is what was written. */

static void
check_scope(ngx_pool_t *pool, const ngx_lockbox_scope_t *scope,
    const json_t *body)
{
    size_t   i;
    json_t  *list, *copy, *item;

    list = ngx_lockbox_json_own(pool,
                      ngx_lockbox_scope_json(scope, NGX_LOCKBOX_SCOPE_ACCESS));
    copy = ngx_lockbox_json_own(pool,
                             json_deep_copy(json_object_get(body, "access")));

    json_array_foreach(copy, i, item) {
        if (is_missing(item, "labels")) {
            (void) json_object_set_new(item, "labels", json_array());
        }
    }

    fuzz_check(json_equal(list, copy));
    fuzz_check(ngx_lockbox_scope_within(scope, scope));
}


static ngx_int_t
read_body(ngx_pool_t *pool, const json_t *body, u_char letter,
    ngx_uint_t pattern, ngx_lockbox_body_form_e form,
    ngx_lockbox_body_filing_t *filing, ngx_lockbox_body_step_t *step,
    ngx_lockbox_fault_t *fault)
{
    static u_char              any;
    ngx_lockbox_body_limits_t  limits;

    if (letter == 'f') {
        limits.max_duration = MAX_DURATION;
        limits.ticket = pattern ? (ngx_regex_t *) &any : NULL;

        return ngx_lockbox_body_filing(pool, body, &limits, filing, fault);
    }

    return ngx_lockbox_body_step(pool, body, form, step, fault);
}


static void
check_filing(ngx_pool_t *pool, const ngx_lockbox_body_filing_t *filing,
    const json_t *body)
{
    fuzz_check(filing->justification.len
               == json_text_of(body, "justification").len);
    fuzz_check(filing->ticket.len == json_text_of(body, "ticket").len);
    fuzz_check(filing->duration
               == json_integer_value(json_object_get(body, "duration")));

    check_scope(pool, &filing->scope, body);
}


static void
check_step(ngx_pool_t *pool, const ngx_lockbox_body_step_t *step,
    const json_t *body)
{
    fuzz_check(step->version
               == json_integer_value(json_object_get(body, "version")));
    fuzz_check(step->duration
               == json_integer_value(json_object_get(body, "duration")));
    fuzz_check(step->comment.len == json_text_of(body, "comment").len);

    if (is_missing(body, "access")) {
        fuzz_check(step->scope.nelts == 0);
        return;
    }

    check_scope(pool, &step->scope, body);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t                     *body;
    u_char                      letter;
    ngx_int_t                   rc, starved;
    ngx_str_t                   input, line;
    ngx_uint_t                  pattern, good;
    ngx_pool_t                 *pool;
    ngx_lockbox_fault_t         fault;
    ngx_lockbox_body_form_e     form;
    ngx_lockbox_body_step_t     step;
    ngx_lockbox_body_filing_t   filing;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);
    line = fuzz_line(&input);

    letter = fuzz_byte(&line, 0);
    pattern = fuzz_byte(&line, 1) == 't';
    form = letter == 'a' ? NGX_LOCKBOX_BODY_APPROVAL
           : letter == 'd' ? NGX_LOCKBOX_BODY_DENIAL
           : letter == 'q' ? NGX_LOCKBOX_BODY_QUESTION
           : letter == 'r' ? NGX_LOCKBOX_BODY_ANSWER
           : letter == 's' ? NGX_LOCKBOX_BODY_STEP : NGX_LOCKBOX_BODY_GRANT;

    body = json_agreed(pool, &input);

    if (body) {
        rc = read_body(pool, body, letter, pattern, form, &filing, &step,
                       &fault);
        good = letter == 'f' ? is_filing(body, pattern) : is_step(body, form);

        fuzz_check(rc == (good ? NGX_OK : NGX_DECLINED));

        if (rc == NGX_DECLINED) {
            check_fault(&fault);

        } else if (letter == 'f') {
            check_filing(pool, &filing, body);

        } else {
            check_step(pool, &step, body);
        }

        fuzz_starve(data, size, 40);
        starved = read_body(pool, body, letter, pattern, form, &filing, &step,
                            &fault);
        ngx_shim_fail(0);

        fuzz_check(starved == rc || starved == NGX_ERROR);
    }

    fuzz_pool_end(pool);

    return 0;
}
