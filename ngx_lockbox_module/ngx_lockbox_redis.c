/*
 * The client as its users see it: commands, what becomes of them, and a
 * deadline for each whole reply.
 */

#include "ngx_lockbox_redis_internal.h"


/* Bytes; what is not sent by then is refused. */
#define NGX_LOCKBOX_REDIS_OUT_MAX  (4 * 1024 * 1024)


static ngx_lockbox_redis_command_t *ngx_lockbox_redis_submit(
    ngx_lockbox_redis_t *redis, const ngx_str_t *argv, size_t argc,
    ngx_uint_t lends, ngx_lockbox_redis_handler_pt handler, void *data);
static u_char *ngx_lockbox_redis_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


ngx_lockbox_redis_t *
ngx_lockbox_redis_create(const ngx_lockbox_redis_conf_t *conf,
    const char *name, size_t max,
    const ngx_lockbox_redis_listener_t *listener, ngx_log_t *log)
{
    ngx_lockbox_redis_t  *redis;

    redis = ngx_calloc(sizeof(ngx_lockbox_redis_t), log);
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->name = name;
    redis->max = max;
    redis->listener = listener;
    redis->ident = (ngx_socket_t) -1;
    redis->delay = NGX_LOCKBOX_REDIS_DELAY_MIN;

    redis->log = *log;
    redis->log.handler = ngx_lockbox_redis_log_error;
    redis->log.data = redis;
    redis->log.action = NULL;
    redis->log_level = log->log_level;

    ngx_queue_init(&redis->pending);
    ngx_queue_init(&redis->held);
    ngx_lockbox_redis_discard(redis);

    redis->timer.data = redis;
    redis->timer.log = &redis->log;
    redis->timer.cancelable = 1;

    redis->peer.sockaddr = conf->addr->sockaddr;
    redis->peer.socklen = conf->addr->socklen;
    redis->peer.name = &redis->conf->addr->name;
    redis->peer.get = ngx_event_get_peer;
    redis->peer.log = &redis->log;
    redis->peer.log_error = NGX_ERROR_ERR;

    ngx_lockbox_redis_connect(redis);

    return redis;
}


void
ngx_lockbox_redis_destroy(ngx_lockbox_redis_t *redis)
{
    ngx_lockbox_redis_close(redis);
    ngx_lockbox_redis_orphan(redis);

    ngx_free(redis);
}


ngx_lockbox_redis_command_t *
ngx_lockbox_redis_send(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler, void *data)
{
    return ngx_lockbox_redis_submit(redis, argv, argc, 0, handler, data);
}


ngx_lockbox_redis_command_t *
ngx_lockbox_redis_send_lent(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler, void *data)
{
    return ngx_lockbox_redis_submit(redis, argv, argc, 1, handler, data);
}


static ngx_lockbox_redis_command_t *
ngx_lockbox_redis_submit(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_uint_t lends, ngx_lockbox_redis_handler_pt handler,
    void *data)
{
    size_t                        unsent;
    ngx_lockbox_redis_command_t  *command;

    /*
     * Nothing waits for a future attempt, nor makes one, whether the worker
     * drains or not: refused at once is better than refused late
     */
    if (redis->peer.connection == NULL) {
        return NULL;
    }

    command = ngx_lockbox_redis_command(redis, argv, argc, lends, handler,
                                        data);
    if (command == NULL) {
        return NULL;
    }

    unsent = redis->held_bytes + ngx_lockbox_redis_unwritten(redis);

    if (unsent + command->size > NGX_LOCKBOX_REDIS_OUT_MAX) {
        ngx_lockbox_redis_free(command);
        return NULL;
    }

    command->deadline = ngx_current_msec + redis->conf->timeout;

    if (!redis->ready) {
        ngx_queue_insert_tail(&redis->held, &command->queue);
        redis->held_bytes += command->size;

    } else {
        ngx_lockbox_redis_transmit(command);
    }

    /* the worker must not exit while somebody waits */
    command->awaited = 1;
    redis->awaited++;
    redis->timer.cancelable = 0;

    ngx_lockbox_redis_arm(redis, command->deadline);

    return command;
}


void
ngx_lockbox_redis_reject(ngx_lockbox_redis_t *redis, const char *fault)
{
    /* a connection that is gone already has no fault to pass on to the next */
    if (redis->peer.connection) {
        redis->fault = fault;
    }
}


void
ngx_lockbox_redis_cancel(ngx_lockbox_redis_command_t *command)
{
    command->handler = NULL;
    ngx_lockbox_redis_spare(command);
}


void
ngx_lockbox_redis_spare(ngx_lockbox_redis_command_t *command)
{
    ngx_lockbox_redis_t  *redis;

    if (command->awaited) {
        redis = command->redis;

        command->awaited = 0;
        redis->awaited--;
        ngx_lockbox_redis_loosen(redis);
    }
}


void
ngx_lockbox_redis_loosen(ngx_lockbox_redis_t *redis)
{
    redis->timer.cancelable = (redis->awaited == 0 && redis->out == NULL);
}


ngx_lockbox_redis_command_t *
ngx_lockbox_redis_command(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_uint_t lends, ngx_lockbox_redis_handler_pt handler,
    void *data)
{
    ngx_int_t                     rc;
    ngx_lockbox_redis_command_t  *command;

    command = ngx_calloc(sizeof(ngx_lockbox_redis_command_t), &redis->log);
    if (command == NULL) {
        return NULL;
    }

    rc = lends ? ngx_lockbox_resp_command_head(argv, argc, &command->text)
               : ngx_lockbox_resp_command(argv, argc, &command->text);

    if (rc != NGX_OK) {
        ngx_free(command);
        return NULL;
    }

    command->size = command->text.len;

    if (lends) {
        command->lends = 1;
        command->lent = argv[argc - 1];
        command->size += command->lent.len + sizeof(CRLF) - 1;
    }

    command->redis = redis;
    command->handler = handler;
    command->data = data;

    return command;
}


void
ngx_lockbox_redis_unhold(ngx_lockbox_redis_command_t *command)
{
    ngx_queue_remove(&command->queue);
    command->redis->held_bytes -= command->size;
}


ngx_lockbox_redis_command_t *
ngx_lockbox_redis_head(ngx_queue_t *queue)
{
    /*
     * The analyzer does not see that unlinking the head writes to the queue,
     * and so takes the next head for the one just freed
     */
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    return ngx_queue_data(ngx_queue_head(queue), ngx_lockbox_redis_command_t,
                          queue);
}


void
ngx_lockbox_redis_finish(ngx_lockbox_redis_command_t *command,
    const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_handler_pt  handler;

    handler = command->handler;
    ngx_lockbox_redis_cancel(command);

    if (handler) {
        handler(command->data, reply);
    }

    ngx_lockbox_redis_free(command);
}


/*
 * The commands lie in a list of their own meanwhile, and one that a handler
 * cancels stays there: the next one is always good.
 */
void
ngx_lockbox_redis_orphan(ngx_lockbox_redis_t *redis)
{
    ngx_queue_t                  *q, *next, orphans;
    ngx_lockbox_redis_command_t  *command;

    ngx_queue_init(&orphans);

    if (!ngx_queue_empty(&redis->pending)) {
        ngx_queue_add(&orphans, &redis->pending);
        ngx_queue_init(&redis->pending);
    }

    if (!ngx_queue_empty(&redis->held)) {
        ngx_queue_add(&orphans, &redis->held);
        ngx_queue_init(&redis->held);
    }

    redis->held_bytes = 0;

    for (q = ngx_queue_head(&orphans);
         q != ngx_queue_sentinel(&orphans);
         q = next)
    {
        next = ngx_queue_next(q);
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);

        ngx_lockbox_redis_finish(command, NULL);
    }
}


void
ngx_lockbox_redis_free(ngx_lockbox_redis_command_t *command)
{
    ngx_lockbox_redis_free_text(command);
    ngx_free(command);
}


void
ngx_lockbox_redis_free_text(ngx_lockbox_redis_command_t *command)
{
    if (command->text.data) {
        if (!command->redis->ready) {
            /* it may be the password's */
            ngx_explicit_memzero(command->text.data, command->text.len);
        }

        ngx_lockbox_resp_command_free(&command->text);
    }
}


void
ngx_lockbox_redis_arm(ngx_lockbox_redis_t *redis, ngx_msec_t deadline)
{
    ngx_event_t     *timer;
    ngx_msec_int_t   left;

    timer = &redis->timer;

    if (timer->timer_set) {

        if ((ngx_msec_int_t) (timer->timer.key - deadline) <= 0) {
            return;
        }

        ngx_del_timer(timer);
    }

    left = (ngx_msec_int_t) (deadline - ngx_current_msec);

    ngx_add_timer(timer, ngx_max(left, 0));
}


ngx_uint_t
ngx_lockbox_redis_late(const ngx_lockbox_redis_command_t *command)
{
    return (ngx_msec_int_t) (command->deadline - ngx_current_msec) <= 0;
}


void
ngx_lockbox_redis_deadline_handler(ngx_event_t *ev)
{
    ngx_queue_t                  *q, *next;
    ngx_lockbox_redis_t          *redis;
    ngx_lockbox_redis_command_t  *command;

    redis = ev->data;

    if (!ngx_queue_empty(&redis->pending)) {
        command = ngx_lockbox_redis_head(&redis->pending);

        if (ngx_lockbox_redis_late(command)) {
            /* a reply that comes now would be taken for that of another */
            ngx_lockbox_redis_fail(redis, "no reply in time");
            return;
        }

        ngx_lockbox_redis_arm(redis, command->deadline);
    }

    for (q = ngx_queue_head(&redis->held);
         q != ngx_queue_sentinel(&redis->held);
         q = next)
    {
        next = ngx_queue_next(q);
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);

        if (!ngx_lockbox_redis_late(command)) {
            ngx_lockbox_redis_arm(redis, command->deadline);
            break;
        }

        ngx_lockbox_redis_unhold(command);
        ngx_lockbox_redis_finish(command, NULL);
    }
}


static u_char *
ngx_lockbox_redis_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char               *p;
    ngx_lockbox_redis_t  *redis;

    redis = log->data;

    p = ngx_snprintf(buf, len, " while %s lockbox redis \"%s\", server: %V",
                     log->action, redis->name, &redis->conf->addr->name);

    return p;
}
