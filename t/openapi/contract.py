#!/usr/bin/python3 -B
"""What is wrong with answers by an OpenAPI 3.1 document, or with the document.

    contract.py DOCUMENT answers            < answers, one JSON object a line
    contract.py DOCUMENT itself             references, examples, keywords
    contract.py DOCUMENT standard SCHEMAS   by the schemas of the standard

Each fault is a line, for people.
"""

import datetime
import json
import re
import sys
from urllib.parse import unquote, urlsplit

import jsonschema
from jsonschema.exceptions import best_match

METHODS = ('get', 'put', 'post', 'delete', 'options', 'patch', 'trace')

# What says how to read an answer is not what the document has to describe.
FRAMING = {'content-type', 'content-length', 'transfer-encoding'}

# What no operation refers to: the answer to other methods, and what gated
# locations say.
ALONE = {'MethodNotAllowed', 'GateProblem'}

# How the text of a parameter becomes a value, by its type.
READ = {'integer': int, 'array': lambda text: text.split(',')}

# Keywords of Schema Objects by where further ones stand in them.
LEAVES = {
    '$ref', 'type', 'const', 'enum', 'required', 'pattern', 'format',
    'minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems',
    'uniqueItems', 'dependentRequired', 'title', 'description', 'default',
    'examples',
}
ONE = {'items', 'if', 'then', 'else', 'not', 'additionalProperties',
       'unevaluatedProperties', 'propertyNames'}
LISTS = {'allOf', 'anyOf', 'oneOf'}
MAPS = {'properties'}


# Schemas

# A check returns whether the text is right, or raises ValueError.
FORMATS = {
    'date-time': lambda text:
        re.fullmatch('[^.Z+]+T[^.Z+-]+([.][0-9]+)?(Z|[+-][0-9:]+)', text)
        and datetime.datetime.fromisoformat(
            re.sub('[.][0-9]+', '', text.upper())),
    'uuid': lambda text:
        re.fullmatch('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', text),
    'uri': lambda text: urlsplit(text).scheme,
    'uri-reference': lambda text: urlsplit(text) and ' ' not in text,
}

formats = jsonschema.FormatChecker(formats=())

for format_name, check in FORMATS.items():
    formats.checks(format_name, raises=ValueError)(
        lambda value, check=check: not isinstance(value, str)
        or bool(check(value)))


def pattern(_, wanted, instance, __):
    """By ECMA-262 "$" is not before a line feed at the end."""
    if isinstance(instance, str) \
            and not re.search(re.sub(r'(?<!\\)\$(?=\)|\||\Z)', r'\\Z', wanted),
                              instance):
        yield jsonschema.ValidationError(
            f'{instance!r} does not match {wanted!r}')


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {'pattern': pattern})


def strictly(pairs):
    members = dict(pairs)

    if len(members) != len(pairs):
        raise ValueError('a name is there twice')

    return members


def parse(text):
    return json.loads(text, object_pairs_hook=strictly)


def shown(text, length=300):
    text = str(text)
    return text if len(text) <= length else text[:length] + ' ...'


class Document:
    def __init__(self, path):
        with open(path, encoding='utf-8') as file:
            self.root = parse(file.read())

        self.resolver = jsonschema.RefResolver.from_schema(self.root)
        self.validators = {}
        self.refusals = {}
        self.named = {name.lower() for answer in self.all_responses()
                      for name in answer.get('headers', {})}

    def deref(self, thing):
        while isinstance(thing, dict) and '$ref' in thing:
            thing = self.resolver.resolve(thing['$ref'])[1]

        return thing

    def faults(self, schema, value):
        """What is wrong with the value, one text for each fault."""
        validator = self.validators.get(id(schema))

        if validator is None:
            validator = Validator(schema, resolver=self.resolver,
                                  format_checker=formats)
            self.validators[id(schema)] = validator

        for error in validator.iter_errors(value):
            error = best_match([error])
            place = ''.join(f'/{part}' for part in error.absolute_path)
            yield f'{place or "the whole"}: {shown(error.message)}'

    # Operations

    def parameters(self, item, operation, where):
        both = item.get('parameters', []) + operation.get('parameters', [])

        return {parameter['name']: parameter
                for parameter in map(self.deref, both)
                if parameter['in'] == where}

    def find(self, path):
        """The path item for a path, by what may stand in its places."""
        sought = path.split('/')

        for template, item in self.root['paths'].items():
            parts = template.split('/')

            if len(parts) == len(sought) \
                    and all(self.fits(item, *pair)
                            for pair in zip(parts, sought)):
                return item

        return None

    def fits(self, item, part, text):
        if not part.startswith('{'):
            return part == text

        parameter = self.parameters(item, {}, 'path')[part.strip('{}')]

        return not any(self.faults(parameter['schema'], text))

    def all_responses(self):
        components = self.root['components'].get('responses', {})
        yield from components.values()

        for item in self.root['paths'].values():
            for method in METHODS:
                for response in item.get(method, {}).get('responses',
                                                         {}).values():
                    yield self.deref(response)

    def expected(self, answer):
        """The operation, and the responses that are described for it."""
        other = self.root['components']['responses']
        item = self.find(answer['path'])

        if item is None:
            return None, {'404': other['NotFound']}

        method = answer['method'].lower()
        operation = item.get('get' if method == 'head' else method)

        if operation is None:
            return None, {'405': other['MethodNotAllowed']}

        return (item, operation), operation['responses']

    # Answers

    def answer_faults(self, answer):
        if 'path' not in answer:
            yield from self.refusal_faults(answer)
            return

        found, responses = self.expected(answer)
        response = self.deref(responses.get(str(answer['status'])))

        if response is None:
            yield (f'the status is none of {", ".join(sorted(responses))}: '
                   + shown(answer['body']))
            return

        yield from self.header_faults(response, answer['headers'])
        yield from self.content_faults(response, answer)

        if found and answer['status'] < 300:
            yield from self.request_faults(*found, answer)

    def refusal_faults(self, answer):
        """By a gated location."""
        status = answer['status']
        schema = self.refusals.setdefault(status, {
            '$ref': '#/components/schemas/GateProblem',
            'properties': {'status': {'const': status}},
        })

        if answer['method'] != 'HEAD':
            yield from self.body_faults(schema, 'application/problem+json',
                                        answer['body'])

    def header_faults(self, response, sent):
        described = {name.lower(): self.deref(header)
                     for name, header in response.get('headers', {}).items()}

        for name, header in described.items():
            if name in sent:
                for fault in self.faults(header['schema'], sent[name]):
                    yield f'header {name}, {fault}'
            elif header.get('required'):
                yield f'header {name} is missing'

        for name in sorted(set(sent) & self.named - set(described)):
            yield f'header {name} is not described: {sent[name]!r}'

    def content_faults(self, response, answer):
        content = response.get('content')
        kind = answer['headers'].get('content-type', '')
        body = answer['body']

        if content is None:
            if body:
                yield f'a body is not described: {shown(body)}'
            return

        media = content.get(kind.split(';')[0].strip().lower())

        if media is None:
            yield (f'content type {kind!r} is none of '
                   + ', '.join(sorted(content)))
        elif answer['method'] == 'HEAD':
            if body:
                yield f'HEAD has a body: {shown(body)}'
        else:
            yield from self.body_faults(media['schema'], kind, body)

    def body_faults(self, schema, kind, body):
        value = body

        if re.match('application/([a-z]+[+])?json', kind):
            try:
                value = parse(body.encode('latin-1').decode('utf-8'))
            except ValueError as error:
                yield f'the body is no JSON, {error}: {shown(body)}'
                return

        for fault in self.faults(schema, value):
            yield f'body {fault}'

    def request_faults(self, item, operation, answer):
        """What was accepted must be what is described."""
        query = self.parameters(item, operation, 'query')

        for pair in filter(None, answer['query'].split('&')):
            name, _, value = pair.partition('=')

            if query and name not in query:
                yield f'it took the parameter {name}, which is not described'
            elif query:
                yield from self.parameter_faults(query[name]['schema'], name,
                                                 unquote(value))

        described = self.deref(operation.get('requestBody'))

        if described is None or answer.get('sent') is None:
            return

        if answer['sent'] != '':
            media = described['content']['application/json']

            for fault in self.body_faults(media['schema'], 'application/json',
                                          answer['sent']):
                yield f'it took a {fault}'
        elif described.get('required'):
            yield 'it took no body'

    def parameter_faults(self, schema, name, value):
        read = READ.get(self.deref(schema).get('type'), str)

        for fault in self.faults(schema, read(value)):
            yield f'it took the parameter {name}: {fault}'

    # The document itself

    def itself_faults(self):
        broken = list(self.reference_faults())

        if broken:
            yield from broken
            return

        yield from self.example_faults()

        for place, schema in self.schemas():
            yield from self.keyword_faults(place, schema)

    def reference_faults(self):
        used = set()

        for place, thing in walk(self.root, '#'):
            if not isinstance(thing, dict) or '$ref' not in thing:
                continue

            try:
                self.resolver.resolve(thing['$ref'])
            except jsonschema.RefResolutionError as error:
                yield f'{place}: {error}'
            used.add(thing['$ref'])

        for kind, things in self.root['components'].items():
            for name in things:
                if f'#/components/{kind}/{name}' not in used \
                        and kind != 'securitySchemes' and name not in ALONE:
                    yield f'nothing refers to the {name} of the {kind}'

    def example_faults(self):
        for place, thing in walk(self.root, '#'):
            if not isinstance(thing, dict):
                continue

            schema = thing.get('schema', thing)

            for name, example in examples_of(thing):
                for fault in self.faults(schema, example):
                    yield f'{place}, example {name}, {fault}'

    def schemas(self):
        for name, schema in self.root['components']['schemas'].items():
            yield f'#/components/schemas/{name}', schema

        for place, thing in walk(self.root, '#'):
            if place.endswith('/schema'):
                yield place, thing

    def keyword_faults(self, place, schema):
        if isinstance(schema, bool):
            return

        for keyword, value in schema.items():
            if keyword in ONE:
                yield from self.keyword_faults(f'{place}/{keyword}', value)
            elif keyword in LISTS:
                for part in value:
                    yield from self.keyword_faults(f'{place}/{keyword}', part)
            elif keyword in MAPS:
                for name, part in value.items():
                    yield from self.keyword_faults(f'{place}/{name}', part)
            elif keyword not in LEAVES:
                yield f'{place}: nobody knows the keyword {keyword}'
            elif keyword == 'format' and value not in FORMATS:
                yield f'{place}: nobody checks the format {value}'

    def standard_faults(self, directory):
        """By the schemas of the standard, as they are told apart by URL."""
        url = 'https://spec.openapis.org/oas/3.1/'
        store = {}

        for name in ('schema', 'schema-base', 'dialect/base', 'meta/base'):
            with open(f'{directory}/{name}.json', encoding='utf-8') as file:
                store[url + name] = json.load(file)

        base = store[url + 'schema-base']
        resolver = jsonschema.RefResolver(url + 'schema-base', base,
                                          store=store)
        validator = jsonschema.Draft202012Validator(base, resolver=resolver)

        for error in validator.iter_errors(self.root):
            error = best_match([error])
            place = ''.join(f'/{part}' for part in error.absolute_path)
            yield f'#{place}: {shown(error.message)}'


def walk(thing, place):
    """Everything but what stands in an example, with its place."""
    yield place, thing

    if isinstance(thing, dict):
        for name, part in thing.items():
            if name not in ('example', 'examples'):
                yield from walk(part, f'{place}/{name}')
    elif isinstance(thing, list):
        for number, part in enumerate(thing):
            yield from walk(part, f'{place}/{number}')


def examples_of(thing):
    """By name; those of a schema are a list, those beside one are named."""
    examples = thing.get('examples', [])

    if 'example' in thing:
        yield 'example', thing['example']

    if isinstance(examples, list):
        yield from enumerate(examples)
    elif 'schema' in thing:
        for name, example in examples.items():
            yield name, example['value']


def main(path, what, *arguments):
    document = Document(path)

    if what == 'answers':
        for line in sys.stdin:
            answer = json.loads(line)

            for fault in document.answer_faults(answer):
                print(f'{answer["name"]}: {fault}')
    elif what == 'itself':
        print(*document.itself_faults(), sep='\n', end='')
    elif what == 'standard':
        print(*document.standard_faults(*arguments), sep='\n', end='')
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
