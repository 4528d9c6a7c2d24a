/*
 * What all workers know of grants, in shared memory: facts, which never
 * change, by token, and liveness, which does, by live key.
 *
 * The zone costs speed when it is too small and time when it is lost, never
 * correctness: whatever is not found here is verified and asked for again.
 */

#ifndef _NGX_LOCKBOX_CACHE_H_INCLUDED_
#define _NGX_LOCKBOX_CACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_decision.h"


#define NGX_LOCKBOX_CACHE_KEY_LEN   32      /* SHA-256 */
#define NGX_LOCKBOX_CACHE_NAME_LEN  16      /* SHA-256, its first half */

/* Bytes; a smaller zone holds too little to be worth the look. */
#define NGX_LOCKBOX_CACHE_SIZE_MIN  (64 * 1024)

/* Bytes of facts that are kept; a grant that takes more is never cached. */
#define NGX_LOCKBOX_CACHE_FACTS_MAX  8192

/* Trust in no liveness at all; see ngx_lockbox_cache_liveness(). */
#define NGX_LOCKBOX_CACHE_NO_TRUST  ((uint64_t) -1)


typedef struct ngx_lockbox_zone_s  ngx_lockbox_zone_t;

/* How a process reaches the zone. */
typedef struct {
    ngx_lockbox_zone_t  *zone;
    ngx_shmtx_t         *mutex;
    ngx_log_t           *log;

    /*
     * Goes into the names of live keys: the zone outlives a reload, and what
     * one Redis has told says nothing of another.
     */
    u_char               store[NGX_LOCKBOX_CACHE_NAME_LEN];
} ngx_lockbox_cache_t;


/* A question that Redis is asked: the answer counts only under its ticket. */
typedef struct {
    const ngx_lockbox_cache_t  *cache;
    u_char                      name[NGX_LOCKBOX_CACHE_NAME_LEN];
    uint64_t                    ticket;
} ngx_lockbox_question_t;


/*
 * Lays an empty zone out in so many bytes of memory.  All references inside
 * are indexes, so that processes may map it anywhere.  NULL when there is too
 * little of it.
 */
ngx_lockbox_zone_t *ngx_lockbox_cache_create(void *memory, size_t size);

/*
 * The init callback of a shared memory zone whose data is a cache without a
 * zone: lays it out, or takes over what lives on over a reload.
 */
ngx_int_t ngx_lockbox_cache_init(ngx_shm_zone_t *shm_zone, void *data);

/*
 * Copies the facts that were kept under the key to "facts", which has room
 * for NGX_LOCKBOX_CACHE_FACTS_MAX bytes, and the name of their liveness to
 * "name".  Returns the length of the facts, 0 for none.
 */
size_t ngx_lockbox_cache_find(const ngx_lockbox_cache_t *cache,
    const u_char *key, u_char *name, u_char *facts);

/*
 * Keeps facts and the name of their liveness under the key, for as long as
 * there is room; those that were not used for long make way.  What is there
 * already stays as it is.
 */
void ngx_lockbox_cache_keep(const ngx_lockbox_cache_t *cache,
    const u_char *key, const u_char *name, const u_char *facts, size_t len);

/*
 * The name under which the liveness of a live key is found.  NGX_ERROR when
 * OpenSSL fails.
 */
ngx_int_t ngx_lockbox_cache_name(const ngx_lockbox_cache_t *cache,
    const ngx_str_t *live_key, u_char *name);

/*
 * ALLOW when the grant is known to be live by an answer whose ticket is
 * greater than "since" (the ticket that the caller read when its subscription
 * was confirmed; NGX_LOCKBOX_CACHE_NO_TRUST without a lease); REVOKED,
 * COMPLETED or EXPIRED when it is known to have ended, and that is for good.
 * Otherwise NOT_DECIDED: a placeholder is in place, "question" has its ticket,
 * which is greater than "since" (without trust, greater than all before), and
 * the caller asks Redis.
 */
ngx_lockbox_decision_t ngx_lockbox_cache_liveness(
    const ngx_lockbox_cache_t *cache, const u_char *name, uint64_t since,
    ngx_lockbox_question_t *question);

/*
 * Puts the answer in the place of the placeholder if that is still there:
 * whatever came in between has removed it.  An end (REVOKED, COMPLETED,
 * EXPIRED) is kept in any case, until "expires", Unix seconds.  Answers other
 * than ALLOW and an end only remove the placeholder.
 *
 * 1 when what is known now is that the grant is live as of this ticket, or
 * that it has ended; 0 when the answer is worth nothing to anybody else.
 */
ngx_uint_t ngx_lockbox_cache_answer(const ngx_lockbox_question_t *question,
    ngx_lockbox_decision_t answer, time_t expires);

/* Keeps an end that was not asked for, because the caller made it. */
void ngx_lockbox_cache_bury(const ngx_lockbox_cache_t *cache,
    const u_char *name, ngx_lockbox_decision_t end, time_t expires);

/* The live key has changed: what was known of it, or asked, counts no more. */
void ngx_lockbox_cache_forget(const ngx_lockbox_cache_t *cache,
    const u_char *name);

/* All live keys may have changed.  An end that is known stays known. */
void ngx_lockbox_cache_forget_all(const ngx_lockbox_cache_t *cache);

/* The ticket that was given out last. */
uint64_t ngx_lockbox_cache_ticket(const ngx_lockbox_cache_t *cache);


#endif /* _NGX_LOCKBOX_CACHE_H_INCLUDED_ */
