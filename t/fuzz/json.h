/*
 * JSON for fuzz targets: a second reader to compare with.
 */

#ifndef _JSON_H_INCLUDED_
#define _JSON_H_INCLUDED_


#include <jansson.h>

#include "ngx_lockbox_json.h"
#include "fuzz.h"


static size_t
json_depth(const json_t *value)
{
    size_t       i, depth, deepest;
    json_t      *member;
    const char  *name;

    if (!json_is_object(value) && !json_is_array(value)) {
        return 0;
    }

    deepest = 0;

    json_object_foreach((json_t *) value, name, member) {
        depth = json_depth(member);
        deepest = ngx_max(deepest, depth);
    }

    for (i = 0; i < json_array_size(value); i++) {
        depth = json_depth(json_array_get(value, i));
        deepest = ngx_max(deepest, depth);
    }

    return deepest + 1;
}


/*
 * Reads the text with jansson and with our own reader, which have to agree;
 * except that jansson goes deeper, and skips a NUL here and there.  The value
 * is the pool's, NULL if the text is refused.
 */

static json_t *
json_agreed(ngx_pool_t *pool, const ngx_str_t *text)
{
    json_t  *theirs, *ours;

    ours = ngx_lockbox_json_parse(pool, text->data, text->len);

    if (text->len == 0 || memchr(text->data, '\0', text->len)) {
        fuzz_check(ours == NULL);
        return NULL;
    }

    theirs = json_loadb((const char *) text->data, text->len,
                        JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(theirs)
        || json_depth(theirs) > NGX_LOCKBOX_JSON_DEPTH)
    {
        json_decref(theirs);
        theirs = NULL;
    }

    theirs = ngx_lockbox_json_own(pool, theirs);

    fuzz_check((ours == NULL) == (theirs == NULL));
    fuzz_check(ours == NULL || json_equal(ours, theirs));

    return theirs;
}


/* The member as a text; its data is NULL if it is no string. */

__attribute__((unused))
static ngx_str_t
json_text_of(const json_t *object, const char *name)
{
    json_t     *member;
    ngx_str_t   text;

    member = json_object_get(object, name);

    text.data = (u_char *) json_string_value(member);
    text.len = json_string_length(member);

    return text;
}


/* 1 if the member is a string that is not empty. */

__attribute__((unused))
static ngx_uint_t
json_has_text(const json_t *object, const char *name)
{
    return json_text_of(object, name).len != 0;
}


__attribute__((unused))
static ngx_uint_t
json_is_text(const json_t *object, const char *name, const char *literal)
{
    ngx_str_t  text;

    text = json_text_of(object, name);

    return text.data && fuzz_is(&text, literal);
}


#endif /* _JSON_H_INCLUDED_ */
