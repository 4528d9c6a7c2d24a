/*
 * Audit files: a record is written whole, or the caller is told that it was
 * not.
 */

#ifndef _NGX_LOCKBOX_JOURNAL_H_INCLUDED_
#define _NGX_LOCKBOX_JOURNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_open_file_t  *file;         /* reopened by nginx on USR1 */
    ngx_shm_zone_t   *zone;         /* what the workers share about it */
    ngx_flag_t        optional;     /* its failure refuses nothing */
} ngx_lockbox_journal_t;


/*
 * Opens a file for records through nginx's list of open files; "tag" is the
 * calling module.  NGX_ERROR, with the reason in the error log.
 */
ngx_int_t ngx_lockbox_journal_open(ngx_conf_t *cf, const ngx_str_t *name,
    void *tag, ngx_lockbox_journal_t *journal);

/*
 * Writes a whole line to each journal with one system call each.  NGX_ERROR
 * when one of them that is not optional did not take it; failures are
 * reported to the log at most once a second for each journal.
 */
ngx_int_t ngx_lockbox_journal_write(const ngx_array_t *journals,
    const ngx_str_t *line, ngx_log_t *log);


#endif /* _NGX_LOCKBOX_JOURNAL_H_INCLUDED_ */
