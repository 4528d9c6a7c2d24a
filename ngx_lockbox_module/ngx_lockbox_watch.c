/*
 * The watch: hears from Redis of every live key that changes.
 */

#include "ngx_lockbox_watch.h"
#include "ngx_lockbox_text.h"


#define NGX_LOCKBOX_WATCH_PREFIX   "lockbox:grant:"
#define NGX_LOCKBOX_WATCH_CHANNEL  "__redis__:invalidate"

/* A key that is never there: to delete it tells whether Redis takes writes. */
#define NGX_LOCKBOX_WATCH_PROBE    "lockbox:heartbeat"

/* Bytes; one message names all keys that changed in a turn of Redis. */
#define NGX_LOCKBOX_WATCH_MAX      (16 * 1024 * 1024)

/* Heartbeats in a lease, and milliseconds between them. */
#define NGX_LOCKBOX_WATCH_BEATS     8
#define NGX_LOCKBOX_WATCH_MSEC_MIN  10
#define NGX_LOCKBOX_WATCH_MSEC_MAX  250


struct ngx_lockbox_watch_s {
    /*
     * The debug log prints the "fd" of the connection that a timer's data is
     * taken for; it lies behind three pointers.
     */
    ngx_lockbox_redis_t             *redis;
    const ngx_lockbox_watch_conf_t  *conf;
    ngx_log_t                       *log;
    ngx_socket_t                     ident;

    ngx_lockbox_redis_listener_t     listener;
    ngx_event_t                      timer;

    uint64_t                         since;
    ngx_msec_t                       seen;

    /* the heartbeat that is under way */
    ngx_msec_t                       sent;
    ngx_lockbox_redis_command_t     *probe;     /* of another client */
    ngx_uint_t                       awaited;   /* answers */
    ngx_uint_t                       good;

    unsigned                         trusted:1;     /* "seen" is set */
    unsigned                         refused:1;     /* the last heartbeat */
    unsigned                         subscribed:1;  /* on this connection */
};


static void ngx_lockbox_watch_ready(void *data);
static void ngx_lockbox_watch_lost(void *data);
static ngx_lockbox_redis_command_t *ngx_lockbox_watch_send(
    ngx_lockbox_watch_t *watch, ngx_lockbox_redis_t *redis,
    const ngx_str_t *argv, size_t argc, ngx_lockbox_redis_handler_pt handler);
static void ngx_lockbox_watch_id_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_watch_tracking_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_watch_subscribe_handler(void *data,
    const ngx_lockbox_reply_t *reply);

static void ngx_lockbox_watch_message(void *data,
    const ngx_lockbox_reply_t *reply);
static ngx_int_t ngx_lockbox_watch_keys(ngx_lockbox_watch_t *watch,
    const ngx_lockbox_reply_t *keys);
static void ngx_lockbox_watch_forget_all(ngx_lockbox_watch_t *watch);

static void ngx_lockbox_watch_timer_handler(ngx_event_t *ev);
static void ngx_lockbox_watch_beat(ngx_lockbox_watch_t *watch);
static void ngx_lockbox_watch_pong_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_watch_probe_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_watch_complain(ngx_lockbox_watch_t *watch,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_watch_answered(ngx_lockbox_watch_t *watch,
    ngx_uint_t good);
static ngx_uint_t ngx_lockbox_watch_begins(const ngx_lockbox_reply_t *reply,
    const char *word);


ngx_lockbox_watch_t *
ngx_lockbox_watch_create(const ngx_lockbox_watch_conf_t *conf, ngx_log_t *log)
{
    ngx_lockbox_watch_t  *watch;

    watch = ngx_calloc(sizeof(ngx_lockbox_watch_t), log);
    if (watch == NULL) {
        return NULL;
    }

    watch->conf = conf;
    watch->log = log;
    watch->ident = (ngx_socket_t) -1;

    watch->listener.ready = ngx_lockbox_watch_ready;
    watch->listener.lost = ngx_lockbox_watch_lost;
    watch->listener.message = ngx_lockbox_watch_message;
    watch->listener.data = watch;

    watch->redis = ngx_lockbox_redis_create(conf->redis, "watch",
                                            NGX_LOCKBOX_WATCH_MAX,
                                            &watch->listener, log);
    if (watch->redis == NULL) {
        ngx_free(watch);
        return NULL;
    }

    /* a worker that drains goes on watching, but does not stay for it */

    watch->timer.handler = ngx_lockbox_watch_timer_handler;
    watch->timer.data = watch;
    watch->timer.log = log;
    watch->timer.cancelable = 1;

    ngx_add_timer(&watch->timer, NGX_LOCKBOX_WATCH_MSEC_MIN);

    return watch;
}


void
ngx_lockbox_watch_destroy(ngx_lockbox_watch_t *watch)
{
    if (watch->timer.timer_set) {
        ngx_del_timer(&watch->timer);
    }

    if (watch->probe != NULL) {
        ngx_lockbox_redis_cancel(watch->probe);
    }

    ngx_lockbox_redis_destroy(watch->redis);
    ngx_free(watch);
}


uint64_t
ngx_lockbox_watch_since(const ngx_lockbox_watch_t *watch)
{
    if (!watch->trusted
        || ngx_current_msec - watch->seen >= watch->conf->lease)
    {
        return NGX_LOCKBOX_CACHE_NO_TRUST;
    }

    return watch->since;
}


ngx_uint_t
ngx_lockbox_watch_seen(const ngx_lockbox_watch_t *watch, ngx_msec_t *seen)
{
    *seen = watch->seen;

    return watch->trusted;
}


/*
 * One connection tracks into itself: RESP2 has no other way to tell a client
 * something unasked than a message of a channel.  What changes before the
 * subscription is confirmed is told to nobody.
 */

static void
ngx_lockbox_watch_ready(void *data)
{
    ngx_str_t             argv[2];
    ngx_lockbox_watch_t  *watch = data;

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "ID");

    (void) ngx_lockbox_watch_send(watch, watch->redis, argv, 2,
                                  ngx_lockbox_watch_id_handler);
}


/* The lease runs on: it is what bounds how long a silence may last. */

static void
ngx_lockbox_watch_lost(void *data)
{
    ngx_lockbox_watch_t  *watch = data;

    watch->subscribed = 0;
}


static ngx_lockbox_redis_command_t *
ngx_lockbox_watch_send(ngx_lockbox_watch_t *watch, ngx_lockbox_redis_t *redis,
    const ngx_str_t *argv, size_t argc, ngx_lockbox_redis_handler_pt handler)
{
    ngx_lockbox_redis_command_t  *command;

    command = ngx_lockbox_redis_send(redis, argv, argc, handler, watch);

    if (command == NULL) {
        handler(watch, NULL);
        return NULL;
    }

    ngx_lockbox_redis_spare(command);

    return command;
}


static void
ngx_lockbox_watch_id_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    u_char                id[NGX_INT64_LEN];
    ngx_str_t             argv[8];
    ngx_lockbox_watch_t  *watch = data;

    if (reply == NULL || reply->type != NGX_LOCKBOX_RESP_INTEGER) {
        ngx_lockbox_redis_reject(watch->redis, "CLIENT ID refused");
        return;
    }

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "TRACKING");
    ngx_str_set(&argv[2], "ON");
    ngx_str_set(&argv[3], "REDIRECT");
    argv[4].data = id;
    argv[4].len = (size_t) (ngx_sprintf(id, "%L", reply->integer) - id);
    ngx_str_set(&argv[5], "BCAST");
    ngx_str_set(&argv[6], "PREFIX");
    ngx_str_set(&argv[7], NGX_LOCKBOX_WATCH_PREFIX);

    (void) ngx_lockbox_watch_send(watch, watch->redis, argv, 8,
                                  ngx_lockbox_watch_tracking_handler);
}


static void
ngx_lockbox_watch_tracking_handler(void *data,
    const ngx_lockbox_reply_t *reply)
{
    ngx_str_t             argv[2];
    ngx_lockbox_watch_t  *watch = data;

    if (reply == NULL
        || reply->type != NGX_LOCKBOX_RESP_STATUS
        || !ngx_lockbox_text_is(&reply->text, "OK"))
    {
        ngx_lockbox_redis_reject(watch->redis, "CLIENT TRACKING refused");
        return;
    }

    ngx_str_set(&argv[0], "SUBSCRIBE");
    ngx_str_set(&argv[1], NGX_LOCKBOX_WATCH_CHANNEL);

    (void) ngx_lockbox_watch_send(watch, watch->redis, argv, 2,
                                  ngx_lockbox_watch_subscribe_handler);
}


/*
 * What was asked of Redis before now may have changed unheard; so may what is
 * under way.
 */

static void
ngx_lockbox_watch_subscribe_handler(void *data,
    const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_watch_t  *watch = data;

    if (reply == NULL || !ngx_lockbox_watch_begins(reply, "subscribe")) {
        ngx_lockbox_redis_reject(watch->redis, "SUBSCRIBE refused");
        return;
    }

    watch->subscribed = 1;
    watch->since = ngx_lockbox_cache_ticket(watch->conf->cache);

    ngx_lockbox_watch_beat(watch);

    watch->conf->listener->changed(watch->conf->listener->data, NULL);
}


static void
ngx_lockbox_watch_message(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_reply_t   channel, keys;
    ngx_lockbox_watch_t  *watch = data;

    if (ngx_lockbox_resp_at(reply, 1, &channel) != NGX_OK
        || ngx_lockbox_resp_at(reply, 2, &keys) != NGX_OK
        || channel.type != NGX_LOCKBOX_RESP_STRING
        || !ngx_lockbox_text_is(&channel.text, NGX_LOCKBOX_WATCH_CHANNEL))
    {
        ngx_lockbox_redis_reject(watch->redis, "message that is none of ours");
        return;
    }

    /* FLUSHALL and FLUSHDB name no keys */

    if (keys.type == NGX_LOCKBOX_RESP_NIL) {
        ngx_lockbox_watch_forget_all(watch);
        return;
    }

    if (ngx_lockbox_watch_keys(watch, &keys) != NGX_OK) {
        ngx_lockbox_watch_forget_all(watch);
        ngx_lockbox_redis_reject(watch->redis, "malformed message");
    }
}


static ngx_int_t
ngx_lockbox_watch_keys(ngx_lockbox_watch_t *watch,
    const ngx_lockbox_reply_t *keys)
{
    size_t               i;
    u_char               name[NGX_LOCKBOX_CACHE_NAME_LEN];
    ngx_lockbox_reply_t  key;

    if (keys->type != NGX_LOCKBOX_RESP_ARRAY) {
        return NGX_ERROR;
    }

    for (i = 0; i < keys->nelts; i++) {

        if (ngx_lockbox_resp_at(keys, i, &key) != NGX_OK
            || key.type != NGX_LOCKBOX_RESP_STRING
            || ngx_lockbox_cache_name(watch->conf->cache, &key.text, name)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_lockbox_cache_forget(watch->conf->cache, name);

        watch->conf->listener->changed(watch->conf->listener->data, name);
    }

    return NGX_OK;
}


static void
ngx_lockbox_watch_forget_all(ngx_lockbox_watch_t *watch)
{
    ngx_lockbox_cache_forget_all(watch->conf->cache);

    watch->conf->listener->changed(watch->conf->listener->data, NULL);
}


static void
ngx_lockbox_watch_timer_handler(ngx_event_t *ev)
{
    ngx_lockbox_watch_t  *watch = ev->data;

    if (watch->subscribed) {
        ngx_lockbox_watch_beat(watch);
    }

    watch->conf->listener->tick(watch->conf->listener->data);

    ngx_add_timer(ev, ngx_lockbox_watch_period(watch->conf->lease));
}


ngx_msec_t
ngx_lockbox_watch_period(ngx_msec_t lease)
{
    ngx_msec_t  period;

    period = ngx_min(lease / NGX_LOCKBOX_WATCH_BEATS,
                     NGX_LOCKBOX_WATCH_MSEC_MAX);

    return ngx_max(period, NGX_LOCKBOX_WATCH_MSEC_MIN);
}


/*
 * Two questions, and the lease needs both answers.  The PING is answered
 * behind all that Redis had to tell before it.  But a replica answers it too,
 * and so does a primary that was cut off, which hear of a revocation late or
 * never: a command that counts as a write is refused by both (by the latter
 * if min-replicas-to-write is set).  A subscriber may not send one, so it
 * takes the connection of the look-ups.
 */

static void
ngx_lockbox_watch_beat(ngx_lockbox_watch_t *watch)
{
    ngx_str_t  argv[2];

    if (watch->awaited != 0) {
        return;
    }

    watch->sent = ngx_current_msec;
    watch->awaited = 2;
    watch->good = 0;

    ngx_str_set(&argv[0], "PING");

    (void) ngx_lockbox_watch_send(watch, watch->redis, argv, 1,
                                  ngx_lockbox_watch_pong_handler);

    ngx_str_set(&argv[0], "DEL");
    ngx_str_set(&argv[1], NGX_LOCKBOX_WATCH_PROBE);

    watch->probe = ngx_lockbox_watch_send(watch, watch->conf->gate, argv, 2,
                                          ngx_lockbox_watch_probe_handler);
}


static void
ngx_lockbox_watch_pong_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_uint_t            good;
    ngx_lockbox_watch_t  *watch = data;

    /* as a subscriber is answered; anything else comes from another Redis */

    good = reply != NULL && ngx_lockbox_watch_begins(reply, "pong");

    if (reply != NULL && !good) {
        ngx_lockbox_redis_reject(watch->redis, "PING refused");
    }

    ngx_lockbox_watch_answered(watch, good);
}


static void
ngx_lockbox_watch_probe_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_watch_t  *watch = data;

    watch->probe = NULL;

    /* a refusal is an answer, anything else is that to another question */

    if (reply != NULL
        && reply->type != NGX_LOCKBOX_RESP_INTEGER
        && reply->type != NGX_LOCKBOX_RESP_ERROR)
    {
        ngx_lockbox_redis_reject(watch->conf->gate,
                                 "reply to another question");
    }

    if (reply != NULL) {
        ngx_lockbox_watch_complain(watch, reply);
    }

    ngx_lockbox_watch_answered(watch, reply != NULL
                                      && reply->type
                                         == NGX_LOCKBOX_RESP_INTEGER);
}


/* Once: all goes on, but Redis is asked for each request. */

static void
ngx_lockbox_watch_complain(ngx_lockbox_watch_t *watch,
    const ngx_lockbox_reply_t *reply)
{
    ngx_uint_t  refused;

    refused = reply->type == NGX_LOCKBOX_RESP_ERROR;

    if (refused && !watch->refused) {
        ngx_log_error(NGX_LOG_ERR, watch->log, 0,
                      "lockbox: Redis refuses the heartbeat \"DEL "
                      NGX_LOCKBOX_WATCH_PROBE "\", so that each request asks "
                      "it: \"%V\"", &reply->text);
    }

    watch->refused = refused;
}


static void
ngx_lockbox_watch_answered(ngx_lockbox_watch_t *watch, ngx_uint_t good)
{
    watch->awaited--;
    watch->good += good;

    if (watch->good == 2 && watch->subscribed) {
        watch->seen = watch->sent;
        watch->trusted = 1;
    }
}


static ngx_uint_t
ngx_lockbox_watch_begins(const ngx_lockbox_reply_t *reply, const char *word)
{
    ngx_lockbox_reply_t  first;

    return ngx_lockbox_resp_at(reply, 0, &first) == NGX_OK
           && first.type == NGX_LOCKBOX_RESP_STRING
           && ngx_lockbox_text_is(&first.text, word);
}
