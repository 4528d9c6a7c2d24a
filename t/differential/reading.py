"""What others make of a request target.

RFC 3986 read literally, and the habits of servers that read it in their own
ways.  A target that may pass a gate means the same to all of them.  Nothing
here is taken from the module.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes, urlsplit

# What separates, ends or escapes something in a path.
SPECIAL = set('./\\%;#?')

ESCAPE = re.compile(rb'%([0-9A-Fa-f]{2})')

# RFC 3986 section 4.3 and 3.2: scheme and authority of an absolute form
ABSOLUTE = re.compile(rb'([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)', re.DOTALL)

# RFC 3986 section 3.3: pchar without escapes, and without ";", which some
# servers take for the beginning of parameters; section 3.4 for the query
PLAIN_PATH = re.compile(rb"(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]"
                        rb"|%[0-9A-Fa-f]{2})*)+")
PLAIN_QUERY = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]"
                         rb"|%[0-9A-Fa-f]{2})*")
UNRESERVED = set(b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
                 b'0123456789-._~')

# The longest path that the gate promises to take.
LONGEST = 1024


def nfkc(text):
    return unicodedata.normalize('NFKC', text)


# The code points beyond ASCII that become one of SPECIAL, or several.
LOOKALIKES = [code for code in range(0x80, 0x110000)
              if not 0xd800 <= code <= 0xdfff
              and set(nfkc(chr(code))) & SPECIAL]


def origin_form(target):
    """The target as an upstream is to get it: without the blanks around it,
    which belong to the request line, and without scheme and authority.  The
    path that an absolute form may lack is "/" (RFC 9112 section 3.2.1); nginx,
    which adds it, drops an empty query then."""

    target = target.strip(b' ')
    absolute = ABSOLUTE.fullmatch(target)

    if absolute is None:
        return target

    rest = absolute.group(3)

    if rest == b'?':
        return b'/'

    return rest if rest.startswith(b'/') else b'/' + rest


def other_host(target, host):
    """True for an absolute form that is meant for another host than the
    request's Host field."""

    absolute = ABSOLUTE.fullmatch(target.strip(b' '))

    return absolute is not None and absolute.group(2).lower() != host


def decode(text):
    return ESCAPE.sub(lambda escape: bytes([int(escape.group(1), 16)]), text)


def without_query(target):
    return target.split(b'?', 1)[0]


def segments(path):
    """Of a path that begins with a slash, dot segments removed as section
    5.2.4 has it."""

    parts = path.split(b'/')
    if parts[0] != b'':
        return None

    kept = []

    for part in parts[1:]:
        if part == b'..':
            del kept[-1:]
        elif part != b'.':
            kept.append(part)

    if parts[-1] in (b'.', b'..'):
        kept.append(b'')

    return kept


# The readers: each makes segments of a path as it was sent, or None of what it
# refuses.

def literally(path):
    """RFC 3986: split, then decode; escaped dots are dots (6.2.2.2)."""

    parts = [part if decode(part) not in (b'.', b'..') else decode(part)
             for part in path.split(b'/')]
    read = segments(b'/'.join(parts))

    return read and [decode(part) for part in read]


def decoding_first(path):
    return segments(decode(path))


def decoding_by_python(path):
    return segments(unquote_to_bytes(path))


def decoding_twice(path):
    return segments(decode(decode(path)))


def undecoded_dots(path):
    """Dot segments are gone before anything is decoded."""

    read = segments(path)

    return read and [decode(part) for part in read]


def with_backslashes(path):
    return segments(decode(path).replace(b'\\', b'/'))


def without_fragment(path):
    return segments(decode(path.split(b'#', 1)[0]))


def without_escaped_ends(path):
    """The path ends at what decodes to a "?" or "#"."""

    return segments(re.split(rb'[?#]', decode(path), 1)[0])


def without_parameters(path):
    return segments(b'/'.join(part.split(b';', 1)[0]
                              for part in decode(path).split(b'/')))


def merging_slashes(path):
    return segments(re.sub(rb'//+', b'/', decode(path)))


def until_nul(path):
    return segments(decode(path).split(b'\0', 1)[0])


def without_controls(path):
    text = decode(path).decode('utf-8', 'surrogateescape')
    text = ''.join(c for c in text if unicodedata.category(c) != 'Cc')

    return segments(text.encode('utf-8', 'surrogateescape'))


def in_latin_1(path):
    """What is not escaped comes in the old character set of HTTP."""

    return segments(decode(path.decode('latin-1').encode('utf-8')))


def in_loose_utf_8(path):
    """Overlong sequences and surrogates count, and wrong bytes are marked."""

    text, data = [], decode(path)

    while data:
        for lead, mask, size in ((0xc0, 0xe0, 2), (0xe0, 0xf0, 3),
                                 (0xf0, 0xf8, 4)):
            tail = data[1:size]

            if (data[0] & mask == lead and len(tail) == size - 1
                    and all(byte & 0xc0 == 0x80 for byte in tail)):
                code = data[0] & ~mask & 0xff
                for byte in tail:
                    code = code << 6 | byte & 0x3f
                break
        else:
            code, size = data[0] if data[0] < 0x80 else 0xfffd, 1

        text.append(chr(code) if code < 0x110000 else '\ufffd')
        data = data[size:]

    return segments(''.join(text).encode('utf-8', 'replace'))


def by_urlsplit(path):
    try:
        return segments(unquote_to_bytes(
            urlsplit(b'http://localhost' + path).path))
    except ValueError:
        return None


READERS = (literally, decoding_first, decoding_by_python, decoding_twice,
           undecoded_dots, with_backslashes, without_fragment,
           without_escaped_ends, without_parameters, merging_slashes,
           until_nul, without_controls, in_latin_1, in_loose_utf_8,
           by_urlsplit)

# Those that may work on a text that has been normalised.
LATE = (decoding_first, with_backslashes, without_escaped_ends,
        without_parameters, merging_slashes)


def normalising(path):
    """Readers that normalise what they have decoded: true if they see the
    same structure as those that do not."""

    try:
        plain = decode(path).decode()
    except UnicodeDecodeError:
        return False

    norm = nfkc(plain).encode()
    parts = [nfkc(part).encode() for part in plain.split('/')[1:]]

    return all(reader(norm) == parts for reader in LATE)


def dissenters(target, judged):
    """The names of those who read the target, in origin form, otherwise than
    as the judged path."""

    path = without_query(target)
    parts = judged.split(b'/')[1:] if judged.startswith(b'/') else [judged]

    names = [reader.__name__ for reader in READERS if reader(path) != parts]

    return names if normalising(path) else names + [normalising.__name__]


def canonical_path(path):
    """True for a decoded path, in text, that all readers leave as it is."""

    parts = path.split('/')

    return (parts[0] == '' and len(parts) > 1 and all(parts[1:-1])
            and not {'.', '..'} & set(parts)
            and not set(path) & (SPECIAL - set('./'))
            and not any(unicodedata.category(c) == 'Cc' or
                        ord(c) >= 0x80 and set(nfkc(c)) & SPECIAL
                        for c in path))


def ordinary_path(path):
    """True for a decoded path, in text, that nobody could read in another
    way: ordinary names between single slashes."""

    return (len(path.encode()) <= LONGEST and canonical_path(path)
            and all(c == ' ' or unicodedata.category(c)[0] in 'LMNPS'
                    for c in path))


def ordinary(target):
    """True for a target in origin form that is spelt as RFC 3986 has it, and
    that nobody could read in another way."""

    path, mark, query = target.partition(b'?')

    if not PLAIN_PATH.fullmatch(path) or not PLAIN_QUERY.fullmatch(query):
        return False

    # what needs no escape has none, and an escaped slash is no separator
    for escape in ESCAPE.findall(path):
        if int(escape, 16) in UNRESERVED | {0x2f}:
            return False

    try:
        return ordinary_path(decode(path).decode())
    except UnicodeDecodeError:
        return False


def covers(prefix, path):
    """The rule of access items, on segments: "/a/b" covers itself and all
    below, "/a/b/" only what is below."""

    wanted, given = prefix.split('/'), path.split('/')

    if wanted[-1] == '':
        return given[:len(wanted) - 1] == wanted[:-1] \
            and len(given) >= len(wanted)

    return given[:len(wanted)] == wanted


def shell(target):
    """The bytes as a word for bash."""

    text = ''.join(chr(byte) if 0x20 <= byte < 0x7f and byte not in b"'\\"
                   else '\\x%02x' % byte for byte in target)

    return "$'%s'" % text
