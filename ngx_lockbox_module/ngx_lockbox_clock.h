/*
 * The clock of the event loop, for those who may look at it.
 */

#ifndef _NGX_LOCKBOX_CLOCK_H_INCLUDED_
#define _NGX_LOCKBOX_CLOCK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Unix time in milliseconds, as of the beginning of this turn of the loop. */
static ngx_inline int64_t
ngx_lockbox_clock_msec(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + (int64_t) tp->msec;
}


#endif /* _NGX_LOCKBOX_CLOCK_H_INCLUDED_ */
