/*
 * Why: what the script answers decides who gets in.  An answer that is not
 * exactly what it must be is no answer, and nobody is called twice, or after
 * having left.
 */

/* links: ngx_lockbox_workflow.c ngx_lockbox_json.c ngx_lockbox_resp.c */
/* links: ngx_lockbox_script.c */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_workflow.h"
#include "ngx_shim.h"
#include "tap.h"


#define MAX  4096

/* an answer about a request that may be seen */
#define FIELDS   "*4\r\n$2\r\nid\r\n$1\r\n7\r\n$5\r\nstate\r\n$6\r\ndenied\r\n"
#define ACTIONS  "*2\r\n$7\r\napprove\r\n$4\r\ndeny\r\n"
#define REQUEST  "{\"actions\":[\"approve\",\"deny\"],\"id\":\"7\","           \
                 "\"state\":\"denied\"}"

#define HAPPENED "*1\r\n*2\r\n$3\r\n5-1\r\n"                                  \
                 "*4\r\n$5\r\nevent\r\n$6\r\ndenied\r\n$2\r\nid\r\n$1\r\n7\r\n"
#define EVENTS   "[{\"cursor\":\"5-1\",\"event\":\"denied\",\"id\":\"7\"}]"


typedef struct {
    const char              *action;
    const char              *wire;
    ngx_lockbox_decision_t   decision;
    const char              *shown;    /* as show() writes it */
} answer_t;


/* The connection to Redis: what was sent last, and who waits for it. */

struct ngx_lockbox_redis_command_s {
    ngx_lockbox_redis_handler_pt   handler;
    void                          *data;
    const ngx_str_t               *argv;
    size_t                         argc;
};


static ngx_lockbox_redis_command_t    command;
static ngx_uint_t                     sent;
static ngx_uint_t                     cancels;
static ngx_uint_t                     refusing;

static ngx_log_t                      quiet;
static const char                    *logged;

static ngx_lockbox_workflow_result_t  result;
static ngx_uint_t                     called;


static const answer_t  answers[] = {
    { "show", "*3\r\n$2\r\nok\r\n" FIELDS ACTIONS, NGX_LOCKBOX_ALLOW, REQUEST },
    { "show", "*3\r\n$2\r\nok\r\n" FIELDS "*0\r\n", NGX_LOCKBOX_ALLOW,
      "{\"actions\":[],\"id\":\"7\",\"state\":\"denied\"}" },
    { "grant", "*3\r\n$2\r\nok\r\n" FIELDS ACTIONS, NGX_LOCKBOX_ALLOW,
      REQUEST },
    { "sweep", "*3\r\n$9\r\nnot_found\r\n*0\r\n*0\r\n", NGX_LOCKBOX_NOT_FOUND,
      "" },
    { "deny", "*3\r\n$14\r\nforbidden_role\r\n" FIELDS ACTIONS,
      NGX_LOCKBOX_FORBIDDEN_ROLE, REQUEST },
    { "deny", "*3\r\n$11\r\nown_request\r\n" FIELDS ACTIONS,
      NGX_LOCKBOX_OWN_REQUEST, REQUEST },
    { "deny", "*3\r\n$11\r\nsame_person\r\n" FIELDS ACTIONS,
      NGX_LOCKBOX_SAME_PERSON, REQUEST },
    { "deny", "*3\r\n$8\r\nconflict\r\n" FIELDS ACTIONS, NGX_LOCKBOX_CONFLICT,
      REQUEST },
    { "file", "*3\r\n$17\r\ntoo_many_requests\r\n*0\r\n*0\r\n",
      NGX_LOCKBOX_TOO_MANY_REQUESTS, "" },
    { "file", "*3\r\n$15\r\ninvalid_extends\r\n*0\r\n*0\r\n",
      NGX_LOCKBOX_INVALID_MEMBER, "" },
    { "file", "*3\r\n$5\r\nclock\r\n*0\r\n*0\r\n", NGX_LOCKBOX_INTERNAL_ERROR,
      "" },

    { "list", "*3\r\n$2\r\nok\r\n$4\r\n12.1\r\n"
              "*2\r\n*2\r\n" FIELDS ACTIONS "*2\r\n*0\r\n*0\r\n",
      NGX_LOCKBOX_ALLOW, "[" REQUEST ",{\"actions\":[]}] 12.1" },
    { "list", "*3\r\n$2\r\nok\r\n$0\r\n\r\n*0\r\n", NGX_LOCKBOX_ALLOW, "[] " },
    { "list", "*3\r\n$14\r\ninvalid_cursor\r\n$0\r\n\r\n*0\r\n",
      NGX_LOCKBOX_INVALID_MEMBER, "[] " },

    { "events", "*4\r\n$2\r\nok\r\n$3\r\n5-1\r\n" HAPPENED "$0\r\n\r\n",
      NGX_LOCKBOX_ALLOW, EVENTS " 5-1" },
    { "events", "*4\r\n$2\r\nok\r\n$3\r\n5-1\r\n" HAPPENED "$3\r\ngap\r\n",
      NGX_LOCKBOX_ALLOW, EVENTS "! 5-1" },
    { "events", "*4\r\n$2\r\nok\r\n$3\r\n0-0\r\n*0\r\n$0\r\n\r\n",
      NGX_LOCKBOX_ALLOW, "[] 0-0" },
    { "events", "*4\r\n$14\r\ninvalid_cursor\r\n$0\r\n\r\n*0\r\n$0\r\n\r\n",
      NGX_LOCKBOX_INVALID_MEMBER, "[] " },

    { "deny", "*4\r\n$2\r\nok\r\n" FIELDS ACTIONS HAPPENED, NGX_LOCKBOX_ALLOW,
      EVENTS " " },
    { "deny", "*4\r\n$2\r\nok\r\n" FIELDS ACTIONS "*0\r\n",
      NGX_LOCKBOX_ALLOW, REQUEST },

    { "due", "*2\r\n$2\r\nok\r\n*2\r\n*2\r\n$4\r\nacme\r\n$1\r\n7\r\n"
             "*2\r\n$6\r\nglobex\r\n$1\r\n8\r\n",
      NGX_LOCKBOX_ALLOW, "[{\"id\":\"7\",\"tenant\":\"acme\"},"
                         "{\"id\":\"8\",\"tenant\":\"globex\"}] " },
    { "due", "*2\r\n$2\r\nok\r\n*0\r\n", NGX_LOCKBOX_ALLOW, "[] " },

    { "audit", "*5\r\n$2\r\nok\r\n$3\r\n1-2\r\n"
               "*2\r\n$3\r\n{1}\r\n$3\r\n{2}\r\n$3\r\n100\r\n"
               "*2\r\n$1\r\nw\r\n$2\r\n90\r\n",
      NGX_LOCKBOX_ALLOW, "{1}|{2}|1-2 100 w|90|" },
    { "audit", "*5\r\n$2\r\nok\r\n$0\r\n\r\n*0\r\n$0\r\n\r\n*0\r\n",
      NGX_LOCKBOX_ALLOW, "  " },
    { "audit", "*5\r\n$14\r\ninvalid_cursor\r\n$0\r\n\r\n*0\r\n"
               "$0\r\n\r\n*0\r\n", NGX_LOCKBOX_INVALID_MEMBER, "  " }
};


/* Each of them is one thing away from one of the above. */

static const answer_t  unusable[] = {
    { "show", "$-1\r\n", 0, "nil" },
    { "show", "*-1\r\n", 0, "a nil array" },
    { "show", "+ok\r\n", 0, "a status" },
    { "show", ":1\r\n", 0, "an integer" },
    { "show", "$2\r\nok\r\n", 0, "a string" },
    { "show", "*0\r\n", 0, "an empty array" },
    { "show", "-ERR no\r\n", 0, "an error" },
    { "show", "-NOAUTH Authentication required.\r\n", 0, "NOAUTH" },
    { "show", "-READONLY no\r\n", 0, "READONLY" },
    { "show", "*3\r\n$3\r\nyes\r\n" FIELDS ACTIONS, 0, "another word" },
    { "show", "*3\r\n$2\r\nOK\r\n" FIELDS ACTIONS, 0, "a word in capitals" },
    { "show", "*3\r\n$3\r\nok \r\n" FIELDS ACTIONS, 0, "a longer word" },
    { "show", "*3\r\n$1\r\no\r\n" FIELDS ACTIONS, 0, "a shorter word" },
    { "show", "*3\r\n$0\r\n\r\n" FIELDS ACTIONS, 0, "an empty word" },
    { "show", "*3\r\n+ok\r\n" FIELDS ACTIONS, 0, "a status as the word" },
    { "show", "*3\r\n$-1\r\n" FIELDS ACTIONS, 0, "no word" },
    { "show", "*2\r\n$2\r\nok\r\n" FIELDS, 0, "no actions" },
    { "show", "*1\r\n$2\r\nok\r\n", 0, "no fields" },
    { "show", "*3\r\n$2\r\nok\r\n*0\r\n*0\r\n", 0, "ok without a request" },
    { "show", "*3\r\n$2\r\nok\r\n$2\r\nid\r\n" ACTIONS, 0, "text as fields" },
    { "show", "*3\r\n$2\r\nok\r\n" FIELDS "$4\r\ndeny\r\n", 0,
      "text as actions" },
    { "show", "*3\r\n$2\r\nok\r\n" FIELDS "*1\r\n:1\r\n", 0,
      "a number as an action" },
    { "show", "*3\r\n$2\r\nok\r\n" FIELDS "*1\r\n$1\r\n\377\r\n", 0,
      "an action that is no UTF-8" },
    { "show", "*3\r\n$2\r\nok\r\n*3\r\n$2\r\nid\r\n$1\r\n7\r\n$5\r\nstate\r\n"
              ACTIONS, 0, "a field without a value" },
    { "show", "*3\r\n$2\r\nok\r\n*2\r\n$2\r\nid\r\n:7\r\n" ACTIONS, 0,
      "a number as a value" },
    { "show", "*3\r\n$2\r\nok\r\n*2\r\n$2\r\nid\r\n$-1\r\n" ACTIONS, 0,
      "nil as a value" },
    { "show", "*3\r\n$2\r\nok\r\n*2\r\n:1\r\n$1\r\n7\r\n" ACTIONS, 0,
      "a number as a name" },
    { "show", "*3\r\n$2\r\nok\r\n*2\r\n$2\r\nid\r\n$1\r\n\377\r\n" ACTIONS, 0,
      "a value that is no UTF-8" },
    { "show", "*3\r\n$2\r\nok\r\n*2\r\n$64\r\n"
              "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
              "\r\n$1\r\n7\r\n" ACTIONS, 0, "a very long name" },
    { "show", "*2\r\n$2\r\nok\r\n*0\r\n", 0, "the form of another action" },

    { "list", "*3\r\n$2\r\nok\r\n" FIELDS ACTIONS, 0, "a request as a list" },
    { "list", "*2\r\n$2\r\nok\r\n$0\r\n\r\n", 0, "no page" },
    { "list", "*3\r\n$2\r\nok\r\n:0\r\n*0\r\n", 0, "a number as the cursor" },
    { "list", "*3\r\n$2\r\nok\r\n$0\r\n\r\n$1\r\nx\r\n", 0, "text as a page" },
    { "list", "*3\r\n$2\r\nok\r\n$0\r\n\r\n*1\r\n$1\r\nx\r\n", 0,
      "text as an entry" },
    { "list", "*3\r\n$2\r\nok\r\n$0\r\n\r\n*1\r\n*1\r\n" FIELDS, 0,
      "an entry without actions" },
    { "list", "*3\r\n$2\r\nok\r\n$0\r\n\r\n*2\r\n*2\r\n" FIELDS ACTIONS
              "*2\r\n" FIELDS "*1\r\n$-1\r\n", 0, "a second entry with nil" },

    { "events", "*2\r\n$2\r\nok\r\n$3\r\n5-1\r\n", 0, "no events" },
    { "events", "*4\r\n$2\r\nok\r\n$3\r\n5-1\r\n$1\r\nx\r\n$0\r\n\r\n", 0,
      "text as events" },
    { "events", "*4\r\n$2\r\nok\r\n:5\r\n*0\r\n$0\r\n\r\n", 0,
      "a number as cursor" },
    { "events", "*4\r\n$2\r\nok\r\n$3\r\n5-1\r\n*1\r\n$1\r\nx\r\n$0\r\n\r\n",
      0, "text as an event" },
    { "events", "*4\r\n$2\r\nok\r\n$3\r\n5-1\r\n*1\r\n*1\r\n$1\r\n5\r\n"
                "$0\r\n\r\n", 0, "half an event" },
    { "events", "*4\r\n$2\r\nok\r\n$3\r\n5-1\r\n*1\r\n*2\r\n:5\r\n*0\r\n"
                "$0\r\n\r\n", 0, "a number as its id" },
    { "events", "*3\r\n$2\r\nok\r\n$3\r\n0-0\r\n*0\r\n", 0,
      "no word on a gap" },
    { "events", "*4\r\n$2\r\nok\r\n$3\r\n0-0\r\n*0\r\n:1\r\n", 0,
      "a number as that word" },
    { "deny", "*4\r\n$2\r\nok\r\n" FIELDS ACTIONS "*1\r\n$1\r\nx\r\n", 0,
      "text as what has happened" },

    { "due", "*1\r\n$2\r\nok\r\n", 0, "no pairs" },
    { "due", "*2\r\n$2\r\nok\r\n$1\r\nx\r\n", 0, "text as pairs" },
    { "due", "*2\r\n$2\r\nok\r\n*1\r\n$1\r\nx\r\n", 0, "text as a pair" },
    { "due", "*2\r\n$2\r\nok\r\n*1\r\n*1\r\n$4\r\nacme\r\n", 0, "half a pair" },
    { "due", "*2\r\n$2\r\nok\r\n*1\r\n*2\r\n:1\r\n$1\r\n7\r\n", 0,
      "a number as a tenant" },

    { "audit", "*4\r\n$2\r\nok\r\n$0\r\n\r\n*0\r\n$0\r\n\r\n", 0,
      "no workers" },
    { "audit", "*5\r\n$4\r\nfine\r\n$0\r\n\r\n*0\r\n$0\r\n\r\n*0\r\n", 0,
      "a word that is none" },
    { "audit", "*5\r\n$2\r\nok\r\n:0\r\n*0\r\n$0\r\n\r\n*0\r\n", 0,
      "a number as the cursor" },
    { "audit", "*5\r\n$2\r\nok\r\n$0\r\n\r\n$1\r\nx\r\n$0\r\n\r\n*0\r\n",
      0, "text as records" },
    { "audit", "*5\r\n$2\r\nok\r\n$0\r\n\r\n*1\r\n:1\r\n$0\r\n\r\n"
               "*0\r\n", 0, "a number as a record" },
    { "audit", "*5\r\n$2\r\nok\r\n$0\r\n\r\n*0\r\n:1\r\n*0\r\n", 0,
      "a number as a time" },
    { "audit", "*5\r\n$2\r\nok\r\n$0\r\n\r\n*0\r\n$0\r\n\r\n"
               "$1\r\nx\r\n", 0, "text as workers" }
};


ngx_lockbox_redis_command_t *
ngx_lockbox_redis_send(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler, void *data)
{
    (void) redis;

    sent++;

    if (refusing) {
        return NULL;
    }

    command.handler = handler;
    command.data = data;
    command.argv = argv;
    command.argc = argc;

    return &command;
}


void
ngx_lockbox_redis_cancel(ngx_lockbox_redis_command_t *cancelled)
{
    cancels++;
    cancelled->handler = NULL;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;

    logged = fmt;
}


static void
answered(void *data, const ngx_lockbox_workflow_result_t *got)
{
    (void) data;

    called++;
    result = *got;
}


static ngx_uint_t
says(const char *text)
{
    return logged && ngx_strstr(logged, text);
}


static ngx_lockbox_workflow_call_t *
run(ngx_pool_t *pool, const char *action)
{
    json_t                       *args;
    ngx_lockbox_workflow_call_t  *call;

    sent = 0;
    cancels = 0;
    called = 0;
    logged = NULL;
    ngx_memzero(&command, sizeof(command));
    ngx_memzero(&result, sizeof(result));

    args = json_pack("{s:s, s:i}", "id", "7", "version", 2);
    if (args == NULL) {
        return NULL;
    }

    call = ngx_lockbox_workflow_run(NULL, pool, action, args, answered, NULL);
    json_decref(args);

    return call;
}


/* The reply comes; NULL: none does. */

static void
reply(const char *wire)
{
    ngx_lockbox_resp_t           *resp;
    ngx_lockbox_reply_t           view;
    ngx_lockbox_redis_handler_pt  handler;

    handler = command.handler;
    if (handler == NULL) {
        return;
    }

    command.handler = NULL;

    if (wire == NULL) {
        handler(command.data, NULL);
        return;
    }

    resp = ngx_lockbox_resp_create(MAX);

    if (resp == NULL
        || ngx_lockbox_resp_feed(resp, (const u_char *) wire,
                                 ngx_strlen(wire))
           != NGX_OK
        || ngx_lockbox_resp_next(resp, &view) != NGX_OK)
    {
        abort();
    }

    handler(command.data, &view);

    ngx_lockbox_resp_release(&view);
    ngx_lockbox_resp_destroy(resp);
}


/* Each of them with a "|" behind it. */

static u_char *
join(u_char *p, const ngx_array_t *texts)
{
    ngx_str_t   *text;
    ngx_uint_t   i;

    text = texts->elts;

    for (i = 0; i < texts->nelts; i++) {
        p = ngx_cpymem(p, text[i].data, text[i].len);
        *p++ = '|';
    }

    return p;
}


/* The records, where they go on, the time, and the workers. */

static ngx_str_t
show_audit(void)
{
    u_char         *p;
    ngx_str_t       text;
    static u_char   shown[256];

    p = join(shown, result.records);
    p = ngx_cpymem(p, result.next.data, result.next.len);
    *p++ = ' ';
    p = ngx_cpymem(p, result.complete.data, result.complete.len);
    *p++ = ' ';
    p = join(p, result.silent);

    text.data = shown;
    text.len = (size_t) (p - shown);

    return text;
}


/*
 * The request, or the requests and behind them where the list goes on, or
 * instead of either the events, with a mark where others are missing.
 */

static ngx_str_t
show(ngx_pool_t *pool)
{
    size_t         i;
    u_char        *p, *last;
    ngx_str_t      text;
    const json_t  *shown;

    ngx_str_null(&text);

    if (result.records) {
        return show_audit();
    }

    shown = result.events ? result.events
            : result.requests ? result.requests : result.request;

    if (shown == NULL) {
        return text;
    }

    if (ngx_lockbox_json_dump(pool, shown, &text) != NGX_OK) {
        abort();
    }

    if (result.requests || result.events) {
        p = ngx_pnalloc(pool, text.len + 2 + result.next.len);
        if (p == NULL) {
            abort();
        }

        last = ngx_cpymem(p, text.data, text.len);

        if (result.gap) {
            *last++ = '!';
        }

        *last++ = ' ';

        for (i = 0; i < result.next.len; i++) {
            *last++ = result.next.data[i];
        }

        text.data = p;
        text.len = last - p;
    }

    return text;
}


static void
test_answers(void)
{
    size_t           i;
    ngx_str_t        shown;
    ngx_pool_t      *pool;
    const answer_t  *answer;

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        answer = &answers[i];
        pool = ngx_create_pool(MAX, &quiet);

        (void) run(pool, answer->action);
        reply(answer->wire);

        is(called, 1, "%s is answered", answer->action);
        is(result.decision, answer->decision, "with the decision");

        shown = show(pool);
        is_text(&shown, answer->shown, "and what may be seen");
        is(says("clocks"), answer->decision == NGX_LOCKBOX_INTERNAL_ERROR,
           "and a clock that is off is logged");

        ngx_destroy_pool(pool);
    }
}


static void
test_unusable(void)
{
    size_t           i;
    ngx_pool_t      *pool;
    const answer_t  *answer;

    for (i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++) {
        answer = &unusable[i];
        pool = ngx_create_pool(MAX, &quiet);

        (void) run(pool, answer->action);
        reply(answer->wire);

        is(called, 1, "%s: %s is answered", answer->action, answer->shown);
        is(result.decision, NGX_LOCKBOX_STORE_UNAVAILABLE, "as unavailable");
        ok(result.request == NULL && result.requests == NULL
           && result.events == NULL
           && result.next.len == 0, "with nothing to see");
        is(sent, 1, "and not sent again");
        is(says("Redis refused"), answer->wire[0] == '-',
           "but logged, with Redis's reason if there is one");
        ok(logged != NULL, "in any case");

        ngx_destroy_pool(pool);
    }

    pool = ngx_create_pool(MAX, &quiet);

    (void) run(pool, "show");
    reply(NULL);

    is(called, 1, "no reply is answered");
    is(result.decision, NGX_LOCKBOX_STORE_UNAVAILABLE, "as unavailable");

    ngx_destroy_pool(pool);
}


static ngx_uint_t
is_sha_of(const ngx_str_t *sha, const ngx_str_t *text)
{
    u_char    digest[EVP_MAX_MD_SIZE], hex[2 * EVP_MAX_MD_SIZE];
    unsigned  len;

    return EVP_Digest(text->data, text->len, digest, &len, EVP_sha1(), NULL)
           && sha->len == (size_t) 2 * len
           && ngx_hex_dump(hex, digest, len)
           && ngx_memcmp(sha->data, hex, sha->len) == 0;
}


static void
test_commands(void)
{
    u_char       name[40];
    ngx_str_t    sha;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(MAX, &quiet);

    ok(run(pool, "show") != NULL, "a call");
    is(called, 0, "is not answered before there is a reply");
    is(command.argc, 5, "has five arguments");
    is_text(&command.argv[0], "EVALSHA", "the command");
    is_text(&command.argv[2], "0", "no keys");
    is_text(&command.argv[3], "show", "the action");
    is_text(&command.argv[4], "{\"id\":\"7\",\"version\":2}",
            "the arguments as JSON");

    sha.data = name;
    sha.len = ngx_min(command.argv[1].len, sizeof(name));
    ngx_memcpy(name, command.argv[1].data, sha.len);

    reply("-NOSCRIPT No matching script. Please use EVAL.\r\n");
    is(called, 0, "an unknown script is no answer");
    is(sent, 2, "but sent again");
    is_text(&command.argv[0], "EVAL", "whole");
    ok(is_sha_of(&sha, &command.argv[1]), "the one that was named");
    is_text(&command.argv[3], "show", "with the action");
    is_text(&command.argv[4], "{\"id\":\"7\",\"version\":2}",
            "and the arguments");

    reply("*3\r\n$2\r\nok\r\n" FIELDS ACTIONS);
    is(called, 1, "and answered");
    is(result.decision, NGX_LOCKBOX_ALLOW, "as if it had been known");

    (void) run(pool, "show");
    reply("-NOSCRIPT No matching script.\r\n");
    reply("-NOSCRIPT No matching script.\r\n");
    is(sent, 2, "once");
    is(called, 1, "and then answered");
    is(result.decision, NGX_LOCKBOX_STORE_UNAVAILABLE, "as unavailable");

    (void) run(pool, "show");
    refusing = 1;
    reply("-NOSCRIPT No matching script.\r\n");
    refusing = 0;
    is(called, 1, "or at once when it cannot be sent again");
    is(result.decision, NGX_LOCKBOX_STORE_UNAVAILABLE, "as unavailable");

    (void) run(pool, "show");
    reply("-NOSCRIP\r\n");
    is(sent, 1, "another error is not taken for it");

    refusing = 1;
    ok(run(pool, "show") == NULL, "a call that cannot be sent is none");
    refusing = 0;
    is(called, 0, "and not answered");

    ngx_destroy_pool(pool);
}


static void
test_cancelled(void)
{
    ngx_pool_t                   *pool;
    ngx_lockbox_workflow_call_t  *call;

    pool = ngx_create_pool(MAX, &quiet);

    call = run(pool, "show");
    ngx_lockbox_workflow_cancel(call);
    ngx_lockbox_workflow_cancel(call);
    reply("*3\r\n$2\r\nok\r\n" FIELDS ACTIONS);
    is(called, 0, "who has left is not called");
    is(cancels, 1, "and leaves once");

    call = run(pool, "show");
    reply("-NOSCRIPT No matching script.\r\n");
    ngx_lockbox_workflow_cancel(call);
    reply("*3\r\n$2\r\nok\r\n" FIELDS ACTIONS);
    is(called, 0, "nor after a second try");

    call = run(pool, "show");
    reply("*3\r\n$2\r\nok\r\n" FIELDS ACTIONS);
    ngx_lockbox_workflow_cancel(call);
    is(called, 1, "who has been answered");
    is(cancels, 0, "has nothing to cancel");

    (void) run(pool, "show");
    ngx_destroy_pool(pool);
    reply("*3\r\n$2\r\nok\r\n" FIELDS ACTIONS);
    is(called, 0, "a call goes with its pool");
}


/* Walks through all allocations; each that fails must end in a refusal. */

static void
test_memory(const answer_t *answer)
{
    ngx_uint_t   n, wrong, started;
    ngx_pool_t  *pool;

    wrong = 0;
    n = 0;

    do {
        ngx_shim_fail(0);
        pool = ngx_create_pool(MAX, &quiet);

        ngx_shim_fail(++n);

        started = run(pool, answer->action) != NULL;

        if (started) {
            reply(answer->wire);
        }

        wrong += ngx_shim_failed()
                 && (called != started
                     || (called
                         && result.decision != NGX_LOCKBOX_STORE_UNAVAILABLE));

        ngx_destroy_pool(pool);

    } while (ngx_shim_failed());

    ngx_shim_fail(0);

    ok(n > 5, "%s without memory, %d times", answer->action, (int) n - 1);
    is(wrong, 0, "is refused");
    is(ngx_shim_live(), 0, "and leaves nothing behind");
}


int
main(void)
{
    size_t  i;

    quiet.log_level = NGX_LOG_ERR;

    test_commands();
    test_answers();
    test_unusable();
    test_cancelled();

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        test_memory(&answers[i]);
    }

    return tap_done();
}
