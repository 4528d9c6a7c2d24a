/*
 * Which of several media types a client prefers: pure, without a request.
 */

#ifndef _NGX_LOCKBOX_ACCEPT_H_INCLUDED_
#define _NGX_LOCKBOX_ACCEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Chooses by the value of an Accept field (RFC 9110 section 12.5.1), or the
 * values of several with commas between, from what is offered: media types
 * without parameters, the default first, an empty one behind the last.
 *
 * The weight of a type is that of the range that names it most exactly:
 * the type alone, the type with parameters, its main type, anything.  The
 * greatest weight wins; of equal ones the type that is named more exactly;
 * else the one that is offered first.  Parameters other than "q" narrow
 * nothing, and a range whose "q" is none is as good as missing.
 *
 * The number of a type in "offered"; the default where none is acceptable,
 * which the RFC allows for.
 */
ngx_uint_t ngx_lockbox_accept(const ngx_str_t *accept,
    const ngx_str_t *offered);


#endif /* _NGX_LOCKBOX_ACCEPT_H_INCLUDED_ */
