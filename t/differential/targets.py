#!/usr/bin/python3 -B
"""Request targets: what to send, and whether what came of it was right.

    targets.py access               the access items of the grant, as JSON
    targets.py make SEED COUNT      targets, one a line
    targets.py judge TARGETS SEEN   compares; exit status 1 if it must

A line of TARGETS is: number, kind, wire (1, 1-unmerged, 2, 2-unmerged) and
the target in hexadecimal.  A line of SEEN: number, status, word, and lists in
hexadecimal, "-" if empty: the targets that reached the tenant API, and the
paths, as JSON texts, that the audit log says were judged.
"""

import json
import random
import sys
from collections import Counter, defaultdict
from urllib.parse import quote

from reading import (LOOKALIKES, UNRESERVED, covers, decode, dissenters,
                     ordinary, origin_form, other_host, shell,
                     without_query)

# By service; paths below /tenants/T/S/ belong to the service S of the tenant
# T, all others to "door" of acme.
ACCESS = {
    'mail': ['/tenants/acme/mail/in', '/tenants/acme/mail/out/',
             '/tenants/acme/mail/B\u00fcro/\u00dcber uns',
             '/tenants/acme/mail/\u53d7\u4fe1\u7bb1'],
    'files': ['/tenants/acme/files/'],
    'door': ['/'],
}

WIRES = {'1': 60, '1-unmerged': 25, '2': 10, '2-unmerged': 5}

BASES = ['/tenants/acme/mail/in', '/tenants/acme/mail/out',
         '/tenants/acme/files', '/tenants/acme/files/a', '/x', '',
         '/tenants/acme/mail/B\u00fcro/\u00dcber uns/2024',
         '/tenants/acme/mail/\u53d7\u4fe1\u7bb1']
FOREIGN = ['/tenants/globex/mail/in', '/tenants/acme/secrets',
           '/tenants/acme/mail', '/tenants/acme/mail/inbox',
           '/tenants/acme/mail/In', '/tenants/acme/mail/out',
           '/tenants/ACME/mail/in', '/tenants/acme', '/tenants']

NAMES = ['in', 'inbox', 'a', 'b', 'x', '1', 'report-2024.pdf', 'a.b', 'a..b',
         '...', '..a', 'a..', '.x', '..x', 'x.', '~user', 'a_b', 'A+B', 'k=v',
         'a,b', 'user@host', 'a:b', "it's", '(1)', '$x', '!', '*', 'a&b',
         'a b', ' ', '"quoted"', '<b>', '{id}', 'a|b', '^', '`', '[0]',
         'Gr\u00f6\u00dfe', 'na\u00efve caf\u00e9', '\u20ac', '\u03b5\u03bb',
         '\u043f\u043e\u0447\u0442\u0430', '\u65e5\u672c\u8a9e',
         '\ud55c\uad6d',
         '\u0627\u0644\u0628\u0631\u064a\u062f', '\u05d3\u05d5\u05d0\u05e8',
         '\u0e44\u0e17\u0e22', '\u0939\u093f\u0928\u094d\u0926\u0940',
         '\U0001f4e7', '\U00020000', 'e\u0301', '\u2603', '\u00bd', '\ufb01']
DOTS = ['.', '..', '%2e', '%2E', '%2e%2e', '.%2e', '%2E.', '%252e%252e',
        '%25%32%65', '%%32%65', '..%00', '..%20', '..;', '..;x=1', '%2e;',
        '..%5c', '.%0d', '%c0%ae%c0%ae', '%e0%80%ae.', '%f0%80%80%ae',
        '%ef%bc%8e%ef%bc%8e', '%e2%80%a5', '%u002e', '. .', '..\\', '..#',
        '..?', '%3f/..', '..%3f', '..%23']
SLASHES = ['/', '//', '///', '/./', '%2f', '%2F', '%252f', '%25%32%66', '\\',
           '%5c', '%5C', '%255c', '\\/', '/\\', '%c0%af', '%e0%80%af',
           '%c1%9c', '%ef%bc%8f', '%e2%88%95', '%e2%81%84', '%f0%80%80%af',
           ';/', '/;/', '%3b/', '/%2e/', '%00/', '/%20/', '%0a/', '/%', '#/']
MARKS = [';', ';x=1', '%3b', '%3B', '#', '%23', '#frag', '?', '%3f', '%3F',
         '??', '&', '%26', '%', '%2', '%zz', '%%', '%25', '%2525', '%u0041',
         '%00', '\0', '%01', '%09', '\t', '%0a', '\n', '%0d', '\r',
         '%0d%0a', '%1b', '%1f', '%20', ' ', '%7f', '\x7f', '%80', '%9f',
         '%a0', '%ff', '%fe', '%c2%80', '%c2%85', '%c2%9f', '%c2%a0', '+',
         '%2B', '%61', '%7e', '%7E', '%5F', '%2d', '%41', '%30', '"', '<',
         '>', '{', '|', '}', '^', '`', '[', ']', '%22', '%7B']
INVALID = [b'\xc0\x80', b'\xc0\xaf', b'\xc1\xbf', b'\xe0\x80\xaf',
           b'\xe0\x9f\xbf', b'\xf0\x80\x80\xaf', b'\xf0\x8f\xbf\xbf',
           b'\xed\xa0\x80', b'\xed\xbf\xbf', b'\xed\xa0\xbd\xed\xb2\xa9',
           b'\xf4\x90\x80\x80', b'\xf5\x80\x80\x80', b'\xf8\x88\x80\x80\x80',
           b'\xfc\x84\x80\x80\x80\x80', b'\xff', b'\xfe', b'\x80', b'\xbf',
           b'\xc2', b'\xe2\x82', b'\xe2', b'\xf0\x9f\x93', b'\xf0\x9f',
           b'\xc3\x28', b'\xe2\x28\xa1', b'\xe2\x82\x28', b'\xc3\xc3\xb6']
QUERIES = ['', 'a=1', 'a=/../%2f%00;', 'path=..%2f..%2fglobex', '?', '/', '#',
           '//', 'x=%E2%82%AC', 'a=b&c=d;e', '%', '%zz', '..', '?/../x',
           '\\', 'a b', '\x01', 'http://evil.example/']
AUTHORITIES = ['localhost', 'LOCALHOST', 'localhost:80', 'evil.example',
               'user:pw@localhost', '127.0.0.1', '[::1]', '', 'a..b', '%6c',
               'localhost.', 'local_host', 'x' * 300]


def spell(text, keep=''):
    """The text as a target has it."""

    return quote(text, safe="/!$&'()*+,=:@~" + keep)


class Targets:
    """Generators; each gives bytes."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.kinds = {
            self.plain: 24, self.foreign: 5, self.queries: 5, self.dots: 10,
            self.slashes: 9, self.marks: 9, self.escaped_anyhow: 4,
            self.scripts: 6, self.lookalikes: 5, self.invalid: 5,
            self.raw: 3, self.long: 1, self.absolute: 5, self.soup: 5,
            self.mutants: 12,
        }

    def make(self):
        pick = self.random.choices
        kind = pick(*zip(*self.kinds.items()))[0]
        wire = pick(*zip(*WIRES.items()))[0]

        return kind.__name__, wire, kind()

    def base(self):
        return spell(self.random.choice(BASES)).encode()

    def names(self, low=0, high=3):
        return [self.random.choice(NAMES)
                for _ in range(self.random.randint(low, high))]

    def tail(self):
        return ''.join('/' + spell(name) for name in self.names()).encode()

    def inserted(self, text, piece):
        at = self.random.randint(1, len(text)) if text else 0

        return text[:at] + piece + text[at:]

    def piece(self, pieces):
        """One of them somewhere behind, or in the middle of, what is
        covered."""

        piece = self.random.choice(pieces).encode('latin-1')
        text = self.base() + self.tail()

        if self.random.random() < .3:
            return self.inserted(text, piece)

        return (self.base() + b'/' + piece + self.tail()
                + self.random.choice([b'', b'/', b'/x']))

    def plain(self):
        text = self.base() + self.tail()
        text += self.random.choice([b'', b'', b'/'])
        if not text:
            text = b'/'
        if self.random.random() < .2:
            text += b'?a=' + spell(self.random.choice(NAMES), '?;').encode()

        return text

    def foreign(self):
        return (spell(self.random.choice(FOREIGN)).encode() + self.tail()
                + self.random.choice([b'', b'/']))

    def queries(self):
        query = self.random.choice(QUERIES).encode('latin-1')

        return self.base() + self.tail() + b'/?' + query

    def dots(self):
        text = self.piece(DOTS)

        return text if self.random.random() < .7 \
            else text + b'/../' + self.random.choice(FOREIGN)[1:].encode()

    def slashes(self):
        return self.piece(SLASHES)

    def marks(self):
        return self.piece(MARKS)

    def escaped_anyhow(self):
        """Bytes escaped that need it, or need not."""

        text = decode(self.base() + self.tail())
        share = self.random.choice([.02, .1, .5])

        return b''.join(
            b'%%%02x' % byte if byte not in UNRESERVED | {0x2f}
            or self.random.random() < share else bytes([byte])
            for byte in text)

    def scripts(self):
        """Code points from everywhere, of all lengths."""

        top = self.random.choice([0x80, 0x800, 0x3000, 0x10000, 0x110000])
        text = ''

        while len(text) < self.random.randint(1, 6):
            code = self.random.randrange(0x20, top)
            if not 0xd800 <= code <= 0xdfff and chr(code) not in '/?#%\\;':
                text += chr(code)

        return self.base() + b'/' + spell(text).encode() + self.tail()

    def lookalikes(self):
        code = self.random.choice(LOOKALIKES)
        if self.random.random() < .2:
            code += self.random.choice([-1, 1])
        text = spell(chr(code)).encode()
        form = self.random.choice([b'%s', b'..%s', b'%s%s', b'a%sb', b'.%s'])
        text = form.replace(b'%s', text)

        return self.base() + b'/' + text + self.tail()

    def invalid(self):
        text = self.random.choice(INVALID)
        if self.random.random() < .9:
            text = b''.join(b'%%%02X' % byte for byte in text)

        return self.inserted(self.base() + b'/x', text) + self.tail()

    def raw(self):
        """Bytes that should have been escaped."""

        text = self.random.choice(NAMES).encode()
        some = bytes(self.random.choices(range(256), k=2))

        return self.inserted(self.base() + b'/' + text,
                             self.random.choice([b'', some]))

    def long(self):
        size = self.random.choice([900, 1000, 1023, 1024, 1025, 1100, 3000])
        name = self.random.choice(['a', 'ab/', '\u20ac', 'a b'])
        text = self.base() + b'/'
        room = max(size - len(decode(text)), 0)
        text += spell((name * size).encode()[:room].decode(
            errors='ignore').rstrip('/')).encode()

        return text + b'?' + b'q' * self.random.choice([0, 2000])

    def absolute(self):
        scheme = self.random.choice(['http', 'http', 'http', 'https', 'HTTP',
                                     'ftp', 'x', 'file'])
        host = 'localhost' if self.random.random() < .6 \
            else self.random.choice(AUTHORITIES)
        path = self.random.choice([self.plain, self.plain, self.dots,
                                   self.marks, self.queries])()
        path = self.random.choice([path] * 8 + [b'', b'?a=1'])

        return ('%s://%s' % (scheme, host)).encode() + path

    def soup(self):
        """Whatever of all that, in a row."""

        pieces = [piece.encode('latin-1')
                  for piece in self.random.choices(DOTS + SLASHES + MARKS,
                                                   k=3)]
        pieces += [spell(name).encode() for name in self.names(2, 4)]
        pieces += [b'/'] * self.random.randint(0, 3)
        self.random.shuffle(pieces)

        return self.base() + b'/' + b''.join(pieces)

    def mutants(self):
        """A good target with a few bytes changed."""

        text = bytearray(self.random.choice([self.plain, self.plain,
                                             self.scripts, self.foreign])())

        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            at = self.random.randrange(len(text) or 1)
            byte = self.random.choice(
                [self.random.randrange(256), self.random.randrange(32, 127),
                 ord(self.random.choice('./%\\;#?2eEfF50'))])

            change = self.random.randrange(5)
            if change == 0:
                text[at:at + 1] = bytes([byte])
            elif change == 1:
                text[at:at] = bytes([byte])
            elif change == 2:
                del text[at:at + 1]
            elif change == 3 and text:
                text[at] ^= 1 << self.random.randrange(8)
            else:
                end = at + self.random.randint(1, 8)
                text[at:at] = text[at:end]

        return bytes(text)


# What the gate may say about the targets of this test.
WORDS = {'allow', 'ambiguous_target', 'wrong_tenant', 'wrong_service',
         'wrong_path', 'nginx'}


def expected(path):
    """What the grant says about a path, in text."""

    parts = path.split('/')
    tenant, service = 'acme', 'door'

    if parts[1] == 'tenants' and len(parts) > 4 and parts[2] and parts[3]:
        tenant, service = parts[2:4]

    if tenant != 'acme':
        return 'wrong_tenant'

    if service not in ACCESS:
        return 'wrong_service'

    return 'allow' if any(covers(prefix, path) for prefix in ACCESS[service]) \
        else 'wrong_path'


def judge_allowed(target, wire, status, reached, judged):
    """What is wrong about a target that was let through."""

    sent = target if wire.startswith('2') else origin_form(target)

    if other_host(target, b'localhost'):
        yield 'let through, but for another host'
    if status != '200':
        yield 'let through, but answered with ' + status
    if not reached:
        yield 'let through, but the tenant API did not see it'
    for raw in set(reached):
        if raw != sent:
            yield 'the tenant API got ' + shell(raw)
    if len(reached) != 1 or len(judged) != 1:
        yield '%d requests, %d intents' % (len(reached), len(judged))
    for path in set(judged):
        names = dissenters(sent, path.encode('utf-8', 'surrogatepass'))
        if names:
            yield 'judged as %s, read otherwise %s' % (
                json.dumps(path), ', '.join(names))
        elif expected(path) != 'allow':
            yield 'the grant does not cover it: ' + expected(path)


def judge_refused(target, word, reached, judged):
    # a line feed makes a request of HTTP/0.9, which has no token
    if word not in WORDS and not (word == 'no_token' and b'\n' in target):
        yield 'unexpected: ' + word
    if reached:
        yield 'refused, but the tenant API got ' + shell(reached[0])
    if judged:
        yield 'refused, but recorded as let through'


def judge_ordinary(target, word):
    """What is wrong about the word for an ordinary target."""

    want = expected(decode(without_query(target)).decode())

    if word != want:
        yield 'ordinary: %s expected, but %s' % (want, word)


def judge_target(target, wire, status, word, reached, judged):
    if word == 'allow' or reached and word == 'nginx':
        yield from judge_allowed(target, wire, status, reached, judged)
    else:
        yield from judge_refused(target, word, reached, judged)

    if is_ordinary(target, wire):
        yield from judge_ordinary(origin_form(target), word)


def is_ordinary(target, wire):
    if target.startswith(b'http://localhost/') and wire.startswith('1'):
        target = origin_form(target)

    return ordinary(target)


def unhex(text):
    return [] if text == '-' else [bytes.fromhex(part)
                                   for part in text.split(',')]


def read_seen(file):
    """By number; and what belongs to no target."""

    seen, stray = {}, []

    with open(file, encoding='ascii') as lines:
        for line in lines:
            number, *rest = line.split()
            if number == 'stray':
                stray.append(line.strip())
            else:
                seen[number] = rest

    return seen, stray


class Report:
    def __init__(self):
        self.count = 0
        self.ordinary = Counter()
        self.words = defaultdict(Counter)
        self.differences = []

    def add(self, number, kind, wire, target, seen):
        if seen is None:
            problems, word = ['no answer'], 'no_answer'
        else:
            status, word, reached, judged = seen
            problems = judge_target(
                target, wire, status, word, unhex(reached),
                [json.loads(text) for text in unhex(judged)])

        self.count += 1
        self.words[kind][word] += 1
        self.words['(wire %s)' % wire][word] += 1
        self.words['(all)'][word] += 1

        if is_ordinary(target, wire):
            covered = expected(decode(without_query(
                origin_form(target))).decode()) == 'allow'
            self.ordinary[covered, word] += 1

        for problem in problems:
            self.differences.append('target %s (%s, wire %s) %s\n    %s' % (
                number, kind, wire, shell(target), problem))

    def write(self):
        names = ['allow', 'ambiguous_target', 'wrong_tenant', 'wrong_service',
                 'wrong_path', 'nginx']
        print('%-20s' % 'targets', *('%16s' % name for name in names))
        for kind, words in sorted(self.words.items()):
            print('%-20s' % kind, *('%16d' % words[name] for name in names))

        covered = sum(count for (yes, _), count in self.ordinary.items()
                      if yes)
        print('ordinary and covered: %d, let through: %d' % (
            covered, self.ordinary[True, 'allow']))
        print('ordinary and not covered: %d, let through: %d' % (
            sum(self.ordinary.values()) - covered,
            self.ordinary[False, 'allow']))
        print('neither, but read as judged: %d' % (
            self.words['(all)']['allow'] - sum(
                count for (_, word), count in self.ordinary.items()
                if word == 'allow')))
        print('targets: %d, differences: %d' % (
            self.count, len(self.differences)))
        for difference in self.differences[:40]:
            print(difference)


def judge(targets, seen_file):
    seen, stray = read_seen(seen_file)
    report = Report()
    report.differences += stray

    with open(targets, encoding='ascii') as lines:
        for line in lines:
            number, kind, wire, target = line.rstrip('\n').split(' ')
            report.add(number, kind, wire, bytes.fromhex(target),
                       seen.get(number))

    report.write()

    return 1 if report.differences or not report.count else 0


def make(seed, count):
    targets = Targets(int(seed))

    for number in range(int(count)):
        kind, wire, target = targets.make()
        print(number, kind, wire, target.hex())


def access():
    print(json.dumps([
        {'service': service, 'methods': ['GET'], 'paths': paths}
        for service, paths in ACCESS.items()]))


if __name__ == '__main__':
    sys.exit({'access': access, 'make': make, 'judge': judge}[sys.argv[1]](
        *sys.argv[2:]))
