/*
 * Strict JSON on top of jansson: one reading of a text, or none.
 */

#ifndef _NGX_LOCKBOX_JSON_H_INCLUDED_
#define _NGX_LOCKBOX_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>


#define NGX_LOCKBOX_JSON_DEPTH  16


/* Why a document was refused, in the words of the API's invalid_member. */
typedef struct {
    ngx_str_t    member;    /* RFC 6901 pointer; pool memory */
    const char  *reason;    /* static text */
} ngx_lockbox_fault_t;


/*
 * Parses one JSON text (RFC 8259) that must be an object: no duplicate names,
 * no trailing bytes, nesting of at most NGX_LOCKBOX_JSON_DEPTH.  Returns a
 * value owned by the pool (released with it), or NULL.
 */
json_t *ngx_lockbox_json_parse(ngx_pool_t *pool, const u_char *text,
    size_t len);

/*
 * The same for texts of people, who are told: with NULL the fault is the
 * member that is there twice, or its reason is NULL if it was not that, or
 * there was no memory to say so.  "fault" may be NULL.
 */
json_t *ngx_lockbox_json_parse_told(ngx_pool_t *pool, const u_char *text,
    size_t len, ngx_lockbox_fault_t *fault);

/*
 * Hands a new reference to the pool, which releases it when it is destroyed.
 * NULL goes through.  Returns NULL, and has released the value, when the pool
 * has no memory.
 */
json_t *ngx_lockbox_json_own(ngx_pool_t *pool, json_t *value);

/*
 * Looks a string member up.  NGX_OK and the text, borrowed from "object";
 * NGX_DECLINED when there is no such member; NGX_ERROR when it is no string
 * or is empty.
 */
ngx_int_t ngx_lockbox_json_string(const json_t *object, const char *name,
    ngx_str_t *text);

/*
 * Looks an integer member up: NGX_OK, NGX_DECLINED when absent, NGX_ERROR when
 * it is anything but an integer (1.0 and 1e3 are no integers).
 */
ngx_int_t ngx_lockbox_json_integer(const json_t *object, const char *name,
    int64_t *value);

/*
 * The value an RFC 6901 pointer ("/realm_access/roles") leads to, borrowed;
 * NULL when there is none.  A text that does not begin with '/' is the name
 * of a top-level member.  Array indexes are not followed.
 */
json_t *ngx_lockbox_json_pointer(const json_t *root, const ngx_str_t *pointer);

/*
 * Writes the value as compact JSON with sorted names, so that equal values
 * are equal bytes.  The text is pool memory.  NGX_ERROR without memory, and
 * for NULL, so that what failed to be made fails here.
 */
ngx_int_t ngx_lockbox_json_dump(ngx_pool_t *pool, const json_t *value,
    ngx_str_t *text);

/* A new reference to a JSON string of the text, NULL if it is no UTF-8. */
json_t *ngx_lockbox_json_text(const ngx_str_t *text);

/*
 * Sets object[name] and consumes the value, which may be NULL: a failure to
 * make the value and a failure to store it are one, NGX_ERROR.
 */
ngx_int_t ngx_lockbox_json_set(json_t *object, const char *name,
    json_t *value);

/*
 * NGX_OK if the object, which stands at the pointer "at" in its document, has
 * no members but those of the NULL-terminated list; NGX_DECLINED and the
 * fault, whose pointer names one that is not listed; NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_json_only(ngx_pool_t *pool, const json_t *object,
    const char *const *names, const char *at, ngx_lockbox_fault_t *fault);

/*
 * Notes in "fault" (which may be NULL) that the member a printf-style pointer
 * names is wrong, and returns NGX_DECLINED so that callers can return it; or
 * NGX_ERROR when there is no memory for the pointer.
 */
ngx_int_t ngx_lockbox_json_fault(ngx_pool_t *pool, ngx_lockbox_fault_t *fault,
    const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));


#endif /* _NGX_LOCKBOX_JSON_H_INCLUDED_ */
