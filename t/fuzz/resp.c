/*
 * What Redis answers: from the wire to the typed results of the store and of
 * the workflow.
 *
 * The first line has two letters and numbers: the action, "s" to show, "l" to
 * list, "d" for what is due; the way, "r" or "n"; then the places at which the
 * stream is cut, one blank before each.
 *
 *     r  the rest is what comes over the wire
 *     n  each line is a value, written shorter: "$text" is a string whose
 *        length is right, "=number" one of so many bytes, "~" is nil, and all
 *        others get their line end
 */

/* links: ngx_lockbox_resp.c ngx_lockbox_script.c ngx_lockbox_store.c */
/* links: ngx_lockbox_workflow.c ngx_lockbox_json.c */

#include "ngx_lockbox_resp.h"
#include "ngx_lockbox_store.h"
#include "ngx_lockbox_workflow.h"
#include "fuzz.h"


static const char *const  mutate_lines[] = {
    "sn", "ln", "dn", "sr", "sn 3 1 20", "*0", "*1", "*2", "*3", "*4", "*-1",
    "$ok", "$live", "$approved", "$revoked", "$completed", "$expired",
    "$awaiting_manager", "$not_found", "$conflict", "$invalid_cursor",
    "$clock", "$id", "$state", "$actions", "$", "$\xff", "=62", "=63", "=64",
    "=1000", "=2030", "=2040", "=2041", "~", "+OK", "+", ":1", ":-7",
    "-NOSCRIPT No matching script.", "-ERR no", "_", "#t", ">1", "%1", NULL
};

static const char *const  mutate_names[] = { NULL };

#include "mutate.h"


#define LIMIT        2048
#define COMMANDS     4
#define DUMP         65536
#define REPLIES_MAX  64


struct ngx_lockbox_redis_command_s {
    ngx_lockbox_redis_handler_pt   handler;
    void                          *data;
};


/* The connection: who waits, in the order of the questions. */

static ngx_lockbox_redis_command_t     commands[COMMANDS];
static ngx_uint_t                      asked, answered;

static ngx_lockbox_workflow_result_t   result;
static ngx_lockbox_decision_t          liveness;
static ngx_uint_t                      called;


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    json_object_seed(1);

    return 0;
}


ngx_lockbox_redis_command_t *
ngx_lockbox_redis_send(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler, void *data)
{
    (void) redis;

    fuzz_check(asked < COMMANDS && argc > 0 && argv[0].len > 0);

    commands[asked].handler = handler;
    commands[asked].data = data;

    return &commands[asked++];
}


void
ngx_lockbox_redis_cancel(ngx_lockbox_redis_command_t *command)
{
    command->handler = NULL;
}


void
ngx_lockbox_redis_reject(ngx_lockbox_redis_t *redis, const char *fault)
{
    (void) redis;
    (void) fault;
}


/* Knows "%V" only. */

u_char *
ngx_sprintf(u_char *buf, const char *format, ...)
{
    va_list           args;
    const ngx_str_t  *text;

    va_start(args, format);

    for ( /* void */ ; *format; format++) {

        if (*format != '%') {
            *buf++ = (u_char) *format;
            continue;
        }

        fuzz_check(*++format == 'V');

        text = va_arg(args, const ngx_str_t *);
        buf = ngx_cpymem(buf, text->data, text->len);
    }

    va_end(args);

    return buf;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;
    (void) fmt;
}


static void
put(ngx_str_t *out, const void *data, size_t len)
{
    if (len && out->len + len <= DUMP) {
        ngx_memcpy(out->data + out->len, data, len);
        out->len += len;
    }
}


__attribute__((format(printf, 2, 3)))
static void
put_format(ngx_str_t *out, const char *format, ...)
{
    char     text[64];
    int      n;
    va_list  args;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    put(out, text, (size_t) n);
}


/* What the lines of the shorter form mean. */

static ngx_str_t
compiled(ngx_pool_t *pool, ngx_str_t *input)
{
    size_t     n;
    ngx_str_t  out, line;

    out.data = ngx_pnalloc(pool, DUMP);
    out.len = 0;

    while (input->len) {
        line = fuzz_line(input);

        switch (fuzz_byte(&line, 0)) {

        case '~':
            put_format(&out, "$-1\r\n");
            continue;

        case '=':
            line.data++;
            line.len--;
            n = fuzz_number(&line);
            put_format(&out, "$%zu\r\n", n);

            while (n--) {
                put(&out, "x", 1);
            }

            break;

        case '$':
            put_format(&out, "$%zu\r\n", line.len - 1);
            put(&out, line.data + 1, line.len - 1);
            break;

        default:
            put(&out, line.data, line.len);
        }

        put(&out, "\r\n", 2);
    }

    return fuzz_copy(pool, out.data, out.len);
}


/* The value as it would be sent. */

static void
dump(ngx_str_t *out, const ngx_lockbox_reply_t *reply)
{
    size_t               i;
    ngx_lockbox_reply_t  element;

    switch (reply->type) {

    case NGX_LOCKBOX_RESP_NIL:
        put_format(out, "$-1\r\n");
        break;

    case NGX_LOCKBOX_RESP_STATUS:
    case NGX_LOCKBOX_RESP_ERROR:
        fuzz_check(reply->text.len == 0
                   || (memchr(reply->text.data, '\r', reply->text.len) == NULL
                       && memchr(reply->text.data, '\n', reply->text.len)
                          == NULL));

        put(out, reply->type == NGX_LOCKBOX_RESP_STATUS ? "+" : "-", 1);
        put(out, reply->text.data, reply->text.len);
        put(out, "\r\n", 2);
        break;

    case NGX_LOCKBOX_RESP_INTEGER:
        put_format(out, ":%lld\r\n", (long long) reply->integer);
        break;

    case NGX_LOCKBOX_RESP_STRING:
        put_format(out, "$%zu\r\n", reply->text.len);
        put(out, reply->text.data, reply->text.len);
        put(out, "\r\n", 2);
        break;

    case NGX_LOCKBOX_RESP_ARRAY:
        put_format(out, "*%zu\r\n", reply->nelts);

        for (i = 0; i < reply->nelts; i++) {
            fuzz_check(ngx_lockbox_resp_at(reply, i, &element) == NGX_OK);
            dump(out, &element);
        }

        break;

    default:
        fuzz_check(0);
    }

    fuzz_check(ngx_lockbox_resp_at(reply, reply->nelts, &element)
               == NGX_ERROR);
}


/* Where the line at "p" ends, behind its CR LF; NULL if it does not. */

static const u_char *
line_end(const u_char *p, const u_char *last)
{
    for ( /* void */ ; p < last; p++) {
        if (*p == LF) {
            return NULL;
        }

        if (*p == CR) {
            return p + 1 < last && p[1] == LF ? p + 2 : NULL;
        }
    }

    return NULL;
}


/* The whole number that is the line at "p", in "n"; where it ends, or NULL. */

static const u_char *
number_end(const u_char *p, const u_char *last, long long *n)
{
    char           text[32];
    size_t         len;
    char          *end;
    const u_char  *next;

    next = line_end(p, last);

    if (next == NULL || next - 2 - p >= (ptrdiff_t) sizeof(text)
        || next - 2 == p)
    {
        return NULL;
    }

    len = next - 2 - p;
    ngx_memcpy(text, p, len);
    text[len] = '\0';

    if (*text != '-' && !isdigit((u_char) *text)) {
        return NULL;
    }

    *n = strtoll(text, &end, 10);

    return end == text + len ? next : NULL;
}


/* Where the RESP2 value at "p" ends; NULL if it is none. */

static const u_char *
value_end(const u_char *p, const u_char *last)
{
    u_char      type;
    long long   n;

    if (p == NULL || p == last) {
        return NULL;
    }

    type = *p++;

    if (type == '+' || type == '-') {
        return line_end(p, last);
    }

    if (type != ':' && type != '$' && type != '*') {
        return NULL;
    }

    p = number_end(p, last, &n);

    if (p == NULL || type == ':' || n == -1) {
        return p;
    }

    if (n < 0) {
        return NULL;
    }

    if (type == '$') {
        return last - p >= n + 2 && p[n] == CR && p[n + 1] == LF ? p + n + 2
                                                                 : NULL;
    }

    while (n-- && p) {
        p = value_end(p, last);
    }

    return p;
}


/*
 * Feeds the wire, in pieces that end at the given places, and writes down what
 * comes out, and at last whether the reader gave up.
 */

static ngx_str_t
read_all(ngx_pool_t *pool, const ngx_str_t *wire, ngx_str_t cuts)
{
    size_t                pos, end, left, taken;
    ngx_int_t             rc;
    ngx_str_t             out;
    const u_char         *start;
    ngx_lockbox_resp_t   *resp;
    ngx_lockbox_reply_t   reply;

    out.data = ngx_pnalloc(pool, DUMP);
    out.len = 0;

    resp = ngx_lockbox_resp_create(LIMIT);
    fuzz_check(resp != NULL);

    rc = NGX_AGAIN;
    pos = 0;

    while (pos < wire->len && rc == NGX_AGAIN) {
        end = wire->len;

        if (cuts.len) {
            cuts.data++;
            cuts.len--;
            end = pos + fuzz_number(&cuts);
            end = ngx_min(end, wire->len);
        }

        fuzz_check(ngx_lockbox_resp_feed(resp, wire->data + pos, end - pos)
                   == NGX_OK);
        pos = end;

        for ( ;; ) {
            left = ngx_lockbox_resp_left(resp);
            rc = ngx_lockbox_resp_next(resp, &reply);

            if (rc != NGX_OK) {
                break;
            }

            taken = left - ngx_lockbox_resp_left(resp);
            fuzz_check(taken >= 3 && taken <= LIMIT);

            start = wire->data + pos - left;
            fuzz_check(value_end(start, wire->data + wire->len)
                       == start + taken);

            dump(&out, &reply);
            ngx_lockbox_resp_release(&reply);
        }

        fuzz_check(rc == NGX_AGAIN || rc == NGX_ERROR);
        fuzz_check(rc == NGX_ERROR || ngx_lockbox_resp_left(resp) <= LIMIT);
    }

    if (rc == NGX_ERROR) {
        fuzz_check(ngx_lockbox_resp_next(resp, &reply) == NGX_ERROR);
        put(&out, "!", 1);
    }

    ngx_lockbox_resp_destroy(resp);

    return out;
}


static void
check_stream(ngx_pool_t *pool, const ngx_str_t *wire, const ngx_str_t *cuts)
{
    ngx_str_t  whole, pieces, again, none;

    ngx_str_null(&none);

    whole = read_all(pool, wire, none);
    pieces = read_all(pool, wire, *cuts);

    fuzz_check(fuzz_same(&whole, &pieces));

    /* written as it is meant and read again, it means the same */

    if (whole.len && whole.data[whole.len - 1] == '!') {
        whole.len--;
    }

    again = read_all(pool, &whole, none);

    fuzz_check(fuzz_same(&whole, &again));
}


static void
on_liveness(void *data, ngx_lockbox_decision_t decision)
{
    (void) data;

    called++;
    liveness = decision;
}


static void
on_result(void *data, const ngx_lockbox_workflow_result_t *got)
{
    (void) data;

    called++;
    result = *got;
}


/* Hands the replies of the wire to those who wait, then nothing. */

static void
answer_all(const ngx_str_t *wire)
{
    ngx_lockbox_resp_t           *resp;
    ngx_lockbox_reply_t           reply;
    ngx_lockbox_redis_handler_pt  handler;

    resp = ngx_lockbox_resp_create(LIMIT);

    fuzz_check(resp && ngx_lockbox_resp_feed(resp, wire->data, wire->len)
                       == NGX_OK);

    while (answered < asked) {
        handler = commands[answered].handler;
        commands[answered].handler = NULL;

        if (ngx_lockbox_resp_next(resp, &reply) != NGX_OK) {

            if (handler) {
                handler(commands[answered].data, NULL);
            }

            answered++;
            continue;
        }

        if (handler) {
            handler(commands[answered].data, &reply);
        }

        ngx_lockbox_resp_release(&reply);
        answered++;
    }

    ngx_lockbox_resp_destroy(resp);
}


/* Reads the first "max" replies for those who look at them once more. */

static ngx_uint_t
read_some(ngx_lockbox_resp_t *resp, const ngx_str_t *wire,
    ngx_lockbox_reply_t *replies, ngx_uint_t max)
{
    ngx_uint_t  n;

    fuzz_check(ngx_lockbox_resp_feed(resp, wire->data, wire->len) == NGX_OK);

    for (n = 0; n < max; n++) {
        if (ngx_lockbox_resp_next(resp, &replies[n]) != NGX_OK) {
            break;
        }
    }

    return n;
}


static ngx_uint_t
is_string(const ngx_lockbox_reply_t *reply, const char *text)
{
    return reply->type == NGX_LOCKBOX_RESP_STRING
           && fuzz_is(&reply->text, text);
}


/* What the store has to make of two replies. */

static ngx_lockbox_decision_t
meaning(const ngx_lockbox_reply_t *live, const ngx_lockbox_reply_t *state)
{
    ngx_uint_t  is_live;

    is_live = is_string(live, "live");

    if ((!is_live && live->type != NGX_LOCKBOX_RESP_NIL)
        || (state->type != NGX_LOCKBOX_RESP_NIL
            && state->type != NGX_LOCKBOX_RESP_STRING))
    {
        return NGX_LOCKBOX_STORE_UNAVAILABLE;
    }

    if (is_string(state, "revoked")) {
        return NGX_LOCKBOX_REVOKED;
    }

    if (is_string(state, "completed")) {
        return NGX_LOCKBOX_COMPLETED;
    }

    if (is_string(state, "expired")) {
        return NGX_LOCKBOX_EXPIRED;
    }

    if (!is_live) {
        return NGX_LOCKBOX_NOT_LIVE;
    }

    return state->type == NGX_LOCKBOX_RESP_NIL || is_string(state, "approved")
           ? NGX_LOCKBOX_ALLOW : NGX_LOCKBOX_STORE_UNAVAILABLE;
}


static void
check_store(ngx_pool_t *pool, const ngx_str_t *wire)
{
    ngx_str_t                tenant, id;
    ngx_uint_t               n;
    ngx_lockbox_resp_t      *resp;
    ngx_lockbox_reply_t      replies[2];
    ngx_lockbox_decision_t   want;

    asked = answered = called = 0;
    tenant = ngx_shim_str("acme");
    id = ngx_shim_str("0192f3a4-b5c6-7d8e-9f01-23456789abcd");

    fuzz_check(ngx_lockbox_store_liveness(NULL, pool, &tenant, &id,
                                          on_liveness, NULL)
               != NULL);
    fuzz_check(asked == 2);

    answer_all(wire);

    fuzz_check(called == 1);

    resp = ngx_lockbox_resp_create(LIMIT);
    n = read_some(resp, wire, replies, 2);

    want = n == 2 ? meaning(&replies[0], &replies[1])
                  : NGX_LOCKBOX_STORE_UNAVAILABLE;
    fuzz_check(liveness == want);

    while (n) {
        ngx_lockbox_resp_release(&replies[--n]);
    }

    ngx_lockbox_resp_destroy(resp);
}


/* A request has texts only, and a list of texts as its actions. */

static void
check_request(json_t *request)
{
    size_t       i;
    json_t      *value, *action;
    const char  *name;

    fuzz_check(json_is_object(request));
    fuzz_check(json_is_array(json_object_get(request, "actions")));

    json_object_foreach(request, name, value) {

        if (strcmp(name, "actions") != 0) {
            fuzz_check(json_is_string(value));
            continue;
        }

        json_array_foreach(value, i, action) {
            fuzz_check(json_is_string(action));
        }
    }
}


static void
check_result(u_char action)
{
    size_t   i;
    json_t  *request;

    fuzz_check(result.decision != NGX_LOCKBOX_NOT_DECIDED);

    if (result.decision == NGX_LOCKBOX_STORE_UNAVAILABLE) {
        fuzz_check(!result.request && !result.requests && !result.next.len);
        return;
    }

    if (action == 's') {
        fuzz_check(result.requests == NULL);
        fuzz_check(result.request
                   || result.decision != NGX_LOCKBOX_ALLOW);

        if (result.request) {
            check_request(result.request);
        }

        return;
    }

    fuzz_check(result.request == NULL && json_is_array(result.requests));

    json_array_foreach(result.requests, i, request) {

        if (action == 'l') {
            check_request(request);
            continue;
        }

        fuzz_check(json_object_size(request) == 2);
        fuzz_check(json_is_string(json_object_get(request, "tenant")));
        fuzz_check(json_is_string(json_object_get(request, "id")));
    }
}


/* 1 if the one reply that counts begins with the word "ok". */

static ngx_uint_t
is_ok(const ngx_str_t *wire)
{
    ngx_uint_t            n, i, ok;
    ngx_lockbox_resp_t   *resp;
    ngx_lockbox_reply_t   replies[2], word;

    resp = ngx_lockbox_resp_create(LIMIT);
    n = read_some(resp, wire, replies, 2);

    /* whoever does not know the script is asked a second time */

    i = n > 1 && replies[0].type == NGX_LOCKBOX_RESP_ERROR
        && replies[0].text.len >= 8
        && ngx_memcmp(replies[0].text.data, "NOSCRIPT", 8) == 0;

    ok = i < n && ngx_lockbox_resp_at(&replies[i], 0, &word) == NGX_OK
         && is_string(&word, "ok");

    while (n) {
        ngx_lockbox_resp_release(&replies[--n]);
    }

    ngx_lockbox_resp_destroy(resp);

    return ok;
}


static void
check_workflow(ngx_pool_t *pool, const ngx_str_t *wire, u_char letter)
{
    json_t      *args;
    const char  *action;

    asked = answered = called = 0;
    ngx_memzero(&result, sizeof(result));

    action = letter == 'l' ? "list" : letter == 'd' ? "due" : "show";

    args = json_object();
    fuzz_check(ngx_lockbox_workflow_run(NULL, pool, action, args, on_result,
                                        NULL)
               != NULL);
    json_decref(args);

    answer_all(wire);

    fuzz_check(called == 1);
    check_result(*action == 's' ? 's' : letter);

    fuzz_check(result.decision != NGX_LOCKBOX_ALLOW || is_ok(wire));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t    input, line, wire;
    ngx_pool_t  *pool;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);
    line = fuzz_line(&input);

    if (fuzz_byte(&line, 1) == 'n') {
        wire = compiled(pool, &input);

    } else {
        wire = fuzz_copy(pool, input.data, input.len);
    }

    check_store(pool, &wire);
    check_workflow(pool, &wire, fuzz_byte(&line, 0));

    /* the places of the cuts */

    line.data += ngx_min(line.len, 2);
    line.len -= ngx_min(line.len, 2);

    check_stream(pool, &wire, &line);

    fuzz_pool_end(pool);

    return 0;
}
