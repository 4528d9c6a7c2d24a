/*
 * RESP2, the wire format of Redis: the only user of hiredis, and only of its
 * codec.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <hiredis/hiredis.h>

#include "ngx_lockbox_resp.h"


/* Arrays within arrays; hiredis 0.14 has the same bound, later ones none. */
#define NGX_LOCKBOX_RESP_DEPTH    8

/* The least that an element takes on the wire: an empty status, "+\r\n". */
#define NGX_LOCKBOX_RESP_ELEMENT  3

/* "$", 20 digits and two line ends at most stand around an argument. */
#define NGX_LOCKBOX_RESP_FRAME    25

/* The most that stands before an argument; and that, as an argument. */
#define NGX_LOCKBOX_RESP_BEFORE   "$18446744073709551615" CRLF
#define NGX_LOCKBOX_RESP_ROOM     "$23" CRLF NGX_LOCKBOX_RESP_BEFORE CRLF

/* hiredis 0.14 counts the bytes of replies and commands in an int. */
#define NGX_LOCKBOX_RESP_LIMIT    (256 * 1024 * 1024)


#if (HIREDIS_MAJOR >= 1)
typedef size_t  ngx_lockbox_resp_count_t;
#else
typedef int     ngx_lockbox_resp_count_t;
#endif


struct ngx_lockbox_resp_s {
    redisReader                      *reader;
    const redisReplyObjectFunctions  *standard;
    redisReplyObjectFunctions         functions;
    size_t                            max;
    size_t                            held;
    size_t                            announced;
    unsigned                          failed:1;
};


static void *ngx_lockbox_resp_create_string(const redisReadTask *task,
    char *str, size_t len);
static void *ngx_lockbox_resp_create_array(const redisReadTask *task,
    ngx_lockbox_resp_count_t n);
static void *ngx_lockbox_resp_create_nil(const redisReadTask *task);
#if (HIREDIS_MAJOR >= 1)
static void *ngx_lockbox_resp_create_double(const redisReadTask *task,
    double value, char *str, size_t len);
static void *ngx_lockbox_resp_create_bool(const redisReadTask *task,
    int value);
#endif
static ngx_uint_t ngx_lockbox_resp_depth(const redisReadTask *task);
static void ngx_lockbox_resp_view(redisReply *node,
    ngx_lockbox_reply_t *reply);
static ngx_int_t ngx_lockbox_resp_format(const ngx_str_t *argv, size_t argc,
    const ngx_str_t *last, ngx_str_t *text);
static ngx_uint_t ngx_lockbox_resp_sizable(const ngx_str_t *argv,
    size_t argc);


static const ngx_lockbox_resp_type_e  ngx_lockbox_resp_types[] = {
    [REDIS_REPLY_STRING] = NGX_LOCKBOX_RESP_STRING,
    [REDIS_REPLY_ARRAY] = NGX_LOCKBOX_RESP_ARRAY,
    [REDIS_REPLY_INTEGER] = NGX_LOCKBOX_RESP_INTEGER,
    [REDIS_REPLY_NIL] = NGX_LOCKBOX_RESP_NIL,
    [REDIS_REPLY_STATUS] = NGX_LOCKBOX_RESP_STATUS,
    [REDIS_REPLY_ERROR] = NGX_LOCKBOX_RESP_ERROR
};


ngx_lockbox_resp_t *
ngx_lockbox_resp_create(size_t max)
{
    redisReader         *reader;
    ngx_lockbox_resp_t  *resp;

    resp = calloc(1, sizeof(ngx_lockbox_resp_t));
    if (resp == NULL) {
        return NULL;
    }

    reader = redisReaderCreate();
    if (reader == NULL) {
        free(resp);
        return NULL;
    }

    resp->reader = reader;
    resp->max = ngx_min(max, NGX_LOCKBOX_RESP_LIMIT);

    resp->standard = reader->fn;
    resp->functions = *reader->fn;
    resp->functions.createString = ngx_lockbox_resp_create_string;
    resp->functions.createArray = ngx_lockbox_resp_create_array;
    resp->functions.createNil = ngx_lockbox_resp_create_nil;
#if (HIREDIS_MAJOR >= 1)
    resp->functions.createDouble = ngx_lockbox_resp_create_double;
    resp->functions.createBool = ngx_lockbox_resp_create_bool;
#endif

    reader->fn = &resp->functions;
    reader->privdata = resp;

    /*
     * When hiredis 0.14 trims an idle buffer and cannot allocate the new one,
     * it asserts; the limit of a reply bounds the buffer anyway
     */
    reader->maxbuf = 0;

    return resp;
}


void
ngx_lockbox_resp_destroy(ngx_lockbox_resp_t *resp)
{
    redisReaderFree(resp->reader);
    free(resp);
}


ngx_int_t
ngx_lockbox_resp_feed(ngx_lockbox_resp_t *resp, const u_char *data, size_t len)
{
    if (resp->failed
        || redisReaderFeed(resp->reader, (const char *) data, len)
           != REDIS_OK)
    {
        return NGX_ERROR;
    }

    resp->held += len;

    return NGX_OK;
}


size_t
ngx_lockbox_resp_left(const ngx_lockbox_resp_t *resp)
{
    return resp->held;
}


ngx_int_t
ngx_lockbox_resp_next(ngx_lockbox_resp_t *resp, ngx_lockbox_reply_t *reply)
{
    void    *node;
    size_t   behind;

    if (resp->failed
        || redisReaderGetReply(resp->reader, &node) != REDIS_OK)
    {
        return NGX_ERROR;
    }

    /* without a whole reply, all that is held belongs to the one under way */
    behind = node ? resp->reader->len - resp->reader->pos : 0;

    if (resp->held - behind > resp->max) {
        freeReplyObject(node);
        resp->failed = 1;
        return NGX_ERROR;
    }

    if (node == NULL) {
        return NGX_AGAIN;
    }

    resp->held = behind;
    resp->announced = 0;

    ngx_lockbox_resp_view(node, reply);

    return NGX_OK;
}


void
ngx_lockbox_resp_release(ngx_lockbox_reply_t *reply)
{
    freeReplyObject(reply->node);
    ngx_memzero(reply, sizeof(ngx_lockbox_reply_t));
}


ngx_int_t
ngx_lockbox_resp_at(const ngx_lockbox_reply_t *reply, size_t i,
    ngx_lockbox_reply_t *element)
{
    redisReply  *node;

    /* only arrays have any */
    if (i >= reply->nelts) {
        return NGX_ERROR;
    }

    node = reply->node;
    ngx_lockbox_resp_view(node->element[i], element);

    return NGX_OK;
}


ngx_int_t
ngx_lockbox_resp_command(const ngx_str_t *argv, size_t argc, ngx_str_t *text)
{
    return ngx_lockbox_resp_format(argv, argc, NULL, text);
}


ngx_int_t
ngx_lockbox_resp_command_head(const ngx_str_t *argv, size_t argc,
    ngx_str_t *text)
{
    int                      n;
    u_char                  *p;
    static const ngx_str_t   before = ngx_string(NGX_LOCKBOX_RESP_BEFORE);

    if (ngx_lockbox_resp_format(argv, argc, &before, text) != NGX_OK) {
        return NGX_ERROR;
    }

    /* hiredis writes whole arguments only; that one was to keep the place */
    text->len -= sizeof(NGX_LOCKBOX_RESP_ROOM) - 1;

    p = text->data + text->len;
    n = snprintf((char *) p, sizeof(NGX_LOCKBOX_RESP_ROOM), "$%zu" CRLF,
                 argv[argc - 1].len);

    text->len += (size_t) n;

    return NGX_OK;
}


/* With "last" in the place of the last argument, unless that is NULL. */

static ngx_int_t
ngx_lockbox_resp_format(const ngx_str_t *argv, size_t argc,
    const ngx_str_t *last, ngx_str_t *text)
{
    char         *command;
    size_t        i, *lens;
    long long     n;
    const char  **texts;

    if (argc == 0 || !ngx_lockbox_resp_sizable(argv, argc)) {
        return NGX_ERROR;
    }

    texts = malloc(argc * (sizeof(char *) + sizeof(size_t)));
    if (texts == NULL) {
        return NGX_ERROR;
    }

    lens = (size_t *) (texts + argc);

    for (i = 0; i < argc; i++) {
        /* hiredis hands the pointer to memcpy() even for no bytes */
        texts[i] = argv[i].len ? (const char *) argv[i].data : "";
        lens[i] = argv[i].len;
    }

    if (last) {
        texts[argc - 1] = (const char *) last->data;
        lens[argc - 1] = last->len;
    }

    n = redisFormatCommandArgv(&command, (int) argc, texts, lens);

    free(texts);

    if (n < 0) {
        return NGX_ERROR;
    }

    text->data = (u_char *) command;
    text->len = (size_t) n;

    return NGX_OK;
}


void
ngx_lockbox_resp_command_free(ngx_str_t *text)
{
    redisFreeCommand((char *) text->data);
    ngx_str_null(text);
}


/*
 * The functions below replace those of hiredis that make a value.  NULL means
 * refusal: hiredis then gives up the reply and all that came before in it.
 */

static void *
ngx_lockbox_resp_create_string(const redisReadTask *task, char *str,
    size_t len)
{
    ngx_lockbox_resp_t  *resp;

    resp = task->privdata;

    switch (task->type) {

    case REDIS_REPLY_STRING:

        /*
         * hiredis waits for the two bytes behind the string, but skips them
         * unseen; with anything else there the length was no true one
         */
        if (str[len] != CR || str[len + 1] != LF) {
            return NULL;
        }

        break;

    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:

        /* hiredis looks for the pair only, and goes over a single one */
        if (memchr(str, CR, len) || memchr(str, LF, len)) {
            return NULL;
        }

        break;

    default:  /* RESP3 */
        return NULL;
    }

    return resp->standard->createString(task, str, len);
}


static void *
ngx_lockbox_resp_create_array(const redisReadTask *task,
    ngx_lockbox_resp_count_t n)
{
    ngx_lockbox_resp_t  *resp;

    resp = task->privdata;

    if (task->type != REDIS_REPLY_ARRAY
        || ngx_lockbox_resp_depth(task) >= NGX_LOCKBOX_RESP_DEPTH)
    {
        return NULL;
    }

    /*
     * hiredis asks for the memory of as many elements as are announced; all
     * the arrays of one reply share the bytes that the reply may have
     */
    if ((size_t) n > resp->max / NGX_LOCKBOX_RESP_ELEMENT - resp->announced) {
        return NULL;
    }

    resp->announced += (size_t) n;

    return resp->standard->createArray(task, n);
}


static void *
ngx_lockbox_resp_create_nil(const redisReadTask *task)
{
    ngx_lockbox_resp_t  *resp;

    resp = task->privdata;

    /* RESP2 knows nil as a string or an array of no length, not by itself */
    if (task->type != REDIS_REPLY_STRING && task->type != REDIS_REPLY_ARRAY) {
        return NULL;
    }

    return resp->standard->createNil(task);
}


#if (HIREDIS_MAJOR >= 1)

static void *
ngx_lockbox_resp_create_double(const redisReadTask *task, double value,
    char *str, size_t len)
{
    return NULL;
}


static void *
ngx_lockbox_resp_create_bool(const redisReadTask *task, int value)
{
    return NULL;
}

#endif


static ngx_uint_t
ngx_lockbox_resp_depth(const redisReadTask *task)
{
    ngx_uint_t  depth;

    for (depth = 0; task->parent; task = task->parent) {
        depth++;
    }

    return depth;
}


static void
ngx_lockbox_resp_view(redisReply *node, ngx_lockbox_reply_t *reply)
{
    reply->type = ngx_lockbox_resp_types[node->type];
    reply->text.data = (u_char *) node->str;
    reply->text.len = node->len;
    reply->integer = node->integer;
    reply->nelts = node->elements;
    reply->node = node;
}


static ngx_uint_t
ngx_lockbox_resp_sizable(const ngx_str_t *argv, size_t argc)
{
    size_t  i, room;

    room = NGX_LOCKBOX_RESP_LIMIT;

    for (i = 0; i < argc; i++) {

        if (room < NGX_LOCKBOX_RESP_FRAME
            || argv[i].len > room - NGX_LOCKBOX_RESP_FRAME)
        {
            return 0;
        }

        room -= argv[i].len + NGX_LOCKBOX_RESP_FRAME;
    }

    return 1;
}
