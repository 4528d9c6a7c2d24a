/*
 * The connection of a client: connecting, greeting, giving up, and connecting
 * anew.
 */

#include "ngx_lockbox_redis_internal.h"


/* Milliseconds between attempts to connect at most, without the jitter. */
#define NGX_LOCKBOX_REDIS_DELAY_MAX  2000

/*
 * Milliseconds for which a connection must have been good before its loss
 * counts as the first one: a peer that greets and then fails is called no
 * more often than one that does not answer.
 */
#define NGX_LOCKBOX_REDIS_STEADY     2000


static const char *ngx_lockbox_redis_dial(ngx_lockbox_redis_t *redis);
static void ngx_lockbox_redis_connect_handler(ngx_event_t *ev);
static ngx_int_t ngx_lockbox_redis_test_connect(ngx_connection_t *c);
static void ngx_lockbox_redis_connected(ngx_lockbox_redis_t *redis);
static ngx_int_t ngx_lockbox_redis_greet(ngx_lockbox_redis_t *redis);
static ngx_int_t ngx_lockbox_redis_greet_with(ngx_lockbox_redis_t *redis,
    const ngx_str_t *argv, size_t argc, ngx_lockbox_redis_handler_pt handler);
static void ngx_lockbox_redis_auth_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_redis_select_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_redis_setname_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static ngx_uint_t ngx_lockbox_redis_is_ok(const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_redis_ready(ngx_lockbox_redis_t *redis);
static void ngx_lockbox_redis_back_off(ngx_lockbox_redis_t *redis);
static void ngx_lockbox_redis_redial_handler(ngx_event_t *ev);


void
ngx_lockbox_redis_connect(ngx_lockbox_redis_t *redis)
{
    const char  *fault;

    redis->log.action = "connecting to";

    fault = ngx_lockbox_redis_dial(redis);
    if (fault) {
        ngx_lockbox_redis_fail(redis, fault);
    }
}


/* The steps of an attempt; what they made is undone by the caller. */
static const char *
ngx_lockbox_redis_dial(ngx_lockbox_redis_t *redis)
{
    ngx_int_t          rc;
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    rc = ngx_event_connect_peer(&redis->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        return "cannot connect";
    }

    c = redis->peer.connection;
    c->data = redis;
    c->read->handler = ngx_lockbox_redis_connect_handler;
    c->write->handler = ngx_lockbox_redis_connect_handler;

    pool = ngx_create_pool(NGX_LOCKBOX_REDIS_IN_SIZE, &redis->log);
    if (pool == NULL) {
        return "no memory";
    }

    c->pool = pool;

    redis->in = ngx_palloc(pool, NGX_LOCKBOX_REDIS_IN_SIZE);
    if (redis->in == NULL) {
        return "no memory";
    }

    redis->resp = ngx_lockbox_resp_create(redis->max);
    if (redis->resp == NULL) {
        return "no memory";
    }

    redis->timer.handler = ngx_lockbox_redis_deadline_handler;

    if (ngx_lockbox_redis_greet(redis) != NGX_OK) {
        return "no memory";
    }

    if (rc == NGX_OK) {
        ngx_lockbox_redis_connected(redis);
    }

    return NULL;
}


static void
ngx_lockbox_redis_connect_handler(ngx_event_t *ev)
{
    ngx_connection_t     *c;
    ngx_lockbox_redis_t  *redis;

    c = ev->data;
    redis = c->data;

    if (ngx_lockbox_redis_test_connect(c) != NGX_OK) {
        ngx_lockbox_redis_fail(redis, "cannot connect");
        return;
    }

    ngx_lockbox_redis_connected(redis);
}


static ngx_int_t
ngx_lockbox_redis_test_connect(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    /* Solaris reports the error as one of getsockopt() itself */
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        (void) ngx_connection_error(c, err, "connect() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_lockbox_redis_connected(ngx_lockbox_redis_t *redis)
{
    ngx_queue_t                  *q;
    ngx_connection_t             *c;
    ngx_lockbox_redis_command_t  *command;

    c = redis->peer.connection;

    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, &redis->log, 0,
                   "lockbox redis connected");

    redis->log.action = "greeting";

    c->read->handler = ngx_lockbox_redis_read_handler;
    c->write->handler = ngx_lockbox_redis_write_handler;

    /* only the greeting is there, and its time begins now */
    for (q = ngx_queue_head(&redis->pending);
         q != ngx_queue_sentinel(&redis->pending);
         q = ngx_queue_next(q))
    {
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);
        command->deadline = ngx_current_msec + redis->conf->timeout;

        ngx_lockbox_redis_arm(redis, command->deadline);
    }

    /* small commands must not wait for each other; failing costs time only */
    (void) ngx_tcp_nodelay(c);

    /*
     * The event that told of the connection may have told of bytes or of an
     * end as well.  Redis does not speak first: what is there before the
     * greeting is sent is a surplus.
     */
    if (c->read->ready) {
        ngx_lockbox_redis_read_handler(c->read);

        if (redis->peer.connection == NULL) {
            return;
        }
    }

    /* posted in a worker that is just starting, it would wait for an event */
    ngx_lockbox_redis_write_handler(c->write);
}


/*
 * The commands that make a connection usable.  They have answered before any
 * other is sent: behind a failed SELECT another database would answer, behind
 * a failed AUTH another user.
 */
static ngx_int_t
ngx_lockbox_redis_greet(ngx_lockbox_redis_t *redis)
{
    size_t                           n;
    u_char                           db[NGX_INT_T_LEN];
    u_char                           name[64];
    ngx_str_t                        argv[3];
    const ngx_lockbox_redis_conf_t  *conf;

    conf = redis->conf;

    if (conf->password.len) {
        n = 0;
        ngx_str_set(&argv[n], "AUTH");
        n++;

        if (conf->user.len) {
            argv[n++] = conf->user;
        }

        argv[n++] = conf->password;

        if (ngx_lockbox_redis_greet_with(redis, argv, n,
                                         ngx_lockbox_redis_auth_handler)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (conf->db) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1].data = db;
        argv[1].len = ngx_sprintf(db, "%ui", conf->db) - db;

        if (ngx_lockbox_redis_greet_with(redis, argv, 2,
                                         ngx_lockbox_redis_select_handler)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "SETNAME");
    argv[2].data = name;
    argv[2].len = ngx_snprintf(name, sizeof(name), "lockbox-%s", redis->name)
                  - name;

    return ngx_lockbox_redis_greet_with(redis, argv, 3,
                                        ngx_lockbox_redis_setname_handler);
}


static ngx_int_t
ngx_lockbox_redis_greet_with(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler)
{
    ngx_lockbox_redis_command_t  *command;

    command = ngx_lockbox_redis_command(redis, argv, argc, 0, handler,
                                        redis);
    if (command == NULL) {
        return NGX_ERROR;
    }

    ngx_lockbox_redis_transmit(command);

    command->deadline = ngx_current_msec + redis->conf->connect_timeout;
    ngx_lockbox_redis_arm(redis, command->deadline);

    return NGX_OK;
}


/*
 * The text of the error stays unsaid: "unknown command 'AUTH', with args
 * beginning with: ..." has the password in it.
 */
static void
ngx_lockbox_redis_auth_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_t  *redis = data;

    if (reply && !ngx_lockbox_redis_is_ok(reply)) {
        redis->fault = "AUTH refused";
    }
}


static void
ngx_lockbox_redis_select_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_t  *redis = data;

    if (reply && !ngx_lockbox_redis_is_ok(reply)) {
        redis->fault = "SELECT refused";
    }
}


/* The name is for those who look at CLIENT LIST; a user may lack the right. */
static void
ngx_lockbox_redis_setname_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_t  *redis = data;

    if (reply == NULL) {
        return;
    }

    if (reply->type != NGX_LOCKBOX_RESP_ERROR
        && !ngx_lockbox_redis_is_ok(reply))
    {
        redis->fault = "unexpected reply to CLIENT SETNAME";
        return;
    }

    ngx_lockbox_redis_ready(redis);
}


static ngx_uint_t
ngx_lockbox_redis_is_ok(const ngx_lockbox_reply_t *reply)
{
    return reply->type == NGX_LOCKBOX_RESP_STATUS
           && reply->text.len == 2
           && ngx_memcmp(reply->text.data, "OK", 2) == 0;
}


static void
ngx_lockbox_redis_ready(ngx_lockbox_redis_t *redis)
{
    ngx_queue_t                  *q, *next;
    ngx_lockbox_redis_command_t  *command;

    redis->ready = 1;
    redis->since = ngx_current_msec;
    redis->log.action = "using";

    if (redis->down) {
        redis->down = 0;
        redis->log.log_level = redis->log_level;

        ngx_log_error(NGX_LOG_NOTICE, &redis->log, 0,
                      "Redis is back in service");
    }

    for (q = ngx_queue_head(&redis->held);
         q != ngx_queue_sentinel(&redis->held);
         q = next)
    {
        next = ngx_queue_next(q);
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);

        /* the timer of this very loop sees to it */
        if (ngx_lockbox_redis_late(command)) {
            continue;
        }

        ngx_lockbox_redis_unhold(command);

        if (command->handler == NULL) {
            ngx_lockbox_redis_free(command);
            continue;
        }

        ngx_lockbox_redis_transmit(command);
    }

    if (redis->listener) {
        redis->listener->ready(redis->listener->data);
    }
}


void
ngx_lockbox_redis_fail(ngx_lockbox_redis_t *redis, const char *fault)
{
    if (!redis->down) {
        ngx_log_error(NGX_LOG_ERR, &redis->log, 0,
                      "Redis is out of service: %s", fault);

        /* nginx itself logs each failed attempt: once is enough */
        redis->down = 1;
        redis->log.log_level = ngx_min(redis->log_level, NGX_LOG_ALERT);
    }

    if (redis->ready
        && ngx_current_msec - redis->since >= NGX_LOCKBOX_REDIS_STEADY)
    {
        redis->delay = NGX_LOCKBOX_REDIS_DELAY_MIN;
    }

    ngx_lockbox_redis_close(redis);
    ngx_lockbox_redis_back_off(redis);

    if (redis->listener) {
        redis->listener->lost(redis->listener->data);
    }

    /* the handlers find a client that refuses commands */
    ngx_lockbox_redis_orphan(redis);
}


void
ngx_lockbox_redis_close(ngx_lockbox_redis_t *redis)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    if (redis->resp) {
        ngx_lockbox_resp_destroy(redis->resp);
        redis->resp = NULL;
    }

    ngx_lockbox_redis_discard(redis);

    c = redis->peer.connection;

    if (c) {
        pool = c->pool;

        ngx_close_connection(c);
        redis->peer.connection = NULL;

        if (pool) {
            ngx_destroy_pool(pool);
        }
    }

    redis->in = NULL;
    redis->fault = NULL;
    redis->ready = 0;
}


static void
ngx_lockbox_redis_back_off(ngx_lockbox_redis_t *redis)
{
    ngx_msec_t  delay;

    /* workers that lost Redis together must not return together */
    delay = redis->delay * 3 / 4;
    delay += ngx_random() % (redis->delay / 2 + 1);

    redis->delay = ngx_min(redis->delay * 2, NGX_LOCKBOX_REDIS_DELAY_MAX);

    redis->timer.handler = ngx_lockbox_redis_redial_handler;
    ngx_add_timer(&redis->timer, delay);
}


/*
 * A worker that drains goes on trying: responses that outlive a reload still
 * need Redis.  The timer is cancelable, so no worker stays for it.
 */
static void
ngx_lockbox_redis_redial_handler(ngx_event_t *ev)
{
    ngx_lockbox_redis_connect(ev->data);
}
