/*
 * The facts of a grant as bytes, for a place where there are no pointers.
 */

#ifndef _NGX_LOCKBOX_FACTS_H_INCLUDED_
#define _NGX_LOCKBOX_FACTS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_grant.h"


/*
 * Writes the grant to "facts" in as few bytes as its texts need.  Returns
 * their number, 0 when there is no room for them in "size" bytes.
 */
size_t ngx_lockbox_facts_pack(const ngx_lockbox_grant_t *grant, u_char *facts,
    size_t size);

/*
 * Reads what ngx_lockbox_facts_pack() wrote: all of it, or if "service" is not
 * NULL without the access items of other services, which a decision about
 * this one does not depend on.  The texts of the grant lie in "facts", which
 * must live as long; its lists are one piece of pool memory.  NGX_OK;
 * NGX_DECLINED when the bytes are not exactly one grant; NGX_ERROR without
 * memory.
 */
ngx_int_t ngx_lockbox_facts_unpack(ngx_pool_t *pool, const ngx_str_t *facts,
    const ngx_str_t *service, ngx_lockbox_grant_t *grant);


#endif /* _NGX_LOCKBOX_FACTS_H_INCLUDED_ */
