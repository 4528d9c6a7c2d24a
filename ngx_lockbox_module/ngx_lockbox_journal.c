/*
 * Audit files.
 */

#include "ngx_lockbox_journal.h"

#include <sys/uio.h>


#define NGX_LOCKBOX_JOURNAL_ZONE  (8 * ngx_pagesize)


typedef struct {
    /*
     * Set while a line is being written, and left set when it was not written
     * whole, be it for want of space or because the worker was killed: the
     * next line then begins with a line feed, so that half a record never
     * spoils the one after it.
     */
    ngx_uint_t   torn;

    ngx_uint_t   lost;          /* records since the last complaint */
    time_t       complained;
} ngx_lockbox_journal_shared_t;


static ngx_int_t ngx_lockbox_journal_init(ngx_shm_zone_t *zone, void *data);
static ngx_uint_t ngx_lockbox_journal_ends_torn(const ngx_open_file_t *file);
static ngx_int_t ngx_lockbox_journal_put(const ngx_lockbox_journal_t *journal,
    const ngx_str_t *line, ngx_log_t *log);
static ngx_uint_t ngx_lockbox_journal_append(ngx_fd_t fd,
    ngx_lockbox_journal_shared_t *shared, const ngx_str_t *line,
    ngx_err_t *err);


ngx_int_t
ngx_lockbox_journal_open(ngx_conf_t *cf, const ngx_str_t *name, void *tag,
    ngx_lockbox_journal_t *journal)
{
    ngx_str_t  file, zone;

    file = *name;

    journal->file = ngx_conf_open_file(cf->cycle, &file);
    if (journal->file == NULL) {
        return NGX_ERROR;
    }

    zone.len = sizeof("lockbox_audit:") - 1 + journal->file->name.len;
    zone.data = ngx_pnalloc(cf->pool, zone.len);
    if (zone.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(zone.data, "lockbox_audit:",
                          sizeof("lockbox_audit:") - 1),
               journal->file->name.data, journal->file->name.len);

    journal->zone = ngx_shared_memory_add(cf, &zone, NGX_LOCKBOX_JOURNAL_ZONE,
                                          tag);
    if (journal->zone == NULL) {
        return NGX_ERROR;
    }

    if (journal->zone->data != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate audit log \"%V\"", name);
        return NGX_ERROR;
    }

    journal->zone->init = ngx_lockbox_journal_init;

    /* a mark of use; init replaces it by what the workers share */
    journal->zone->data = journal->file;

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_journal_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_open_file_t               *file;
    ngx_slab_pool_t               *shpool;
    ngx_lockbox_journal_shared_t  *shared;

    file = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data != NULL) {
        zone->data = data;
        return NGX_OK;
    }

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    shared = ngx_slab_calloc(shpool, sizeof(ngx_lockbox_journal_shared_t));
    if (shared == NULL) {
        return NGX_ERROR;
    }

    shared->torn = ngx_lockbox_journal_ends_torn(file);

    shpool->data = shared;
    zone->data = shared;

    return NGX_OK;
}


/* An earlier run may have left half a line behind; doubt counts as such. */

static ngx_uint_t
ngx_lockbox_journal_ends_torn(const ngx_open_file_t *file)
{
    u_char           last;
    ngx_fd_t         fd;
    ngx_uint_t       torn;
    ngx_file_info_t  fi;

    if (ngx_fd_info(file->fd, &fi) == NGX_FILE_ERROR
        || !ngx_is_file(&fi))
    {
        return 0;
    }

    if (ngx_file_size(&fi) == 0) {
        return 0;
    }

    fd = ngx_open_file(file->name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return 1;
    }

    torn = pread(fd, &last, 1, ngx_file_size(&fi) - 1) != 1 || last != LF;

    (void) ngx_close_file(fd);

    return torn;
}


ngx_int_t
ngx_lockbox_journal_write(const ngx_array_t *journals, const ngx_str_t *line,
    ngx_log_t *log)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_lockbox_journal_t  *journal;

    rc = NGX_OK;
    journal = journals->elts;

    for (i = 0; i < journals->nelts; i++) {
        if (ngx_lockbox_journal_put(&journal[i], line, log) != NGX_OK
            && !journal[i].optional)
        {
            rc = NGX_ERROR;
        }
    }

    return rc;
}


static ngx_int_t
ngx_lockbox_journal_put(const ngx_lockbox_journal_t *journal,
    const ngx_str_t *line, ngx_log_t *log)
{
    time_t                         now;
    ngx_err_t                      err;
    ngx_uint_t                     written, lost;
    ngx_slab_pool_t               *shpool;
    ngx_lockbox_journal_shared_t  *shared;

    shared = journal->zone->data;
    shpool = (ngx_slab_pool_t *) journal->zone->shm.addr;

    err = 0;
    lost = 0;
    now = ngx_time();

    /* the master frees this mutex when a worker dies with it */

    ngx_shmtx_lock(&shpool->mutex);

    written = ngx_lockbox_journal_append(journal->file->fd, shared, line,
                                         &err);
    if (!written) {
        shared->lost++;

        if (shared->complained != now) {
            shared->complained = now;
            lost = shared->lost;
            shared->lost = 0;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (written) {
        return NGX_OK;
    }

    if (lost != 0) {
        ngx_log_error(NGX_LOG_ERR, log, err,
                      "lockbox: %ui records could not be written to \"%V\"",
                      lost, &journal->file->name);
    }

    return NGX_ERROR;
}


static ngx_uint_t
ngx_lockbox_journal_append(ngx_fd_t fd, ngx_lockbox_journal_shared_t *shared,
    const ngx_str_t *line, ngx_err_t *err)
{
    size_t        size;
    ssize_t       written;
    ngx_uint_t    torn;
    struct iovec  iov[2];

    iov[0].iov_base = (void *) "\n";
    iov[0].iov_len = 1;
    iov[1].iov_base = line->data;
    iov[1].iov_len = line->len;

    torn = shared->torn;
    size = torn + line->len;
    shared->torn = 1;

    do {
        written = torn ? writev(fd, iov, 2) : write(fd, line->data, line->len);
    } while (written == -1 && ngx_errno == NGX_EINTR);

    if (written == -1) {
        *err = ngx_errno;
        shared->torn = torn;
        return 0;
    }

    if ((size_t) written != size) {
        *err = NGX_ENOSPC;
        return 0;
    }

    shared->torn = 0;

    return 1;
}
