/*
 * Access items: what a grant opens (RFC 9396 authorization_details of the
 * type "lockbox").
 */

#ifndef _NGX_LOCKBOX_SCOPE_H_INCLUDED_
#define _NGX_LOCKBOX_SCOPE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_decision.h"
#include "ngx_lockbox_json.h"


#define NGX_LOCKBOX_ITEMS_MAX    32
#define NGX_LOCKBOX_METHODS_MAX  16
#define NGX_LOCKBOX_PATHS_MAX    16
#define NGX_LOCKBOX_LABELS_MAX   16

/* Among the methods of an item: the protocol may be switched. */
#define NGX_LOCKBOX_UPGRADE      "UPGRADE"


typedef struct {
    ngx_uint_t             nelts;
    ngx_str_t             *elts;
} ngx_lockbox_strings_t;


typedef struct {
    ngx_str_t              service;
    ngx_lockbox_strings_t  methods;
    ngx_lockbox_strings_t  paths;
    ngx_lockbox_strings_t  labels;      /* may be empty */
} ngx_lockbox_item_t;


typedef struct {
    ngx_uint_t             nelts;
    ngx_lockbox_item_t    *elts;
} ngx_lockbox_scope_t;


/* Where the members of an access item come from. */
typedef enum {
    NGX_LOCKBOX_SCOPE_ACCESS = 0,       /* "access" of an API body */
    NGX_LOCKBOX_SCOPE_DETAILS           /* "authorization_details": each item
                                           has "type": "lockbox" besides */
} ngx_lockbox_scope_form_e;


/*
 * Reads a list of 1 to NGX_LOCKBOX_ITEMS_MAX access items: "service" (a name),
 * "methods" (1 to 16 distinct), "paths" (1 to 16 distinct, canonical),
 * "labels" (0 to 16 distinct names; may be missing), and nothing else.  "at"
 * is the pointer of the list in its document ("/access"), for the fault; a
 * surplus member is at fault itself ("/access/0/colour").
 *
 * NGX_OK and the scope in pool memory of its own; NGX_DECLINED and the fault;
 * NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_scope_parse(ngx_pool_t *pool, const json_t *list,
    ngx_lockbox_scope_form_e form, const char *at, ngx_lockbox_scope_t *scope,
    ngx_lockbox_fault_t *fault);

/*
 * The scope as JSON, a new reference, or NULL without memory.  "labels" is
 * always written; the order of everything is kept.
 */
json_t *ngx_lockbox_scope_json(const ngx_lockbox_scope_t *scope,
    ngx_lockbox_scope_form_e form);

/*
 * Base64url (43 bytes, pool memory) of the SHA-256 of the scope's canonical
 * JSON text in the form NGX_LOCKBOX_SCOPE_ACCESS.  NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_scope_hash(ngx_pool_t *pool,
    const ngx_lockbox_scope_t *scope, ngx_str_t *hash);

/*
 * 1 if everything "narrow" opens is opened by "wide" too: each of its items
 * lies within one item of "wide" (same service, methods and labels a subset,
 * each path covered by one of the wide paths).
 */
ngx_uint_t ngx_lockbox_scope_within(const ngx_lockbox_scope_t *narrow,
    const ngx_lockbox_scope_t *wide);

/*
 * NGX_LOCKBOX_ALLOW if one item covers the service, all of the location's
 * labels, the method and the path together.  Otherwise what the item that
 * came closest failed on, in the order service, path, method, label:
 * WRONG_SERVICE, WRONG_PATH, WRONG_METHOD, WRONG_LABEL.  Methods are compared
 * as text; HEAD is covered by GET (RFC 9110 section 9.3.2).  With "upgrade"
 * the request asks to switch protocols (section 7.8), and the item must name
 * NGX_LOCKBOX_UPGRADE besides, which covers no method of a request by itself.
 */
ngx_lockbox_decision_t ngx_lockbox_scope_covers(
    const ngx_lockbox_scope_t *scope, const ngx_str_t *service,
    const ngx_lockbox_strings_t *labels, const ngx_str_t *method,
    ngx_uint_t upgrade, const ngx_str_t *path);


#endif /* _NGX_LOCKBOX_SCOPE_H_INCLUDED_ */
