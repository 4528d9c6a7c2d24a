/*
 * One connection to Redis, owned by nginx's event loop: a queue of commands,
 * a deadline for each whole reply, reconnection.  Nothing here blocks.
 */

#ifndef _NGX_LOCKBOX_REDIS_H_INCLUDED_
#define _NGX_LOCKBOX_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_lockbox_resp.h"


typedef struct {
    ngx_addr_t                *addr;             /* unix or TCP, resolved */
    ngx_str_t                  user;             /* empty: "default" */
    ngx_str_t                  password;         /* empty: no AUTH */
    ngx_uint_t                 db;
    ngx_msec_t                 connect_timeout;
    ngx_msec_t                 timeout;          /* send to whole reply */
} ngx_lockbox_redis_conf_t;


typedef struct ngx_lockbox_redis_s          ngx_lockbox_redis_t;
typedef struct ngx_lockbox_redis_command_s  ngx_lockbox_redis_command_t;


/*
 * Called once for each command that was not cancelled: with the reply (which
 * may be an ERROR of Redis), valid during the call only, or with NULL when
 * there is none: timeout, connection lost, garbage, shutdown.
 */
typedef void (*ngx_lockbox_redis_handler_pt)(void *data,
    const ngx_lockbox_reply_t *reply);


/*
 * For a client that subscribes.  "ready" is called each time a connection has
 * become usable, "lost" each time one was given up or could not be had, and
 * "message" with each message that Redis pushes: an array that begins with
 * "message", valid during the call only.
 */
typedef struct {
    void                     (*ready)(void *data);
    void                     (*lost)(void *data);
    void                     (*message)(void *data,
                                        const ngx_lockbox_reply_t *reply);
    void                      *data;
} ngx_lockbox_redis_listener_t;


/*
 * Makes a client and starts to connect.  "name" (a static text such as
 * "gate") goes into log lines and CLIENT SETNAME; "max" is the largest reply
 * in bytes; "listener" is NULL for a client that only asks and is answered.
 * Conf and listener must outlive the client.  To be called in a worker.  NULL
 * without memory.
 */
ngx_lockbox_redis_t *ngx_lockbox_redis_create(
    const ngx_lockbox_redis_conf_t *conf, const char *name, size_t max,
    const ngx_lockbox_redis_listener_t *listener, ngx_log_t *log);

/*
 * Closes the connection and frees the client.  Whoever still waits is called
 * with NULL first.  For exit_process: an open socket would be an alert.  Not
 * to be called from a handler of a command.
 */
void ngx_lockbox_redis_destroy(ngx_lockbox_redis_t *redis);

/*
 * Queues a command; the texts are copied.  While the very first connection or
 * a reconnection attempt is under way the command waits for it within its
 * deadline, and is not sent at all when that passes; while the client waits
 * for its next attempt it is refused at once.  Returns a handle for
 * cancelling, good until the handler has returned, or NULL when the command
 * cannot be sent (the handler is not called then).  The handler is never
 * called from within this function, and may call it.
 */
ngx_lockbox_redis_command_t *ngx_lockbox_redis_send(
    ngx_lockbox_redis_t *redis, const ngx_str_t *argv, size_t argc,
    ngx_lockbox_redis_handler_pt handler, void *data);

/*
 * The same, but the bytes of the last argument are only lent: they must stay
 * as they are until the handler is called, and so the command must not be
 * cancelled.
 */
ngx_lockbox_redis_command_t *ngx_lockbox_redis_send_lent(
    ngx_lockbox_redis_t *redis, const ngx_str_t *argv, size_t argc,
    ngx_lockbox_redis_handler_pt handler, void *data);

/*
 * A worker that drains need not stay for the answer to this command, only, and
 * no longer than its deadline, until what is on its way to Redis is written.
 */
void ngx_lockbox_redis_spare(ngx_lockbox_redis_command_t *command);

/*
 * Gives the connection up, for a reply or message that the caller cannot use;
 * "fault" is a static text for the log.  To be called from a handler of this
 * client, which goes on to connect anew when that has returned.
 */
void ngx_lockbox_redis_reject(ngx_lockbox_redis_t *redis, const char *fault);

/*
 * Forgets the handler; a command that was sent keeps its place in the queue,
 * because Redis will still answer it and order is the only correlation.
 */
void ngx_lockbox_redis_cancel(ngx_lockbox_redis_command_t *command);


#endif /* _NGX_LOCKBOX_REDIS_H_INCLUDED_ */
