#!/usr/bin/python3 -B
"""Tokens: what to show to the door, and whether what it said was right.

    tokens.py make WORLD SEED COUNT     tokens, one a line
    tokens.py judge WORLD TOKENS WORDS  compares; exit status 1 if it must

WORLD is the JSON file that says who may sign what.  A line of TOKENS is:
number, the door it is for (grant or identity), kind, and the token in
hexadecimal.  WORDS has what the module said to each, in the same order.
"""

import json
import sys
from collections import Counter, defaultdict

from forge import Forge
from reading import shell
from verifier import Refused, Verifier


class Report:
    def __init__(self):
        self.count = 0
        self.words = defaultdict(Counter)
        self.stricter = Counter()
        self.differences = []

    def add(self, number, door, kind, token, word, facts, verifier):
        self.count += 1
        self.words[kind][word] += 1
        self.words['(%s)' % door][word] += 1
        self.words['(all)'][word] += 1

        try:
            theirs = verifier.open(door, token)
        except Refused as refused:
            theirs = None
            reason = refused

        if word == 'allow' and theirs is None:
            self.differ(number, door, kind, token,
                        'let in here, refused there: %s' % reason)
        elif word == 'allow' and facts != theirs:
            self.differ(number, door, kind, token, 'read here as %s\n'
                        '    and there as %s' % (json.dumps(facts),
                                                 json.dumps(theirs)))
        elif word != 'allow' and theirs is not None:
            why = verifier.why_stricter(door, token, word)
            if why:
                self.stricter[word, why] += 1
            else:
                self.differ(number, door, kind, token,
                            'refused here for no known reason: ' + word)

    def differ(self, number, door, kind, token, what):
        self.differences.append('token %s (%s, %s) %s\n    %s' % (
            number, door, kind, shell(token), what))

    def write(self):
        words = sorted(self.words['(all)'])
        print('%-20s' % 'tokens', *('%16s' % word for word in words))
        for kind, counts in sorted(self.words.items()):
            print('%-20s' % kind, *('%16d' % counts[word] for word in words))

        print('refused here, let in there, by design: %d' % (
            sum(self.stricter.values())))
        for (word, why), count in sorted(self.stricter.items()):
            print('    %6d  %s: %s' % (count, word, why))

        print('tokens: %d, let in: %d, differences: %d' % (
            self.count, self.words['(all)']['allow'], len(self.differences)))
        for difference in self.differences[:40]:
            print(difference)


def judge(world, tokens, words):
    verifier = Verifier(json.load(open(world, encoding='utf-8')))
    report = Report()

    with open(tokens, encoding='ascii') as lines, \
            open(words, encoding='utf-8') as answers:
        for line, answer in zip(lines, answers, strict=True):
            number, door, kind, token = line.rstrip('\n').split(' ')
            word, _, facts = answer.rstrip('\n').partition(' ')
            report.add(number, door, kind, bytes.fromhex(token), word,
                       json.loads(facts) if facts else None, verifier)

    report.write()

    return 1 if report.differences or not report.count else 0


def make(world, seed, count):
    forge = Forge(json.load(open(world, encoding='utf-8')), int(seed))

    for number in range(int(count)):
        door, kind, token = forge.make()
        print(number, door, kind, token.hex())


if __name__ == '__main__':
    sys.exit({'make': make, 'judge': judge}[sys.argv[1]](*sys.argv[2:]))
