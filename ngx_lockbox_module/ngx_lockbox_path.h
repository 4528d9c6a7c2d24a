/*
 * One spelling of a path: what is judged is what the upstream will read.
 */

#ifndef _NGX_LOCKBOX_PATH_H_INCLUDED_
#define _NGX_LOCKBOX_PATH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * 1 if the decoded path (as in r->uri, or in an access item) has only one
 * reading: it begins with '/', is at most 1024 bytes of valid UTF-8, and has
 * no control character, backslash, '%', ';', '#', '?', empty segment
 * ("//"), dot segment, nor a code point that compatibility normalisation
 * (NFKC) turns into a text with '.', '/', '\\', '%', ';', '#' or '?'.
 * Ordinary names in any script, blanks inside a segment, "a..b" and "..."
 * pass.
 */
ngx_uint_t ngx_lockbox_path_canonical(const ngx_str_t *path);

/*
 * 1 if the raw target of a request (RFC 9112 section 3.2.1), up to its query,
 * spells the canonical path as everybody would: byte for byte, except that an
 * escape (RFC 3986 section 2.1) stands for what cannot be written otherwise.
 * An escaped '/' or unreserved character, a raw byte that is not ASCII, and
 * whatever nginx has merged, resolved or dropped, have two readings.
 */
ngx_uint_t ngx_lockbox_path_spelt(const ngx_str_t *target,
    const ngx_str_t *path);

/*
 * 1 if the authority that "target" begins with, which is what stands behind
 * "http://" in the absolute form of a target (RFC 9112 section 3.2.2) and may
 * go on behind it, is the text "host" but for the case of ASCII letters.
 */
ngx_uint_t ngx_lockbox_path_authority(const ngx_str_t *target,
    const ngx_str_t *host);

/*
 * 1 if "prefix" covers "path", cut at '/': "/a/b" covers "/a/b" and all below
 * it, "/a/b/" only what is below it ("/a/b/" itself included), "/" covers
 * everything.  Both must be canonical.
 */
ngx_uint_t ngx_lockbox_path_covers(const ngx_str_t *prefix,
    const ngx_str_t *path);


#endif /* _NGX_LOCKBOX_PATH_H_INCLUDED_ */
