/*
 * What the sources of the client of Redis know of each other, and nobody else
 * does:
 *
 *     ngx_lockbox_redis.c             what users call; commands, deadlines
 *     ngx_lockbox_redis_connection.c  from connecting to giving up
 *     ngx_lockbox_redis_wire.c        replies in, commands out
 *
 * The states follow each other through the handlers of events: connecting,
 * greeting (AUTH, SELECT, CLIENT SETNAME under way), ready, and without a
 * connection, waiting for the next attempt.  Whatever goes wrong ends in
 * ngx_lockbox_redis_fail(), which handlers of events call as the last thing
 * they do: what is found out deeper down is returned or noted, so that no
 * connection is closed under a function that still uses it.
 */

#ifndef _NGX_LOCKBOX_REDIS_INTERNAL_H_INCLUDED_
#define _NGX_LOCKBOX_REDIS_INTERNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "ngx_lockbox_redis.h"


/* Bytes of what is read at once. */
#define NGX_LOCKBOX_REDIS_IN_SIZE    16384

/* Milliseconds before the second attempt to connect, without the jitter. */
#define NGX_LOCKBOX_REDIS_DELAY_MIN  100


/*
 * What is left to write of bytes that lie together.  The "tag" is the command
 * whose text they are, or NULL.
 */
typedef struct {
    ngx_buf_t                        buf;
    ngx_chain_t                      link;      /* in "out" */
} ngx_lockbox_redis_piece_t;


struct ngx_lockbox_redis_command_s {
    ngx_queue_t                      queue;
    ngx_lockbox_redis_t             *redis;
    ngx_lockbox_redis_handler_pt     handler;
    void                            *data;
    ngx_str_t                        text;      /* until it is written */
    ngx_str_t                        lent;      /* the last argument, if that
                                                   is not in the text */
    ngx_lockbox_redis_piece_t        pieces[3]; /* text, lent, line end */
    size_t                           size;      /* of all */
    off_t                            end;       /* its last byte's place */
    ngx_msec_t                       deadline;
    unsigned                         awaited:1;
    unsigned                         lends:1;
};


struct ngx_lockbox_redis_s {
    /*
     * The debug log prints the "fd" of the connection that a timer's data is
     * taken for; it lies behind three pointers.
     */
    const ngx_lockbox_redis_conf_t  *conf;
    const char                      *name;
    ngx_lockbox_resp_t              *resp;
    ngx_socket_t                     ident;

    const ngx_lockbox_redis_listener_t  *listener;

    size_t                           max;
    ngx_log_t                        log;
    ngx_uint_t                       log_level;

    ngx_peer_connection_t            peer;
    u_char                          *in;

    /* the pieces that are not wholly written, and the place of their last byte
       among all of the connection's */
    ngx_chain_t                     *out;
    ngx_chain_t                    **out_last;
    off_t                            out_end;

    ngx_queue_t                      pending;   /* in "out" or sent */
    ngx_queue_t                      held;      /* until ready */
    size_t                           held_bytes;
    ngx_uint_t                       awaited;

    /* the next attempt without a connection, else the next deadline */
    ngx_event_t                      timer;
    ngx_msec_t                       delay;
    ngx_msec_t                       since;

    /* why the connection must go, noted while replies are handed out */
    const char                      *fault;

    unsigned                         ready:1;
    unsigned                         down:1;
};


/* The connection */

/*
 * Begins an attempt to connect.  One that cannot even begin has failed, as by
 * ngx_lockbox_redis_fail().
 */
void ngx_lockbox_redis_connect(ngx_lockbox_redis_t *redis);

/*
 * Closes the connection, of whatever state, sets the timer for the next
 * attempt, and calls all who wait; "fault" is a static text for the log.
 */
void ngx_lockbox_redis_fail(ngx_lockbox_redis_t *redis, const char *fault);

/*
 * Closes the connection, if there is one, and stops the timer.  Commands stay
 * in their queues.
 */
void ngx_lockbox_redis_close(ngx_lockbox_redis_t *redis);


/* The wire */

/* The handlers of a connection's events once it is there. */
void ngx_lockbox_redis_read_handler(ngx_event_t *rev);
void ngx_lockbox_redis_write_handler(ngx_event_t *wev);

/*
 * Queues the command, which is in no queue yet, for the connection there is.
 * It is written when the handlers of this loop are done, so that their
 * commands go out together, and its text is freed then.
 */
void ngx_lockbox_redis_transmit(ngx_lockbox_redis_command_t *command);

/* Bytes that are to be written. */
size_t ngx_lockbox_redis_unwritten(const ngx_lockbox_redis_t *redis);

/* Forgets what is to be written; the texts stay with their commands. */
void ngx_lockbox_redis_discard(ngx_lockbox_redis_t *redis);


/* Commands */

/*
 * A command that is in no queue yet, and "lends" its last argument or not, as
 * of ngx_lockbox_redis_send_lent().  NULL without memory.
 */
ngx_lockbox_redis_command_t *ngx_lockbox_redis_command(
    ngx_lockbox_redis_t *redis, const ngx_str_t *argv, size_t argc,
    ngx_uint_t lends, ngx_lockbox_redis_handler_pt handler, void *data);

/* The first one of a queue that is not empty. */
ngx_lockbox_redis_command_t *ngx_lockbox_redis_head(ngx_queue_t *queue);

/*
 * Lets a worker that drains go if nobody waits and all is written: half of a
 * command is none.  To be called when one of the two has changed.
 */
void ngx_lockbox_redis_loosen(ngx_lockbox_redis_t *redis);

/* Takes the command out of the queue of those that are held. */
void ngx_lockbox_redis_unhold(ngx_lockbox_redis_command_t *command);

/*
 * Calls the handler, unless that was cancelled, and frees the command, which
 * is in no queue.  The handler is called last of all that touches the client,
 * and a handle that is cancelled within it is still good.
 */
void ngx_lockbox_redis_finish(ngx_lockbox_redis_command_t *command,
    const ngx_lockbox_reply_t *reply);

/* Calls all who wait, of both queues. */
void ngx_lockbox_redis_orphan(ngx_lockbox_redis_t *redis);

/* Frees a command that is in no queue, and calls nobody. */
void ngx_lockbox_redis_free(ngx_lockbox_redis_command_t *command);

/* Frees the command's text, and wipes it if it may be the password's. */
void ngx_lockbox_redis_free_text(ngx_lockbox_redis_command_t *command);


/* Deadlines */

/*
 * Makes the timer run no later than at the deadline.  One that runs earlier
 * stays: it looks at the queues and is set anew, once a timeout and not once
 * a command.
 */
void ngx_lockbox_redis_arm(ngx_lockbox_redis_t *redis, ngx_msec_t deadline);

/* Whether the command's deadline has passed. */
ngx_uint_t ngx_lockbox_redis_late(const ngx_lockbox_redis_command_t *command);

/* The timer's handler while there is a connection. */
void ngx_lockbox_redis_deadline_handler(ngx_event_t *ev);


#endif /* _NGX_LOCKBOX_REDIS_INTERNAL_H_INCLUDED_ */
