"""Tokens that are good, and tokens that are not quite.

Each kind of change is a method of Forge; its name is the kind.  What has been
changed below the signature is signed anew with the right key, unless it is
the signature that the change is about.
"""

import base64
import hashlib
import hmac
import json
import random

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature, encode_dss_signature)

HASHES = {'256': hashes.SHA256(), '384': hashes.SHA384(),
          '512': hashes.SHA512(), '56K': hashes.SHA256()}
# The orders of the base points (SEC 2, sections 2.4.2, 2.5.1 and 2.6.1).
ORDERS = {
    'secp256r1': int('ffffffff00000000ffffffffffffffff'
                     'bce6faada7179e84f3b9cac2fc632551', 16),
    'secp384r1': int('ffffffffffffffffffffffffffffffffffffffffffffffff'
                     'c7634d81f4372ddf581a0db248b0a77aecec196accc52973', 16),
    'secp521r1': int('1fffffffffffffffffffffffffffffffff'
                     'fffffffffffffffffffffffffffffffffa'
                     '51868783bf2f966b7fcc0148f709a5d03b'
                     'b5c9b8899c47aebb6fb71e91386409', 16),
}
ALPHABET = ('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
            '0123456789-_')
ALGS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'ES256K',
        'PS256', 'PS512', 'EdDSA', 'HS256', 'HS384', 'HS512', 'none', 'None',
        'NONE', 'nOnE', 'es256', 'Es256', 'rs256', 'RS256 ', ' ES256',
        'ES256\x00', 'RSA', '', 'A128GCM', 'dir', 'ES2567', 'ES25']
VALUES = ['null', 'true', 'false', '0', '1', '-1', '1.5', '""', '"x"', '" "',
          '[]', '{}', '[[]]', '[null]', '[1]', '["x"]', '{"a":1}', '"\\u0000"',
          '"\\r\\n"', '"\\ud83d\\ude00"', '"\u20ac"', '[""]', '1e3']
FOREIGN = [('crit', '["b64"]'), ('crit', '[]'), ('crit', '["exp"]'),
           ('crit', 'null'), ('b64', 'false'), ('b64', 'true'),
           ('zip', '"DEF"'), ('enc', '"A128GCM"'), ('cty', '"JWT"'),
           ('jku', '"https://evil.example/k"'), ('x5u', '"https://e/c"'),
           ('x5c', '["MIIB"]'), ('jwk', '{"kty":"EC"}'), ('jwk', 'null'),
           ('x5t', '"abc"'), ('x5t#S256', '"abc"'), ('iss', '"x"'),
           ('nonce', '"1"'), ('apu', '1'), ('p2c', '1'), ('url', '"u"'),
           ('exp', '1'), ('Alg', '"none"'), ('ALG', '"none"'),
           ('typ ', '"x"'), ('svt', '[1]'), ('', '1')]
PATHS = ['/', '/tenants/acme/mail', '/tenants/acme/mail/', '', 'x', 'a/b',
         '//', '/a//b', '/.', '/..', '/a/../b', '/a/./b', '/a/..', '/a%2fb',
         '/%61', '/a;b', '/a#b', '/a?b', '/a\\b', '/a b', '/a..b', '/...',
         '/B\u00fcro/\u20ac', '/a\uff0fb', '/\u2025', '/\uff0e\uff0e',
         '/\u0085', '/\u007f', '/\n', '/\u200b', '/\U0001f4e7', '/a\u0000b',
         '/' + 'a' * 1023, '/' + 'a' * 1024, '/e\u0301', '/\u037e', '*', '/*',
         '/\ue000', '/\ufffd', '/\U000e0041', '/\u2100', '\uff0fa']
TENANTS = ['acme', 'globex', 'A.b-c_9', 'a' * 64, 'a' * 65, '', '.', '..',
           'a b', 'a/b', '{a}', 'ac\u00fc', 'acme ', 'acme\n', 'ACME', '*',
           '-', '_', '...', 'a\u0000']
SUBJECTS = ['erin', 'e' * 255, 'e' * 256, 'e' * 300, '', ' ', 'e\r\nx',
            'e\u007f', '\u00e9rin', 'e\tx', '\u202eerin', 'erin@example.org',
            '\u00e9' * 127, '\u00e9' * 128, 'a\u0085']
ISSUERS = ['', 'https://', 'urn:x', 'https://evil.example']


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=')


def quoted(value):
    return json.dumps(value, ensure_ascii=False)


def members(pairs):
    """A list of [name, value] in JSON."""

    return [[quoted(name), quoted(value)] for name, value in pairs]


def text_of(object_members):
    return '{' + ','.join(':'.join(pair) for pair in object_members) + '}'


def encoded(text):
    return text if isinstance(text, bytes) \
        else text.encode('utf-8', 'surrogatepass')


class Key:
    def __init__(self, facts):
        self.kid, self.alg = facts['kid'], facts['alg']
        with open(facts['file'], 'rb') as pem:
            self.private = serialization.load_pem_private_key(pem.read(), None)
        with open(facts['public'], 'rb') as pem:
            self.pem = pem.read()
        self.public_der = self.private.public_key().public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo)
        self.is_ec = isinstance(self.private, ec.EllipticCurvePrivateKey)
        self.is_rsa = isinstance(self.private, rsa.RSAPrivateKey)

    def size(self):
        return (self.private.curve.key_size + 7) // 8

    def sign(self, data, alg=None):
        """With the digest of the algorithm, in the manner of the key."""

        alg = alg or self.alg

        if self.is_ec:
            pair = self.pair(data, alg)
            return b''.join(number.to_bytes(self.size(), 'big')
                            for number in pair)
        if self.is_rsa:
            return self.private.sign(data, padding.PKCS1v15(), digest(alg))

        return self.private.sign(data)

    def pair(self, data, alg=None):
        return decode_dss_signature(self.private.sign(
            data, ec.ECDSA(digest(alg or self.alg))))


def digest(alg):
    return HASHES.get(alg[-3:], hashes.SHA256())


class Draft:
    """A token that is still being written."""

    def __init__(self, door, issuer, key, header, claims):
        self.door, self.issuer, self.key = door, issuer, key
        self.header, self.claims = header, claims

    def set(self, part, name, value):
        """Sets a member to a JSON text, or removes it."""

        kept = [pair for pair in part if pair[0] != quoted(name)]
        if value is not None:
            at = next((i for i, pair in enumerate(part)
                       if pair[0] == quoted(name)), len(kept))
            kept.insert(at, [quoted(name), value])
        part[:] = kept

    def get(self, part, name):
        return next((value for key, value in part if key == quoted(name)),
                    'null')

    def segments(self):
        return [b64(encoded(text_of(self.header))),
                b64(encoded(text_of(self.claims)))]

    def signed(self, *segments, key=None, alg=None):
        data = b'.'.join(segments or self.segments())

        return data + b'.' + b64((key or self.key).sign(data, alg))

    def signed_texts(self, header=None, claims=None):
        """Of texts that need not be JSON."""

        return self.signed(
            b64(encoded(text_of(self.header) if header is None else header)),
            b64(encoded(text_of(self.claims) if claims is None else claims)))


class Forge:
    def __init__(self, world, seed):
        self.random = random.Random(seed)
        self.pick = self.random.choice
        self.now = world['now']
        self.grants = world['grants']
        self.issuers = world['issuers']
        self.strangers = [Key(facts) for facts in world['strangers']]

        for rule in [self.grants] + self.issuers:
            rule['made'] = [Key(facts) for facts in rule['keys']]

        self.kinds = {
            self.good: 8, self.text_bytes: 9, self.base64_forms: 5,
            self.structure: 4, self.bits: 6, self.ecdsa_numbers: 4,
            self.rsa_numbers: 2, self.algorithms: 6, self.hmac_with_pem: 3,
            self.wrong_keys: 5, self.other_curves: 2, self.header_members: 5,
            self.json_types: 6, self.json_duplicates: 4, self.json_escapes: 4,
            self.json_numbers: 5, self.json_forms: 6, self.json_bytes: 9,
            self.times: 7, self.names: 5, self.access_items: 8,
            self.sizes: 2, self.wrong_door: 2, self.roles: 3, self.twice: 5,
        }

    def make(self):
        kind = self.random.choices(*zip(*self.kinds.items()))[0]
        draft = self.draft()
        token = kind(draft)

        return draft.door, kind.__name__, token

    # What is good

    def draft(self, door=None):
        door = door or self.pick(['grant', 'grant', 'identity'])
        issuer = self.grants if door == 'grant' else self.pick(self.issuers)
        keys = issuer['made']
        key = self.random.choices(keys, [1 if key.is_rsa else 6
                                         for key in keys])[0]
        iat = self.now - self.random.randint(1, 600)
        exp = self.now + self.random.randint(1500, 2900)

        header = [('alg', key.alg)]
        claims = [('iss', issuer['iss']), ('aud', issuer['aud']),
                  ('sub', self.pick(['erin', 'carl', '\u00e9va', 'o\'x'])),
                  ('iat', iat), ('exp', exp)]

        if door == 'grant':
            header += [('typ', 'lockbox-grant+jwt'), ('kid', key.kid)]
            claims += self.grant_claims(iat)
        else:
            if self.random.random() < .6:
                header.append(('typ', self.pick(['JWT', 'jwt', 'at+jwt',
                                                 'AT+JWT', 'Jwt'])))
            if len(keys) > 1 or self.random.random() < .5:
                header.append(('kid', key.kid))
            claims += self.identity_claims(iat)

        if self.random.random() < .3:
            self.random.shuffle(header)
            self.random.shuffle(claims)

        return Draft(door, issuer, key, members(header), members(claims))

    def grant_claims(self, iat):
        jti = '%08x-%04x-7%03x-%s%03x-%012x' % (
            self.random.getrandbits(32), self.random.getrandbits(16),
            self.random.getrandbits(12), self.pick('89ab'),
            self.random.getrandbits(12), self.random.getrandbits(48))

        return [('nbf', iat), ('jti', jti),
                ('tenant', self.pick(['acme', 'globex', 'A.b-c_9'])),
                ('engineer_iss', self.issuers[0]['iss']),
                ('authorization_details', [
                    self.item() for _ in range(self.pick([1, 1, 2]))])]

    def item(self):
        item = {'type': 'lockbox', 'service': self.pick(['mail', 'files.2']),
                'methods': self.random.sample(['GET', 'POST', 'PROPFIND',
                                               'PUT'], self.pick([1, 2])),
                'paths': self.random.sample(['/tenants/acme/mail', '/a/',
                                             '/B\u00fcro/\u20ac'],
                                            self.pick([1, 2]))}
        if self.random.random() < .4:
            item['labels'] = ['secret']

        return item

    def identity_claims(self, iat):
        claims = [('groups', self.pick([['support-engineers'], ['x'],
                                        'auditors', []])),
                  ('realm_access', {'roles': self.pick([['managers'], [],
                                                        'managers'])}),
                  ('roles', self.pick(['lockbox-approver',
                                       ['auditor', 'lockbox-approver']])),
                  ('kind', 'approver'),
                  ('org', {'id': self.pick(['acme', 'globex'])})]

        return claims + ([('nbf', iat)] if self.random.random() < .5 else [])

    def good(self, draft):
        return draft.signed()

    # Below the signature: the text, the segments, the signature itself

    def text_bytes(self, draft):
        text = bytearray(draft.signed())

        for _ in range(self.pick([1, 1, 1, 2, 4])):
            at = self.random.randrange(len(text))
            byte = self.pick([ord(self.pick(ALPHABET + '.=+/, ')),
                              self.random.randrange(256)])
            change = self.random.randrange(6)

            if change == 0:
                text[at] = byte
            elif change == 1:
                text.insert(at, byte)
            elif change == 2:
                del text[at:at + self.pick([1, 1, 4])]
            elif change == 3:
                text[at] ^= 1 << self.random.randrange(8)
            elif change == 4:
                text[at:at + 1] = text[at:at + 1].swapcase()
            else:
                text[at:at] = text[at:at + self.random.randint(1, 9)]

        return bytes(text) or b'.'

    def base64_forms(self, draft):
        """Other spellings of the same bytes, signed as they are spelt."""

        parts = draft.segments()
        at = self.random.randrange(3)
        if at < 2:
            parts[at] = self.respelt(parts[at])
        parts = draft.signed(*parts).split(b'.')
        if at == 2:
            parts[2] = self.respelt(parts[2])

        return b'.'.join(parts)

    def respelt(self, text):
        change = self.random.randrange(7)
        if change == 0:
            return text + b'=' * self.pick([1, 2, -len(text) % 4 or 3])
        if change == 1:
            return text.replace(b'-', b'+').replace(b'_', b'/')
        if change == 2:
            spare = {2: 4, 3: 2}.get(len(text) % 4)
            if spare is None:
                return text
            last = ALPHABET.index(chr(text[-1])) \
                | self.random.randrange(1 << spare)
            return text[:-1] + ALPHABET[last].encode()
        if change == 3:
            at = self.random.randrange(len(text))
            return text[:at] + self.pick([b'\n', b' ', b'\r\n', b'=', b'*',
                                          b'%2D', b'\t', b'\0']) + text[at:]
        if change == 4:
            return text + self.pick([b'A', b'AA', b' ', b'\n', b'\0', b','])
        if change == 5:
            return text[:-1]

        return self.pick([b' ', b'=', b'A']) + text

    def structure(self, draft):
        header, claims, signature = draft.signed().split(b'.')
        forms = [
            [header, claims], [header, claims, b''], [b'', claims, signature],
            [header, b'', signature], [header, claims, signature, b''],
            [header, claims, signature, signature], [header], [b'', b'', b''],
            [claims, header, signature], [header, signature, claims],
            [header, header, signature], [claims, claims, signature],
            [header, claims, signature[:-4]], [b'', header, claims, signature],
            [header, claims, b'AA'], [header + claims, signature],
        ]
        token = b'.'.join(self.pick(forms))

        return self.pick([token] * 8 + [
            b'Bearer ' + token, token + b',' + token, token + b' ' + token,
            self.json_form(header, claims, signature), b'"' + token + b'"',
            token.replace(b'.', b'..'), token.replace(b'.', b'%2E')])

    @staticmethod
    def json_form(header, claims, signature):
        return json.dumps({'protected': header.decode(),
                           'payload': claims.decode(),
                           'signature': signature.decode()}).encode()

    def bits(self, draft):
        """Bits of what a segment decodes to."""

        parts = draft.signed().split(b'.')
        at = self.random.choices([0, 1, 2], [1, 2, 3])[0]
        data = bytearray(base64.urlsafe_b64decode(
            parts[at] + b'=' * (-len(parts[at]) % 4)))

        for _ in range(self.pick([1, 1, 2, 8])):
            data[self.random.randrange(len(data))] ^= \
                1 << self.random.randrange(8)

        if self.random.random() < .2:
            data = self.pick([data[:-1], data + b'\0', b'\0' + data,
                              bytes(len(data)), b'\xff' * len(data),
                              data[::-1]])

        parts[at] = b64(bytes(data)) or b'AA'

        return b'.'.join(parts)

    def with_key(self, draft, wanted):
        """The draft, by a key that is one of the wanted."""

        while not wanted(draft.key):
            other = self.draft()
            draft.__dict__.update(other.__dict__)

    def ecdsa_numbers(self, draft):
        self.with_key(draft, lambda key: key.is_ec)
        data = b'.'.join(draft.segments())
        order = ORDERS[draft.key.private.curve.name]
        size = draft.key.size()
        r, s = draft.key.pair(data)

        r, s = self.pick([
            (r, order - s), (r, order - s), (r, s), (0, 0), (0, s), (r, 0),
            (s, r), (r + order, s), (r, s + order), (order - r, s), (1, 1),
            (order, order), (r, order), (order - 1, order - 1), (r, s + 1),
            (r ^ 1 << self.random.randrange(8 * size - 8), s),
            (2 ** (8 * size) - 1, 2 ** (8 * size) - 1)])
        top = 2 ** (8 * size)
        raw = (r % top).to_bytes(size, 'big') + (s % top).to_bytes(size, 'big')

        if self.random.random() < .25:
            pad = self.pick([1, 2, size])
            raw = self.pick([
                encode_dss_signature(r, s), raw[:-1], raw + b'\0', raw[size:],
                raw + raw, b'\0' * pad + raw[:size] + b'\0' * pad + raw[size:],
                raw[1:size] + raw[size + 1:]])

        return data + b'.' + b64(raw)

    def rsa_numbers(self, draft):
        self.with_key(draft, lambda key: key.is_rsa)
        data = b'.'.join(draft.segments())
        private = draft.key.private
        modulus = private.public_key().public_numbers().n
        raw = draft.key.sign(data)
        number = int.from_bytes(raw, 'big')
        wide = len(raw) + 1
        salt = padding.PSS(padding.MGF1(digest(draft.key.alg)), 32)

        raw = self.pick([
            lambda: raw, lambda: raw.lstrip(b'\0'), lambda: b'\0' + raw,
            lambda: raw + b'\0', lambda: raw[:-1], lambda: bytes(len(raw)),
            lambda: (modulus - number).to_bytes(len(raw), 'big'),
            lambda: (number + modulus).to_bytes(wide, 'big'),
            lambda: (number + modulus).to_bytes(wide, 'big')[-len(raw):],
            lambda: (1).to_bytes(len(raw), 'big'),
            lambda: (modulus - 1).to_bytes(len(raw), 'big'),
            lambda: modulus.to_bytes(len(raw), 'big'),
            lambda: private.sign(data, salt, digest(draft.key.alg)),
            lambda: private.sign(data, padding.PKCS1v15(), hashes.SHA1()),
            lambda: draft.key.sign(data, self.pick(['RS384', 'RS512'])),
        ])()

        return data + b'.' + b64(raw)

    # Keys and algorithms

    def algorithms(self, draft):
        alg = self.pick(ALGS)
        draft.set(draft.header, 'alg', quoted(alg))

        if alg.lower() == 'none' and self.random.random() < .5:
            return b'.'.join(draft.segments()) + b'.' + self.pick(
                [b'', b'', b'AA'])
        if alg.startswith('PS') and draft.key.is_rsa:
            data = b'.'.join(draft.segments())
            return data + b'.' + b64(draft.key.private.sign(
                data, padding.PSS(padding.MGF1(digest(alg)), 32), digest(alg)))

        # with its own digest, or with that of what it claims to be
        return draft.signed(alg=self.pick([None, alg or None]))

    def hmac_with_pem(self, draft):
        """RFC 8725 section 2.1: the public key is no secret."""

        alg = self.pick(['HS256', 'HS384', 'HS512', draft.key.alg])
        other = self.pick(self.strangers + draft.issuer['made'])
        pem = draft.key.pem
        secret = self.pick([
            pem, pem, pem.rstrip(b'\n'), pem.replace(b'\n', b'\r\n'),
            draft.key.public_der, b64(draft.key.public_der), b'', b'secret',
            draft.key.kid.encode(), other.pem,
            b''.join(pem.splitlines()[1:-1])])

        draft.set(draft.header, 'alg', quoted(alg))
        if self.random.random() < .2:
            draft.set(draft.header, 'kid', None)
        data = b'.'.join(draft.segments())
        name = {'384': 'sha384', '512': 'sha512'}.get(alg[-3:], 'sha256')

        return data + b'.' + b64(hmac.new(secret, data, getattr(
            hashlib, name)).digest())

    def wrong_keys(self, draft):
        known = [key for rule in [self.grants] + self.issuers
                 for key in rule['made']]
        other = self.pick(known + self.strangers)
        change = self.random.randrange(6)

        if change == 0:
            return draft.signed(key=other)
        if change == 1:
            draft.set(draft.header, 'kid', quoted(other.kid))
            return draft.signed()

        draft.set(draft.header, 'alg', quoted(other.alg))
        if change == 2:
            draft.set(draft.header, 'kid', quoted(other.kid))
        elif change == 3:
            draft.set(draft.header, 'kid', None)
        elif change == 4:
            kid = draft.key.kid
            draft.set(draft.header, 'kid', quoted(self.pick([
                kid[:-1], kid + 'A', kid.swapcase(), '', '../../dev/null',
                kid + '\0', '0', ' ' + kid, kid + '\n', "' OR 1=1"])))
            return draft.signed()

        return draft.signed(key=other)

    def other_curves(self, draft):
        stranger = self.pick(self.strangers)
        alg = self.pick([stranger.alg, draft.key.alg, 'ES256', 'ES256K'])
        draft.set(draft.header, 'alg', quoted(alg))
        draft.set(draft.header, 'kid', quoted(self.pick(
            [draft.key.kid, draft.key.kid, stranger.kid])))

        if self.random.random() < .3:
            draft.set(draft.header, 'jwk', quoted({
                'kty': 'EC', 'crv': 'P-256', 'x': 'AA', 'y': 'AA'}))

        return draft.signed(key=stranger, alg=alg)

    # What is signed: JSON

    def part(self, draft):
        """One that has something left to change."""

        part, = self.random.choices([draft.header, draft.claims], [1, 3])

        return part or draft.claims

    def header_members(self, draft):
        change = self.random.randrange(5)
        name = self.pick(['alg', 'typ', 'kid'])

        if change < 2:
            text, value = self.pick(FOREIGN)
            draft.header.insert(self.random.randint(0, len(draft.header)),
                                [quoted(text), value])
        elif change == 2:
            draft.set(draft.header, name, self.pick([None] + VALUES))
        else:
            draft.set(draft.header, 'typ', quoted(self.pick([
                'JWT', 'jwt', 'at+jwt', 'lockbox-grant+jwt',
                'lockbox-seal+jwt', 'Lockbox-Grant+JWT', 'application/jwt',
                'application/at+jwt', 'logout+jwt', 'JWT ', 'JWS', 'JOSE', '',
                'lockbox-grant+jwt\u0000', 'lockbox-grant+jw', 'JWT\u0000',
                'JW', 'at+jwt;v=1', '\u212bt+jwt', 'a\u0074+jwt'])))

        return draft.signed()

    def json_types(self, draft):
        part = self.part(draft)
        pair = self.pick(part)
        value = self.pick(VALUES + [
            '[%s]' % pair[1], quoted(pair[1]), '{"a":%s}' % pair[1],
            '[%s,%s]' % (pair[1], pair[1])])

        if self.random.random() < .15:
            part.remove(pair)
        else:
            pair[1] = value

        return draft.signed()

    def json_duplicates(self, draft):
        part = self.part(draft)
        name, value = self.pick(part)
        other = self.pick(VALUES + [value, value])
        copy = name

        if self.random.random() < .4:
            at = self.random.randrange(1, max(len(name) - 1, 2))
            copy = name[:at] + '\\u%04x' % ord(name[at]) + name[at + 1:]
        if self.random.random() < .2:
            copy = self.pick([name.upper(), '"%s\\u0000"' % name[1:-1],
                              '"%s "' % name[1:-1], '"\\ufeff%s' % name[1:]])

        part.insert(self.random.randint(0, len(part)), [copy, other])
        if self.random.random() < .15:
            # inside of another value
            part.append(['"x"', '{%s:1,%s:2}' % (name, name)])

        return draft.signed()

    def json_escapes(self, draft):
        """Texts spelt with escapes; most mean the same as before."""

        for part in (draft.header, draft.claims):
            for pair in part:
                for at in (0, 1):
                    if self.random.random() < .3:
                        pair[at] = self.escaped(pair[at])

        return draft.signed()

    def escaped(self, text):
        """Some characters of JSON texts as escapes."""

        result, inside = '', False

        for c in text:
            if c == '"':
                inside = not inside
            if not inside or c in '"\\' or self.random.random() > .2:
                result += c
            elif c == '/':
                result += self.pick(['\\/', '\\u002f', '\\u002F'])
            elif ord(c) > 0xffff:
                code = ord(c) - 0x10000
                result += '\\u%04x\\u%04x' % (0xd800 + (code >> 10),
                                              0xdc00 + (code & 0x3ff))
            else:
                result += self.pick(['\\u%04x', '\\u%04X']) % ord(c)

        if inside is False and self.random.random() < .02:
            result = result.replace('\\u', self.pick(['\\U', '\\x', '\\u{']))

        return result

    def json_numbers(self, draft):
        name = self.pick(['exp', 'iat', 'nbf', 'exp', 'other'])
        value = {'exp': self.now + 900, 'other': 1}.get(name, self.now - 60)
        forms = [
            '%d.0', '%de0', '%dE+0', '%de-0', '%d.5', '-%d', '0%d', '+%d',
            '%d.', '.%d', '%d0e-1', '%d000e-3', '%d.0e0', ' %d ', '%d,1',
            '0x%x', '%d_0', "'%d'", '"%d"', '[%d]', '%dE', '%de+', '%d e1',
            '%d\u00a0', '%d/**/', '%dL', '%dn', '%d000', '%d.00000000000001']
        fixed = [
            '-0', '0', '00', '-0.0', '1e9', '1e10', '1E9', '1.7e9', '1e308',
            '1e309', '1e400', '1e-400', '-1e400', 'NaN', 'Infinity',
            '-Infinity', 'nan', '1' + '0' * 400, '-', '--1', '1-1', '']
        big = [2 ** 31 - 1, 2 ** 31, 2 ** 32 + value, 2 ** 53 - 1, 2 ** 53,
               2 ** 53 + 1, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1, 2 ** 64 + value,
               2 ** 128 + value, -1, -2 ** 31, -2 ** 63, -2 ** 63 - 1,
               -value, value - 2 ** 32, value - 2 ** 64]

        text = self.pick([
            lambda: self.pick(forms) % value,
            lambda: self.pick(fixed), lambda: str(self.pick(big))])()
        draft.set(draft.claims, name, text)

        return draft.signed()

    def json_forms(self, draft):
        """One document in the forms that readers differ about."""

        part = self.pick([0, 1, 1])
        texts = [text_of(draft.header), text_of(draft.claims)]
        text = texts[part]
        changes = [
            lambda: '\ufeff' + text, lambda: text.encode('utf-16'),
            lambda: text.encode('utf-32'), lambda: text + self.pick(
                [' ', '\n\t\r ', '\0', 'x', '}', ',', ';', '\v', '\f',
                 '\u00a0', text, '{}', '//c', '/**/', '#c']),
            lambda: self.pick([' ', '\n', '\0', '//c\n', '\v', '\u3000',
                               ')]}\'\n', '[', '/**/']) + text,
            lambda: '[%s]' % text, lambda: quoted(text),
            lambda: text.replace(',', ',,', 1), lambda: text[:-1] + ',}',
            lambda: text[:-1], lambda: text[1:], lambda: '{' + text + '}',
            lambda: text.replace('"', "'"), lambda: text.replace(':', '=', 1),
            lambda: text.replace(',', self.pick([' , ', '\n,\t', '\r,'])),
            lambda: text.replace(':', self.pick([' : ', ':\n', '\v:'])),
            lambda: self.with_member(text, self.pick([
                '"\ud800"', '"\\ud800"', '"\\udc00"', '"\\ud800x"',
                '"\\ud800\\u0041"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"',
                '"\\u0000"', '"a\\u0000b"', '"\x00"', '"\x1f"', '"\t"',
                '"\n"', '"\x7f"', '"\\a"', '"\\u12"', '"\\', '"\\u00zz"',
                '"\\q"', '"\ufffe"', '"\U0010ffff"', 'undefined', 'True',
                'nul', 'tru', 'truefalse', '"x""y"'])),
            lambda: self.with_bytes(text, self.pick([
                b'\xff', b'\xc0\x80', b'\xc0\xaf', b'\xe0\x80\xaf', b'\x80',
                b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xf0\x8f\xbf\xbf',
                b'\xc3', b'\xe2\x82', b'\xf8\x88\x80\x80\x80', b'\xc3\xa9'])),
            lambda: self.nested(text), lambda: self.nested(text),
            lambda: '', lambda: 'null', lambda: '{}', lambda: '[]',
        ]
        texts[part] = self.pick(changes)()

        return draft.signed_texts(*texts)

    def with_member(self, text, value):
        return self.pick(['{"x":%s,' % value + text[1:],
                          text[:-1] + ',"x":%s}' % value,
                          '{"x":{"y":[%s]},' % value + text[1:],
                          text[:-1] + ',%s:1}' % value])

    def with_bytes(self, text, data):
        name = self.pick([b'"x%s":1', b'"x":"%s"', b'"x":"a%sb"'])

        return encoded(text[:-1]) + b',' + name.replace(b'%s', data) + b'}'

    def nested(self, text):
        depth = self.pick([1, 2, 13, 14, 15, 16, 17, 20, 100, 500])
        opened, closed = self.pick([('[', ']'), ('{"a":', '}')])
        inner = self.pick(['1', '[]', '{}'])

        return '%s,"x":%s%s%s}' % (text[:-1], opened * depth, inner,
                                   closed * self.pick([depth, depth, depth,
                                                       depth - 1, depth + 1]))

    def json_bytes(self, draft):
        """A few bytes of a document that is then signed."""

        part = self.pick([0, 1, 1])
        texts = [encoded(text_of(draft.header)),
                 encoded(text_of(draft.claims))]
        text = bytearray(texts[part])

        for _ in range(self.pick([1, 1, 1, 2])):
            at = self.random.randrange(len(text))
            byte = self.pick([ord(self.pick('{}[]":,\\/0123456789.eE+- au')),
                              ord(self.pick('{}[]":,\\')),
                              self.random.randrange(256)])
            change = self.random.randrange(5)

            if change == 0:
                text[at] = byte
            elif change == 1:
                text.insert(at, byte)
            elif change == 2 and len(text) > 1:
                del text[at]
            elif change == 3:
                text[at] ^= 1 << self.random.randrange(8)
            else:
                text[at:at] = text[at:at + self.random.randint(1, 30)]

        texts[part] = bytes(text)

        return draft.signed_texts(*texts)

    # What the claims say

    def times(self, draft):
        rule = draft.issuer
        near = [-2, -1, 0, 1, 2]
        iat = self.now + self.pick([0, rule['leeway']]) + self.pick(
            near + [-60, -3600, 60, 61, 3600])
        exp = self.pick([self.now, self.now + 1, iat + rule['max_life'],
                         iat, self.now + 900, self.now + rule['leeway'],
                         self.now - 600]) + self.pick(near)
        nbf = self.pick([iat, self.now + rule['leeway'] + self.pick(near),
                         exp, 0, self.now - 900, self.now + 3600])

        for name, value in (('iat', iat), ('exp', exp), ('nbf', nbf)):
            if self.random.random() < .7:
                draft.set(draft.claims, name, str(value))

        return draft.signed()

    def names(self, draft):
        iss, aud = draft.issuer['iss'], draft.issuer['aud']
        jti = json.loads(draft.get(draft.claims, 'jti'))
        jti = jti if isinstance(jti, str) else '0' * 36
        values = {
            'iss': ISSUERS + [iss + '/', iss[:-1], iss.upper(), iss + ' ',
                              iss + '\0', iss + '#'] + [
                rule['iss'] for rule in self.issuers + [self.grants]],
            'aud': ['', aud + ' ', aud[:-1], aud.upper(), [], [aud],
                    [aud, 'x'], ['x'], ['x', aud], [aud, 1], [[aud]], [None],
                    {aud: 1}, 'x ' + aud, aud + '\0', [aud, aud],
                    self.grants['aud'], self.issuers[0]['aud']],
            'sub': SUBJECTS, 'engineer_iss': SUBJECTS,
            'tenant': TENANTS,
            'jti': [jti.upper(), jti + '0', jti[:-1], '', '*', '{%s}' % jti,
                    jti.replace('-', ''), jti.replace('-7', '-4'),
                    jti + '\n', ' ' + jti, 'urn:uuid:' + jti, jti[:19] + 'c'
                    + jti[20:], jti.replace('-', '_'), 'x' * 36,
                    '00000000-0000-7000-8000-000000000000',
                    'ffffffff-ffff-7fff-bfff-ffffffffffff', '../' + jti[3:]],
            'cnf': [{'x5t#S256': 'A' * 43}, {'jkt': 'x'}, {}, None, 'x'],
            'colour': ['red', {'exp': 1}, None],
        }
        name = self.pick(list(values))
        draft.set(draft.claims, name, self.pick(
            [quoted(self.pick(values[name]))] * 12 + [None]))

        return draft.signed()

    def access_items(self, draft):
        if draft.door != 'grant':
            draft.__dict__.update(self.draft('grant').__dict__)

        items = json.loads(draft.get(draft.claims, 'authorization_details'))
        item = self.pick(items)
        change = self.random.randrange(7)
        long = [['/p%d' % i for i in range(n)] for n in (16, 17, 400)]

        if change < 2:
            item['paths'] = self.random.sample(PATHS, self.pick([1, 1, 2]))
        elif change == 2:
            item['methods'] = self.pick([
                ['HEAD'], ['CONNECT'], ['TRACE'], ['get'], ['Get'], ['GET '],
                [], ['GET', 'GET'], ['GET', ''], ['A' * 32], ['A' * 33],
                ['M-SEARCH'], ['A_B'], ['A1'], ['*'], 'GET', ['GET', 1],
                ['OPTIONS'], [None], {'GET': 1}, ['DELETE', 'PATCH'],
                ['A' * i for i in range(1, 17)],
                ['A' * i for i in range(1, 18)], ['G\u00cbT'], ['GET\0'],
                ['-'], ['HEAD', 'GET']])
        elif change == 3:
            item['labels'] = self.pick([
                [], ['secret'], ['Secret'], [''], ['a', 'a'], 'a', [1], None,
                ['a' * 64], ['a' * 65], ['-a'], ['a b'], [['a']],
                ['l%d' % i for i in range(16)],
                ['l%d' % i for i in range(17)]])
        elif change == 4:
            name = self.pick(['type', 'service', 'methods', 'paths', 'labels',
                              'colour', 'Type', 'path', 'actions'])
            value = self.pick([
                'lockbox', 'Lockbox', 'lockbox ', '', 1, None, [], {}, 'mail',
                'Mail', 'a' * 64, 'a' * 65, '-a', 'm\u00e4il', ['mail'],
                'lockbox\0', ['/a'], ['GET'], True])
            item[name] = value
        elif change == 5:
            item.pop(self.pick(list(item)))
        else:
            items = self.pick([
                [], [item] * 32, [item] * 33, item, [items], [None],
                items + [{}], items + [1], 'lockbox', None,
                [dict(item, paths=self.pick(long))], items + items,
                {'0': item}])

        draft.set(draft.claims, 'authorization_details', quoted(items))

        return draft.signed()

    def sizes(self, draft):
        """About the limits of a token, of its header, and of texts."""

        if self.random.random() < .5:
            draft.header.append(['"x"', '"%s"' % ('a' * self.random.randint(
                500, 900))])
        else:
            draft.claims.append(['"x"', '"%s"' % ('a' * self.random.randint(
                5000, 6600))])

        return draft.signed()

    def wrong_door(self, draft):
        """Good somewhere else."""

        token = draft.signed()
        draft.door = 'identity' if draft.door == 'grant' else 'grant'

        return token

    def roles(self, draft):
        """What an issuer may say of a person, or may not."""

        if draft.door != 'identity':
            draft.__dict__.update(self.draft('identity').__dict__)

        words = ['support-engineers', 'managers', 'auditors', 'auditor',
                 'lockbox-approver', 'approver', 'Managers', 'managers ',
                 'x', '', 1, None, True, {}, [], 'managers\0']
        value = self.pick([
            lambda: self.pick(words), lambda: self.random.sample(words, 3),
            lambda: [[self.pick(words)]], lambda: {self.pick(words[:5]): 1}])
        draft.set(draft.claims, 'groups', quoted(value()))
        draft.set(draft.claims, 'roles', quoted(value()))
        draft.set(draft.claims, 'kind', quoted(value()))
        draft.set(draft.claims, 'realm_access', quoted(self.pick(
            [{'roles': value()}, value(), [{'roles': 'managers'}],
             {'Roles': 'managers'}, {'roles': {'0': 'managers'}}])))
        draft.set(draft.claims, 'org', quoted(self.pick(
            [{'id': self.pick(TENANTS)}, {'id': ['acme']}, 'acme', {},
             {'id': None}, {'ID': 'acme'}, [{'id': 'acme'}]])))
        if self.random.random() < .1:
            draft.claims.append([self.pick(['"/org/id"', '"org/id"',
                                            '"/realm_access/roles"']),
                                 self.pick(['"acme"', '"managers"'])])

        return draft.signed()

    def twice(self, draft):
        """Two changes of what is signed."""

        self.pick([self.json_types, self.times, self.names,
                   self.header_members])(draft)

        return self.pick([self.json_duplicates, self.json_escapes,
                          self.json_numbers, self.json_types, self.names,
                          self.times, self.json_bytes, self.bits])(draft)
