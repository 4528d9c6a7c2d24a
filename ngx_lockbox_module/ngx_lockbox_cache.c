/*
 * What all workers know of grants, in shared memory.
 *
 * Two tables of slots of one size each: cells of facts, of which a grant takes
 * as many as its texts need, and liveness.  A slot is in a chain of its hash
 * bucket and in a queue by age, and all references are slot numbers counted
 * from one, so that zero is none and zeroed memory is an empty zone.
 *
 * The zone is only entered under its lock, for the time of a look-up and a
 * copy.  A worker that is killed inside leaves the mark "dirty" behind, and
 * the next one that enters empties the zone.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/evp.h>

#include <sys/mman.h>

#include "ngx_lockbox_cache.h"


/* Cells of facts to an entry of liveness: what an ordinary grant takes. */
#define NGX_LOCKBOX_CELLS       3

#define NGX_LOCKBOX_SLOTS_MAX   0x7fffffff

/* Bytes that the processor fetches at once. */
#define NGX_LOCKBOX_LINE        64

/* Buckets of liveness for each entry: the more, the fewer share one. */
#define NGX_LOCKBOX_SPREAD      2

/* How many of those that were used are spared to find one that was not. */
#define NGX_LOCKBOX_SPARED      32


/* What every slot begins with. */
typedef struct {
    uint32_t               chain;       /* next of the bucket, or free slot */
    uint32_t               newer;
    uint32_t               older;
    uint32_t               used;        /* 1: since it was queued */
} ngx_lockbox_slot_t;


typedef struct {
    uint32_t               newest;
    uint32_t               oldest;
} ngx_lockbox_ages_t;


typedef struct {
    size_t                 slots;       /* places in the zone */
    size_t                 buckets;
    size_t                 size;        /* of a slot */
    size_t                 fetched;     /* bytes that are mostly needed */
    uint32_t               n;           /* slots */
    uint32_t               nbuckets;
    uint32_t               fresh;       /* slots that were never used */
    uint32_t               free;        /* the first of those given back */
    uint32_t               nfree;       /* fresh ones included */
} ngx_lockbox_table_t;


struct ngx_lockbox_zone_s {
    uint64_t               ticket;
    uint32_t               epoch;
    volatile uint32_t      dirty;

    ngx_lockbox_table_t    facts;
    ngx_lockbox_table_t    liveness;

    ngx_lockbox_ages_t     kept;        /* facts */
    ngx_lockbox_ages_t     live;        /* liveness without the ended ones */
    ngx_lockbox_ages_t     ended;
};


/* The first cell of a grant's facts ... */
typedef struct {
    ngx_lockbox_slot_t     slot;
    u_char                 key[NGX_LOCKBOX_CACHE_KEY_LEN];
    u_char                 name[NGX_LOCKBOX_CACHE_NAME_LEN];
    uint32_t               more;        /* the cell that goes on */
    uint32_t               len;
    u_char                 text[8];
} ngx_lockbox_facts_t;


/* ... and the others, which have no use for the rest of a slot. */
typedef struct {
    uint32_t               more;
    u_char                 text[sizeof(ngx_lockbox_facts_t)
                                - sizeof(uint32_t)];
} ngx_lockbox_cell_t;


typedef struct {
    ngx_lockbox_slot_t     slot;
    u_char                 name[NGX_LOCKBOX_CACHE_NAME_LEN];
    uint64_t               ticket;
    int64_t                expires;     /* of an end: not needed any more */
    uint32_t               epoch;
    uint16_t               state;       /* ngx_lockbox_decision_t: ALLOW, an
                                           end, or NOT_DECIDED: asked */
} ngx_lockbox_liveness_t;


static void ngx_lockbox_cache_table(ngx_lockbox_table_t *table, size_t *place,
    size_t size);
static void ngx_lockbox_cache_empty(ngx_lockbox_zone_t *zone);
static ngx_lockbox_zone_t *ngx_lockbox_cache_enter(
    const ngx_lockbox_cache_t *cache);
static void ngx_lockbox_cache_leave(const ngx_lockbox_cache_t *cache);

static void *ngx_lockbox_cache_slot(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, uint32_t number);
static uint32_t *ngx_lockbox_cache_bucket(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, const u_char *key);
static ngx_inline void ngx_lockbox_cache_fetch(
    const ngx_lockbox_table_t *table, const void *slot);
static uint32_t ngx_lockbox_cache_search(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, const u_char *key, size_t len);
static uint32_t ngx_lockbox_cache_take(ngx_lockbox_zone_t *zone,
    ngx_lockbox_table_t *table);
static void ngx_lockbox_cache_give(ngx_lockbox_zone_t *zone,
    ngx_lockbox_table_t *table, uint32_t number);
static void ngx_lockbox_cache_chain(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, uint32_t number, const u_char *key);
static void ngx_lockbox_cache_unchain(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, uint32_t number, const u_char *key);
static void ngx_lockbox_cache_push(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, ngx_lockbox_ages_t *ages,
    uint32_t number);
static void ngx_lockbox_cache_pull(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, ngx_lockbox_ages_t *ages,
    uint32_t number);
static uint32_t ngx_lockbox_cache_oldest(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, ngx_lockbox_ages_t *ages);
static void ngx_lockbox_cache_use(ngx_lockbox_slot_t *slot, uint32_t used);

static void ngx_lockbox_cache_drop(ngx_lockbox_zone_t *zone, uint32_t number);
static uint32_t ngx_lockbox_cache_cells(size_t len);
static void ngx_lockbox_cache_copy(ngx_lockbox_zone_t *zone,
    ngx_lockbox_facts_t *facts, u_char *in, const u_char *out);
static void ngx_lockbox_cache_expect(ngx_lockbox_zone_t *zone,
    const uint32_t *bucket);
static uint32_t ngx_lockbox_cache_liveness_slot(ngx_lockbox_zone_t *zone,
    const u_char *name);
static void ngx_lockbox_cache_remove(ngx_lockbox_zone_t *zone,
    uint32_t number);
static void ngx_lockbox_cache_end(ngx_lockbox_zone_t *zone,
    const u_char *name, ngx_lockbox_decision_t end, time_t expires);
static ngx_uint_t ngx_lockbox_cache_is_end(ngx_uint_t decision);


ngx_lockbox_zone_t *
ngx_lockbox_cache_create(void *memory, size_t size)
{
    size_t               n, place, unit;
    ngx_lockbox_zone_t  *zone = memory;

    if (size < NGX_LOCKBOX_CACHE_SIZE_MIN / 2) {
        return NULL;
    }

    /* in bytes, an entry of liveness with the facts that go with it */

    unit = sizeof(ngx_lockbox_liveness_t)
           + NGX_LOCKBOX_SPREAD * sizeof(uint32_t)
           + NGX_LOCKBOX_CELLS
             * (sizeof(ngx_lockbox_facts_t) + sizeof(uint32_t));

    n = ngx_min((size - sizeof(ngx_lockbox_zone_t)) / unit,
                NGX_LOCKBOX_SLOTS_MAX / NGX_LOCKBOX_CELLS);

    ngx_memzero(zone, sizeof(ngx_lockbox_zone_t));

    place = sizeof(ngx_lockbox_zone_t);

    zone->liveness.n = (uint32_t) n;
    zone->liveness.nbuckets = (uint32_t) (n * NGX_LOCKBOX_SPREAD);
    zone->liveness.fetched = sizeof(ngx_lockbox_liveness_t);

    ngx_lockbox_cache_table(&zone->liveness, &place,
                            sizeof(ngx_lockbox_liveness_t));

    /* cells of one grant lie side by side as long as no other has gone */

    zone->facts.n = (uint32_t) (n * NGX_LOCKBOX_CELLS);
    zone->facts.nbuckets = zone->facts.n;
    zone->facts.fetched = (NGX_LOCKBOX_CELLS + 1)
                          * sizeof(ngx_lockbox_facts_t);

    ngx_lockbox_cache_table(&zone->facts, &place,
                            sizeof(ngx_lockbox_facts_t));

    ngx_lockbox_cache_empty(zone);

    return zone;
}


static void
ngx_lockbox_cache_table(ngx_lockbox_table_t *table, size_t *place, size_t size)
{
    table->size = size;

    table->slots = *place;
    *place += table->n * size;

    table->buckets = *place;
    *place += table->nbuckets * sizeof(uint32_t);
}


/*
 * Ticket and epoch go on: an answer to what was asked before must find no
 * placeholder that looks like its own.
 */

static void
ngx_lockbox_cache_empty(ngx_lockbox_zone_t *zone)
{
    ngx_uint_t            i;
    ngx_lockbox_table_t  *table, *tables[2];

    tables[0] = &zone->facts;
    tables[1] = &zone->liveness;

    for (i = 0; i < 2; i++) {
        table = tables[i];

        table->fresh = 1;
        table->free = 0;
        table->nfree = table->n;

        ngx_memzero((u_char *) zone + table->buckets,
                    table->nbuckets * sizeof(uint32_t));
    }

    ngx_memzero(&zone->kept, sizeof(ngx_lockbox_ages_t));
    ngx_memzero(&zone->live, sizeof(ngx_lockbox_ages_t));
    ngx_memzero(&zone->ended, sizeof(ngx_lockbox_ages_t));

    zone->epoch++;
}


/*
 * The memory is one piece of nginx's slab pool, whose lock nginx itself takes
 * from a worker that died holding it.
 */

ngx_int_t
ngx_lockbox_cache_init(ngx_shm_zone_t *shm_zone, void *data)
{
    size_t                size;
    void                 *memory;
    ngx_slab_pool_t      *shpool;
    ngx_lockbox_cache_t  *cache, *former;

    cache = shm_zone->data;
    former = data;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    cache->mutex = &shpool->mutex;

    if (former != NULL) {
        cache->zone = former->zone;
        return NGX_OK;
    }

    if (shm_zone->shm.exists) {
        cache->zone = shpool->data;
        return NGX_OK;
    }

    size = shpool->pfree * ngx_pagesize;

    memory = ngx_slab_alloc(shpool, size);
    if (memory == NULL) {
        return NGX_ERROR;
    }

#ifdef MADV_HUGEPAGE

    /* a look-up goes to places far apart; a system without may say no */

    (void) madvise(memory, size, MADV_HUGEPAGE);

#endif

    cache->zone = ngx_lockbox_cache_create(memory, size);
    if (cache->zone == NULL) {
        return NGX_ERROR;
    }

    shpool->data = cache->zone;

    return NGX_OK;
}


static ngx_lockbox_zone_t *
ngx_lockbox_cache_enter(const ngx_lockbox_cache_t *cache)
{
    ngx_lockbox_zone_t  *zone;

    zone = cache->zone;

    ngx_shmtx_lock(cache->mutex);

    if (zone->dirty) {
        ngx_log_error(NGX_LOG_WARN, cache->log, 0,
                      "lockbox zone is emptied: a process was killed while "
                      "it changed it");

        ngx_lockbox_cache_empty(zone);
    }

    zone->dirty = 1;
    ngx_memory_barrier();

    return zone;
}


static void
ngx_lockbox_cache_leave(const ngx_lockbox_cache_t *cache)
{
    ngx_memory_barrier();
    cache->zone->dirty = 0;

    ngx_shmtx_unlock(cache->mutex);
}


static void *
ngx_lockbox_cache_slot(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, uint32_t number)
{
    return (u_char *) zone + table->slots + (number - 1) * table->size;
}


/* Keys are digests: any of their bits is as good as a hash. */

static uint32_t *
ngx_lockbox_cache_bucket(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, const u_char *key)
{
    uint32_t   hash;
    uint32_t  *buckets;

    ngx_memcpy(&hash, key, sizeof(uint32_t));

    buckets = (uint32_t *) (void *) ((u_char *) zone + table->buckets);

    return &buckets[((uint64_t) hash * table->nbuckets) >> 32];
}


/* Of many slots, none is in the processor's caches, nor what lies behind. */

static ngx_inline void
ngx_lockbox_cache_fetch(const ngx_lockbox_table_t *table, const void *slot)
{
    const u_char  *p, *last;

    last = (const u_char *) slot + table->fetched - 1;

    for (p = slot; p < last; p += NGX_LOCKBOX_LINE) {
        __builtin_prefetch(p);
    }

    __builtin_prefetch(last);
}


static uint32_t
ngx_lockbox_cache_search(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, const u_char *key, size_t len)
{
    u_char              *own;
    uint32_t             number;
    ngx_lockbox_slot_t  *slot;

    for (number = *ngx_lockbox_cache_bucket(zone, table, key);
         number != 0;
         number = slot->chain)
    {
        slot = ngx_lockbox_cache_slot(zone, table, number);

        /* in both tables the key is what follows */

        own = (u_char *) (slot + 1);

        ngx_lockbox_cache_fetch(table, slot);

        if (ngx_memcmp(own, key, len) == 0) {
            break;
        }
    }

    return number;
}


/* The caller has seen to it that there is one. */

static uint32_t
ngx_lockbox_cache_take(ngx_lockbox_zone_t *zone, ngx_lockbox_table_t *table)
{
    uint32_t             number;
    ngx_lockbox_slot_t  *slot;

    table->nfree--;

    if (table->free == 0) {
        return table->fresh++;
    }

    number = table->free;
    slot = ngx_lockbox_cache_slot(zone, table, number);
    table->free = slot->chain;

    return number;
}


static void
ngx_lockbox_cache_give(ngx_lockbox_zone_t *zone, ngx_lockbox_table_t *table,
    uint32_t number)
{
    ngx_lockbox_slot_t  *slot;

    slot = ngx_lockbox_cache_slot(zone, table, number);

    slot->chain = table->free;
    table->free = number;
    table->nfree++;
}


static void
ngx_lockbox_cache_chain(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, uint32_t number, const u_char *key)
{
    uint32_t            *bucket;
    ngx_lockbox_slot_t  *slot;

    bucket = ngx_lockbox_cache_bucket(zone, table, key);
    slot = ngx_lockbox_cache_slot(zone, table, number);

    slot->chain = *bucket;
    *bucket = number;
}


static void
ngx_lockbox_cache_unchain(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, uint32_t number, const u_char *key)
{
    uint32_t            *bucket, other;
    ngx_lockbox_slot_t  *slot, *before;

    bucket = ngx_lockbox_cache_bucket(zone, table, key);
    slot = ngx_lockbox_cache_slot(zone, table, number);

    if (*bucket == number) {
        *bucket = slot->chain;
        return;
    }

    for (other = *bucket; /* void */ ; other = before->chain) {
        before = ngx_lockbox_cache_slot(zone, table, other);

        if (before->chain == number) {
            before->chain = slot->chain;
            return;
        }
    }
}


static void
ngx_lockbox_cache_push(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, ngx_lockbox_ages_t *ages,
    uint32_t number)
{
    ngx_lockbox_slot_t  *slot, *second;

    slot = ngx_lockbox_cache_slot(zone, table, number);

    slot->newer = 0;
    slot->older = ages->newest;
    slot->used = 0;

    if (ages->newest != 0) {
        second = ngx_lockbox_cache_slot(zone, table, ages->newest);
        second->newer = number;

    } else {
        ages->oldest = number;
    }

    ages->newest = number;
}


static void
ngx_lockbox_cache_pull(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, ngx_lockbox_ages_t *ages,
    uint32_t number)
{
    ngx_lockbox_slot_t  *slot, *other;

    slot = ngx_lockbox_cache_slot(zone, table, number);

    if (slot->newer != 0) {
        other = ngx_lockbox_cache_slot(zone, table, slot->newer);
        other->older = slot->older;

    } else {
        ages->newest = slot->older;
    }

    if (slot->older != 0) {
        other = ngx_lockbox_cache_slot(zone, table, slot->older);
        other->newer = slot->newer;

    } else {
        ages->oldest = slot->newer;
    }
}


/*
 * Who makes way: the oldest one, but whoever was used in the meantime queues
 * anew.  That is close to the least recently used one, and a use is a mark in
 * memory that is at hand; to queue at each use would touch others far away.
 */

static uint32_t
ngx_lockbox_cache_oldest(ngx_lockbox_zone_t *zone,
    const ngx_lockbox_table_t *table, ngx_lockbox_ages_t *ages)
{
    uint32_t             number;
    ngx_uint_t           i;
    ngx_lockbox_slot_t  *slot;

    for (i = 0; i < NGX_LOCKBOX_SPARED; i++) {
        number = ages->oldest;
        slot = ngx_lockbox_cache_slot(zone, table, number);

        if (!slot->used) {
            break;
        }

        ngx_lockbox_cache_pull(zone, table, ages, number);
        ngx_lockbox_cache_push(zone, table, ages, number);
    }

    return ages->oldest;
}


/* Memory that is not written need not be written back. */

static void
ngx_lockbox_cache_use(ngx_lockbox_slot_t *slot, uint32_t used)
{
    if (slot->used != used) {
        slot->used = used;
    }
}


size_t
ngx_lockbox_cache_find(const ngx_lockbox_cache_t *cache, const u_char *key,
    u_char *name, u_char *facts)
{
    size_t                len;
    uint32_t              number, *bucket;
    ngx_lockbox_zone_t   *zone;
    ngx_lockbox_facts_t  *first;

    len = 0;
    zone = ngx_lockbox_cache_enter(cache);

    number = ngx_lockbox_cache_search(zone, &zone->facts, key,
                                      NGX_LOCKBOX_CACHE_KEY_LEN);
    if (number != 0) {
        first = ngx_lockbox_cache_slot(zone, &zone->facts, number);
        len = first->len;

        bucket = ngx_lockbox_cache_bucket(zone, &zone->liveness, first->name);
        __builtin_prefetch(bucket);

        ngx_memcpy(name, first->name, NGX_LOCKBOX_CACHE_NAME_LEN);
        ngx_lockbox_cache_copy(zone, first, facts, NULL);
        ngx_lockbox_cache_use(&first->slot, 1);

        ngx_lockbox_cache_expect(zone, bucket);
    }

    ngx_lockbox_cache_leave(cache);

    return len;
}


void
ngx_lockbox_cache_keep(const ngx_lockbox_cache_t *cache, const u_char *key,
    const u_char *name, const u_char *facts, size_t len)
{
    uint32_t              i, number, n, *more;
    ngx_lockbox_cell_t   *cell;
    ngx_lockbox_zone_t   *zone;
    ngx_lockbox_facts_t  *first;

    n = ngx_lockbox_cache_cells(len);
    zone = ngx_lockbox_cache_enter(cache);

    if (len > NGX_LOCKBOX_CACHE_FACTS_MAX
        || n > zone->facts.n
        || ngx_lockbox_cache_search(zone, &zone->facts, key,
                                    NGX_LOCKBOX_CACHE_KEY_LEN)
           != 0)
    {
        ngx_lockbox_cache_leave(cache);
        return;
    }

    while (zone->facts.nfree < n) {
        ngx_lockbox_cache_drop(zone, ngx_lockbox_cache_oldest(zone,
                                                         &zone->facts,
                                                         &zone->kept));
    }

    number = ngx_lockbox_cache_take(zone, &zone->facts);
    first = ngx_lockbox_cache_slot(zone, &zone->facts, number);

    ngx_memcpy(first->key, key, NGX_LOCKBOX_CACHE_KEY_LEN);
    ngx_memcpy(first->name, name, NGX_LOCKBOX_CACHE_NAME_LEN);
    first->len = (uint32_t) len;
    more = &first->more;

    for (i = 1; i < n; i++) {
        *more = ngx_lockbox_cache_take(zone, &zone->facts);
        cell = ngx_lockbox_cache_slot(zone, &zone->facts, *more);
        more = &cell->more;
    }

    *more = 0;

    ngx_lockbox_cache_copy(zone, first, NULL, facts);

    ngx_lockbox_cache_chain(zone, &zone->facts, number, key);
    ngx_lockbox_cache_push(zone, &zone->facts, &zone->kept, number);

    ngx_lockbox_cache_leave(cache);
}


static void
ngx_lockbox_cache_drop(ngx_lockbox_zone_t *zone, uint32_t number)
{
    uint32_t              more, next;
    ngx_lockbox_cell_t   *cell;
    ngx_lockbox_facts_t  *first;

    first = ngx_lockbox_cache_slot(zone, &zone->facts, number);
    more = first->more;

    ngx_lockbox_cache_unchain(zone, &zone->facts, number, first->key);
    ngx_lockbox_cache_pull(zone, &zone->facts, &zone->kept, number);
    ngx_lockbox_cache_give(zone, &zone->facts, number);

    for ( /* void */ ; more != 0; more = next) {
        cell = ngx_lockbox_cache_slot(zone, &zone->facts, more);
        next = cell->more;

        ngx_lockbox_cache_give(zone, &zone->facts, more);
    }
}


static uint32_t
ngx_lockbox_cache_cells(size_t len)
{
    size_t  first, other;

    first = sizeof(((ngx_lockbox_facts_t *) NULL)->text);
    other = sizeof(((ngx_lockbox_cell_t *) NULL)->text);

    return len <= first ? 1 : (uint32_t) (1 + (len - first + other - 1)
                                              / other);
}


/* Copies facts out of their cells to "in", or to them from "out". */

static void
ngx_lockbox_cache_copy(ngx_lockbox_zone_t *zone, ngx_lockbox_facts_t *facts,
    u_char *in, const u_char *out)
{
    size_t               n, left;
    u_char              *text;
    uint32_t             more;
    ngx_lockbox_cell_t  *cell;

    left = facts->len;
    more = facts->more;
    text = facts->text;
    n = ngx_min(left, sizeof(facts->text));

    for ( ;; ) {

        if (in == NULL) {
            ngx_memcpy(text, out, n);
            out += n;

        } else if (n == sizeof(cell->text)) {

            /* most are full, and a copy of known length takes no call */

            in = ngx_cpymem(in, text, sizeof(cell->text));

        } else {
            in = ngx_cpymem(in, text, n);
        }

        left -= n;

        if (left == 0) {
            return;
        }

        cell = ngx_lockbox_cache_slot(zone, &zone->facts, more);
        more = cell->more;
        text = cell->text;
        n = ngx_min(left, sizeof(cell->text));
    }
}


ngx_int_t
ngx_lockbox_cache_name(const ngx_lockbox_cache_t *cache,
    const ngx_str_t *live_key, u_char *name)
{
    u_char        digest[EVP_MAX_MD_SIZE];
    ngx_uint_t    i;
    unsigned int  len;

    if (EVP_Digest(live_key->data, live_key->len, digest, &len, EVP_sha256(),
                   NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_LOCKBOX_CACHE_NAME_LEN; i++) {
        name[i] = digest[i] ^ cache->store[i];
    }

    return NGX_OK;
}


ngx_lockbox_decision_t
ngx_lockbox_cache_liveness(const ngx_lockbox_cache_t *cache,
    const u_char *name, uint64_t since, ngx_lockbox_question_t *question)
{
    uint32_t                 number;
    ngx_lockbox_zone_t      *zone;
    ngx_lockbox_decision_t   known;
    ngx_lockbox_liveness_t  *entry;

    zone = ngx_lockbox_cache_enter(cache);

    number = ngx_lockbox_cache_liveness_slot(zone, name);
    entry = ngx_lockbox_cache_slot(zone, &zone->liveness, number);
    known = entry->state;

    if (known == NGX_LOCKBOX_ALLOW
        && (entry->epoch != zone->epoch || entry->ticket <= since))
    {
        known = NGX_LOCKBOX_NOT_DECIDED;
    }

    if (known == NGX_LOCKBOX_NOT_DECIDED) {

        /*
         * A placeholder that stands is as good as a new one: nothing has
         * changed since.  If each question replaced it, none of many would
         * ever be the last one.
         */

        if (entry->state != NGX_LOCKBOX_NOT_DECIDED
            || entry->epoch != zone->epoch
            || entry->ticket <= since)
        {
            entry->state = NGX_LOCKBOX_NOT_DECIDED;
            entry->ticket = ++zone->ticket;
            entry->epoch = zone->epoch;
        }

        question->cache = cache;
        question->ticket = entry->ticket;
        ngx_memcpy(question->name, name, NGX_LOCKBOX_CACHE_NAME_LEN);
    }

    ngx_lockbox_cache_use(&entry->slot, known == NGX_LOCKBOX_ALLOW);

    ngx_lockbox_cache_leave(cache);

    return known;
}


/*
 * Whose facts were looked up is most likely to be looked up in that bucket
 * next.  Of many grants, that is in none of the processor's caches, and can
 * come while the facts are read.
 */

static void
ngx_lockbox_cache_expect(ngx_lockbox_zone_t *zone, const uint32_t *bucket)
{
    if (*bucket != 0) {
        ngx_lockbox_cache_fetch(&zone->liveness,
                                ngx_lockbox_cache_slot(zone, &zone->liveness,
                                                       *bucket));
    }
}


/* The entry of this name; a new one is as if nobody had asked yet. */

static uint32_t
ngx_lockbox_cache_liveness_slot(ngx_lockbox_zone_t *zone, const u_char *name)
{
    uint32_t                 number;
    ngx_lockbox_liveness_t  *entry;

    number = ngx_lockbox_cache_search(zone, &zone->liveness, name,
                                      NGX_LOCKBOX_CACHE_NAME_LEN);
    if (number != 0) {
        return number;
    }

    if (zone->liveness.nfree == 0) {
        number = zone->ended.oldest;
        entry = number == 0 ? NULL
                : ngx_lockbox_cache_slot(zone, &zone->liveness, number);

        /* an end is needed until no token can claim otherwise */

        if (zone->live.oldest != 0
            && (entry == NULL || entry->expires > ngx_time()))
        {
            number = ngx_lockbox_cache_oldest(zone, &zone->liveness,
                                              &zone->live);
        }

        ngx_lockbox_cache_remove(zone, number);
    }

    number = ngx_lockbox_cache_take(zone, &zone->liveness);
    entry = ngx_lockbox_cache_slot(zone, &zone->liveness, number);

    ngx_memcpy(entry->name, name, NGX_LOCKBOX_CACHE_NAME_LEN);
    entry->state = NGX_LOCKBOX_NOT_DECIDED;
    entry->ticket = 0;
    entry->epoch = zone->epoch;
    entry->expires = 0;

    ngx_lockbox_cache_chain(zone, &zone->liveness, number, name);
    ngx_lockbox_cache_push(zone, &zone->liveness, &zone->live, number);

    return number;
}


static void
ngx_lockbox_cache_remove(ngx_lockbox_zone_t *zone, uint32_t number)
{
    ngx_lockbox_ages_t      *ages;
    ngx_lockbox_liveness_t  *entry;

    entry = ngx_lockbox_cache_slot(zone, &zone->liveness, number);
    ages = ngx_lockbox_cache_is_end(entry->state) ? &zone->ended : &zone->live;

    ngx_lockbox_cache_unchain(zone, &zone->liveness, number, entry->name);
    ngx_lockbox_cache_pull(zone, &zone->liveness, ages, number);
    ngx_lockbox_cache_give(zone, &zone->liveness, number);
}


ngx_uint_t
ngx_lockbox_cache_answer(const ngx_lockbox_question_t *question,
    ngx_lockbox_decision_t answer, time_t expires)
{
    uint32_t                    number;
    ngx_uint_t                  kept;
    ngx_lockbox_zone_t         *zone;
    ngx_lockbox_liveness_t     *entry;
    const ngx_lockbox_cache_t  *cache;

    cache = question->cache;
    zone = ngx_lockbox_cache_enter(cache);

    if (ngx_lockbox_cache_is_end(answer)) {
        ngx_lockbox_cache_end(zone, question->name, answer, expires);
        ngx_lockbox_cache_leave(cache);
        return 1;
    }

    number = ngx_lockbox_cache_search(zone, &zone->liveness, question->name,
                                      NGX_LOCKBOX_CACHE_NAME_LEN);

    entry = number == 0 ? NULL
            : ngx_lockbox_cache_slot(zone, &zone->liveness, number);

    if (entry != NULL
        && entry->state == NGX_LOCKBOX_NOT_DECIDED
        && entry->ticket == question->ticket)
    {
        if (answer == NGX_LOCKBOX_ALLOW && entry->epoch == zone->epoch) {
            entry->state = NGX_LOCKBOX_ALLOW;

        } else {
            ngx_lockbox_cache_remove(zone, number);
            entry = NULL;
        }
    }

    /* by this answer, or by another one under the same ticket */

    kept = entry != NULL
           && entry->state == NGX_LOCKBOX_ALLOW
           && entry->ticket == question->ticket
           && entry->epoch == zone->epoch;

    ngx_lockbox_cache_leave(cache);

    return kept;
}


void
ngx_lockbox_cache_bury(const ngx_lockbox_cache_t *cache, const u_char *name,
    ngx_lockbox_decision_t end, time_t expires)
{
    ngx_lockbox_zone_t  *zone;

    zone = ngx_lockbox_cache_enter(cache);
    ngx_lockbox_cache_end(zone, name, end, expires);
    ngx_lockbox_cache_leave(cache);
}


static void
ngx_lockbox_cache_end(ngx_lockbox_zone_t *zone, const u_char *name,
    ngx_lockbox_decision_t end, time_t expires)
{
    uint32_t                 number;
    ngx_lockbox_liveness_t  *entry;

    number = ngx_lockbox_cache_liveness_slot(zone, name);
    entry = ngx_lockbox_cache_slot(zone, &zone->liveness, number);

    if (ngx_lockbox_cache_is_end(entry->state)) {
        return;
    }

    ngx_lockbox_cache_pull(zone, &zone->liveness, &zone->live, number);

    entry->state = (uint16_t) end;
    entry->expires = expires;

    ngx_lockbox_cache_push(zone, &zone->liveness, &zone->ended, number);
}


void
ngx_lockbox_cache_forget(const ngx_lockbox_cache_t *cache, const u_char *name)
{
    uint32_t                 number;
    ngx_lockbox_zone_t      *zone;
    ngx_lockbox_liveness_t  *entry;

    zone = ngx_lockbox_cache_enter(cache);

    number = ngx_lockbox_cache_search(zone, &zone->liveness, name,
                                      NGX_LOCKBOX_CACHE_NAME_LEN);
    if (number != 0) {
        entry = ngx_lockbox_cache_slot(zone, &zone->liveness, number);

        if (!ngx_lockbox_cache_is_end(entry->state)) {
            ngx_lockbox_cache_remove(zone, number);
        }
    }

    ngx_lockbox_cache_leave(cache);
}


void
ngx_lockbox_cache_forget_all(const ngx_lockbox_cache_t *cache)
{
    ngx_lockbox_zone_t  *zone;

    zone = ngx_lockbox_cache_enter(cache);
    zone->epoch++;
    ngx_lockbox_cache_leave(cache);
}


uint64_t
ngx_lockbox_cache_ticket(const ngx_lockbox_cache_t *cache)
{
    uint64_t             ticket;
    ngx_lockbox_zone_t  *zone;

    zone = ngx_lockbox_cache_enter(cache);
    ticket = zone->ticket;
    ngx_lockbox_cache_leave(cache);

    return ticket;
}


static ngx_uint_t
ngx_lockbox_cache_is_end(ngx_uint_t decision)
{
    return decision == NGX_LOCKBOX_REVOKED
           || decision == NGX_LOCKBOX_COMPLETED
           || decision == NGX_LOCKBOX_EXPIRED;
}
