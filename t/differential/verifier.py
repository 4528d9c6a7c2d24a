"""A second door for grants and identity tokens.

Signatures and headers are jwcrypto's affair, claims are checked here, as the
documentation promises it.  Nothing here is taken from the module.
"""

import base64
import json
import re
import sys

from jwcrypto import jwk, jws
from jwcrypto.common import JWException

from reading import LONGEST, canonical_path

# RFC 7515 section 4.1, RFC 7516, RFC 7797: what would change what the rest
# of a token means, or bring a key along
FOREIGN = {'crit', 'b64', 'zip', 'enc', 'cty', 'jku', 'x5u', 'x5c', 'jwk'}

TENANT = re.compile(r'[A-Za-z0-9._-]{1,64}')
NAME = re.compile(r'[a-z0-9][a-z0-9._-]{0,63}')
METHOD = re.compile(r'[A-Z_-]+')
UUID7 = re.compile(r'[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-'
                   r'[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}')

# RFC 7518 section 3.4
SIGNATURES = {'ES256': 64, 'ES384': 96, 'ES512': 132}

# What the module promises to read of a token at most.
TOKEN_MAX = 8192
HEADER_MAX = 1024
DEPTH_MAX = 16
TEXT_MAX = 255
METHOD_MAX = 32
TIME_MAX = 2 ** 53

sys.set_int_max_str_digits(0)


class Refused(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Refused(what)


# JSON (RFC 8259, RFC 7493)

def unique(pairs):
    names = [name for name, _ in pairs]
    need(len(set(names)) == len(names), 'duplicate member')

    return dict(pairs)


def no_constant(text):
    raise Refused('no JSON: ' + text)


def finite(text):
    number = float(text)
    need(abs(number) != float('inf'), 'number out of range')

    return number


def parse(data):
    try:
        value = json.loads(data.decode('utf-8'), object_pairs_hook=unique,
                           parse_constant=no_constant, parse_float=finite)
        # what has no UTF-8 is half of a surrogate pair
        for part, _ in inside(value):
            if isinstance(part, str):
                part.encode('utf-8')
    except (ValueError, RecursionError) as error:
        raise Refused('no JSON: %s' % error) from error

    need(isinstance(value, dict), 'no object')

    return value


def inside(value):
    """The value and all within it, names too, each with its depth."""

    rest = [(value, 1)]

    while rest:
        value, depth = rest.pop()
        yield value, depth

        if isinstance(value, dict):
            rest += [(name, depth) for name in value]
            rest += [(member, depth + 1) for member in value.values()]
        elif isinstance(value, list):
            rest += [(member, depth + 1) for member in value]


# Base64url (RFC 4648 section 5, RFC 7515 section 2)

def b64url(text):
    need(re.fullmatch(rb'[A-Za-z0-9_-]+', text), 'no base64url')
    need(len(text) % 4 != 1, 'no base64url')

    data = base64.urlsafe_b64decode(text + b'=' * (-len(text) % 4))
    need(base64.urlsafe_b64encode(data).rstrip(b'=') == text,
         'base64url not canonical')

    return data


# Claims

def is_time(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_text(value):
    return isinstance(value, str) and value != '' \
        and not any(c < ' ' or c == '\x7f' for c in value)


def pointer(claims, name):
    """RFC 6901, or the name of a claim."""

    if not name.startswith('/'):
        return claims.get(name)

    value = claims
    for token in name[1:].split('/'):
        token = token.replace('~1', '/').replace('~0', '~')
        if not isinstance(value, dict):
            return None
        value = value.get(token)

    return value


def check_texts(value, least, most, valid):
    return isinstance(value, list) and least <= len(value) <= most \
        and all(isinstance(text, str) and valid(text) for text in value)


def check_item(item):
    need(isinstance(item, dict), 'access item is no object')
    need(item.get('type') == 'lockbox', 'access item of another type')
    need(isinstance(item.get('service'), str)
         and NAME.fullmatch(item['service']), 'service')
    need(check_texts(item.get('methods'), 1, 16, lambda text:
                     METHOD.fullmatch(text)
                     and text not in ('CONNECT', 'TRACE')), 'methods')
    need(check_texts(item.get('paths'), 1, 16, canonical_path), 'paths')
    need(check_texts(item.get('labels', []), 0, 16, NAME.fullmatch), 'labels')


class Verifier:
    def __init__(self, world):
        self.now = world['now']
        self.grants = self.rule(world['grants'])
        self.issuers = {issuer['iss']: self.rule(issuer)
                        for issuer in world['issuers']}

    @staticmethod
    def rule(rule):
        for key in rule['keys']:
            with open(key['public'], 'rb') as pem:
                key['jwk'] = jwk.JWK.from_pem(pem.read())

        return rule

    def open(self, door, token):
        """What the token says, if it may be let in."""

        header, claims, rule = self.taken_apart(door, token)

        self.check_times(rule, claims)
        facts = self.check_grant(rule, claims) if door == 'grant' \
            else self.check_identity(rule, claims)
        self.check_signature(rule, header, token)

        return facts

    def taken_apart(self, door, token):
        segments = token.split(b'.')
        need(len(segments) == 3, 'not three segments')

        header, claims, _ = map(b64url, segments)
        header, claims = parse(header), parse(claims)

        need(not FOREIGN & set(header), 'header member not understood')
        typ = header.get('typ')

        if door == 'grant':
            need(typ == 'lockbox-grant+jwt', 'typ')
            rule = self.grants
            need(claims.get('iss') == rule['iss'], 'iss')
        else:
            need('typ' not in header or isinstance(typ, str)
                 and typ.lower() in ('jwt', 'at+jwt'), 'typ')
            need(isinstance(claims.get('iss'), str), 'iss')
            need(claims['iss'] in self.issuers, 'iss')
            rule = self.issuers[claims['iss']]

        return header, claims, rule

    def check_times(self, rule, claims):
        for name in ('exp', 'iat', 'nbf'):
            need(is_time(claims.get(name)) or
                 name == 'nbf' and name not in claims, name)

        need(claims['exp'] > self.now, 'expired')
        need(claims['exp'] - claims['iat'] <= rule['max_life'], 'life')
        need(claims['iat'] <= self.now + rule['leeway'], 'iat')
        need(claims.get('nbf', 0) <= self.now + rule['leeway'], 'nbf')

    def check_signature(self, rule, header, token):
        kid = header.get('kid')
        keys = [key for key in rule['keys'] if key['kid'] == kid]

        if 'kid' not in header and rule is not self.grants \
                and len(rule['keys']) == 1:
            keys = rule['keys']

        need(len(keys) == 1, 'kid')
        need(header.get('alg') == keys[0]['alg'], 'alg')

        verifier = jws.JWS()
        verifier.allowed_algs = [keys[0]['alg']]

        try:
            verifier.deserialize(token.decode('ascii'), keys[0]['jwk'])
        except (JWException, ValueError) as error:
            raise Refused('jwcrypto: %r' % error) from error

    @staticmethod
    def check_grant(rule, claims):
        need(claims.get('aud') == rule['aud'], 'aud')
        need(is_text(claims.get('sub')), 'sub')
        need(isinstance(claims.get('tenant'), str)
             and TENANT.fullmatch(claims['tenant']), 'tenant')
        need(isinstance(claims.get('jti'), str)
             and UUID7.fullmatch(claims['jti']), 'jti')
        need('engineer_iss' not in claims or is_text(claims['engineer_iss']),
             'engineer_iss')
        # nobody here holds a certificate (RFC 8705)
        need('cnf' not in claims, 'cnf')

        details = claims.get('authorization_details')
        need(isinstance(details, list) and 1 <= len(details) <= 32,
             'authorization_details')
        for item in details:
            check_item(item)

        facts = {name: claims.get(name)
                 for name in ('iss', 'aud', 'sub', 'exp', 'nbf', 'jti',
                              'tenant', 'engineer_iss')}
        facts['iat'] = facts['nbf']
        facts['authorization_details'] = [
            {'labels': [], **item} for item in details]

        return facts

    def check_identity(self, rule, claims):
        aud = claims.get('aud')
        if isinstance(aud, list):
            need(all(isinstance(text, str) for text in aud), 'aud')
        need(aud == rule['aud'] or isinstance(aud, list)
             and rule['aud'] in aud, 'aud')
        need(is_text(claims.get('sub')), 'sub')

        roles = self.roles(rule, claims)
        tenant = rule.get('tenant')

        if 'tenant_claim' in rule:
            tenant = pointer(claims, rule['tenant_claim'])
            if not isinstance(tenant, str) or not TENANT.fullmatch(tenant) \
                    or tenant in ('.', '..'):
                tenant = None
                roles -= {'customer', 'auditor'}

        return {'iss': claims['iss'], 'sub': claims['sub'],
                'exp': claims['exp'], 'tenant': tenant or '',
                'roles': [role for role in ('engineer', 'manager', 'customer',
                                            'auditor') if role in roles]}

    @staticmethod
    def roles(rule, claims):
        roles = set()

        for role in rule['roles']:
            value = pointer(claims, role['claim'])
            if role['value'] in (value if isinstance(value, list)
                                 else [value]):
                roles.add(role['role'])

        return roles

    def why_stricter(self, door, token, word):
        """Which of the module's promises it is that a token broke which is
        let in here; None if there is none."""

        header, claims, _ = self.taken_apart(door, token)

        if word == 'bad_signature':
            size = SIGNATURES.get(header['alg'])
            signature = b64url(token.split(b'.')[2])

            return 'ECDSA numbers of another length than RFC 7518 has' \
                if size and len(signature) != size else None

        if word != 'malformed_token':
            return None

        parts = list(inside(header)) + list(inside(claims))
        checks = [
            ('longer than it may be', len(token) > TOKEN_MAX
             or len(token.split(b'.')[0]) > HEADER_MAX),
            ('deeper than it may be', any(
                depth > DEPTH_MAX for part, depth in parts
                if isinstance(part, (dict, list)))),
            ('a NUL in a text', any(
                isinstance(part, str) and '\0' in part for part, _ in parts)),
            ('an integer of more than 64 bits', any(
                isinstance(part, int) and not -2 ** 63 <= part < 2 ** 63
                for part, _ in parts)),
            ('a time not written as a whole number from 0 to 2^53', any(
                not isinstance(claims.get(name, 0), int)
                or not 0 <= claims.get(name, 0) <= TIME_MAX
                for name in ('exp', 'iat', 'nbf'))),
            ('a name of more than 255 bytes', any(
                len(str(claims.get(name, '')).encode()) > TEXT_MAX
                for name in ('sub', 'engineer_iss'))),
        ]

        if door == 'grant':
            checks += self.grant_checks(claims)

        return next((why for why, broken in checks if broken), None)

    @staticmethod
    def grant_checks(claims):
        items = claims['authorization_details']
        lists = [item.get(name, []) for item in items
                 for name in ('methods', 'paths', 'labels')]
        methods = [text for item in items for text in item['methods']]
        paths = [text for item in items for text in item['paths']]

        return [
            ('a grant without nbf or engineer_iss',
             not {'nbf', 'engineer_iss'} <= set(claims)),
            ('a request id in capitals',
             claims['jti'] != claims['jti'].lower()),
            ('a tenant that is a dot segment',
             claims['tenant'] in ('.', '..')),
            ('an access item with a member that is not known', any(
                set(item) - {'type', 'service', 'methods', 'paths', 'labels'}
                for item in items)),
            ('an access item that lists something twice', any(
                len(set(texts)) < len(texts) for texts in lists)),
            ('an access item that lists HEAD', 'HEAD' in methods),
            ('a method of more than 32 bytes', any(
                len(text) > METHOD_MAX for text in methods)),
            ('a path of more than 1024 bytes', any(
                len(text.encode()) > LONGEST for text in paths)),
        ]
