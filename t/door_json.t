#!/usr/bin/perl

# Why: two readers of one JSON text must not see two things in it.  What RFC
# 8259 leaves open, and what other readers take besides, is refused; each text
# here differs in one place from one that passes.

use strict;
use warnings;

use Encode qw(decode encode);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Doors;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

open_doors($t, take_turns => 1);

# That change of the text, once of the header and once of the claims.
sub both {
    my ($name, $said, $change) = @_;

    return map { [ "$name, $_", $said, "${_}_text" => $change ] }
               'header', 'claims';
}

# That text as the value of a member which says nothing, likewise.
sub value {
    my ($name, $said, $value) = @_;

    return both($name, $said, sub { '{"x":' . $value . ',' . substr $_[0], 1 });
}

sub in_front {
    my ($bytes, $what) = @_;

    return both("T40 $what in front", 'malformed_token',
                sub { "$bytes$_[0]" });
}

sub nested {
    my ($depth, $open, $close) = @_;

    return $open x $depth . ($open =~ /:/ ? 1 : '') . $close x $depth;
}


# One object, whole

for my $text ('[]', '[{}]', '""', '"x"', '1', 'true', 'null', '', ' ', '{',
              '}', '{}')
{
    try_tokens(both("T36 $text", 'malformed_token', sub { $text }));
}

try_tokens(
    both('T36 the object in a list', 'malformed_token', sub { "[$_[0]]" }),
    both('T36 the object', 'allow', sub { $_[0] }),

    both('T37 NUL and another object', 'malformed_token',
         sub { "$_[0]\0" . '{"tenant":"globex","sub":"emil"}' }),
    both('T37 NUL', 'malformed_token', sub { "$_[0]\0" }),
    both('T37 NUL in front', 'malformed_token', sub { "\0$_[0]" }),
    both('T37 NUL within', 'malformed_token', sub { $_[0] =~ s/,/,\0/r }),
    both('T37 NUL behind a number', 'malformed_token',
         sub { '{"x":1' . "\0," . substr $_[0], 1 }),
    both('T37 NUL in a text', 'malformed_token',
         sub { qq({"x":"a\0b",) . substr $_[0], 1 }),
    both('T37 a number behind which nothing is', 'allow',
         sub { '{"x":1,' . substr $_[0], 1 }),

    both('T40 a trailing byte', 'malformed_token', sub { "$_[0]x" }),
    both('T40 a trailing brace', 'malformed_token', sub { "$_[0]}" }),
    both('T40 two objects', 'malformed_token', sub { $_[0] . '{}' }),
    both('T40 two objects and a comma', 'malformed_token', sub { "$_[0],{}" }),
    both('T40 two objects in lines', 'malformed_token', sub { "$_[0]\n{}" }),
    both('T40 cut', 'malformed_token', sub { substr $_[0], 0, -1 }),
    both('T40 blanks around', 'allow', sub { " \t\r\n$_[0]\r\n\t " }),
    map({ in_front(@$_) }
        [ "\x0b", 'a vertical TAB' ], [ "\x0c", 'a form feed' ],
        [ "\xc2\xa0", 'U+00A0' ], [ "\xe2\x80\xa8", 'U+2028' ],
        [ "\xef\xbb\xbf", 'a byte order mark' ]),
);


# Names

my @twice = (
    [ claims => 'tenant, by escape', '"ten\u0061nt":"globex"', 'gate' ],
    [ claims => 'tenant', '"tenant":"globex"', 'gate' ],
    [ claims => 'tenant, the same', '"tenant":"acme"', 'gate' ],
    [ claims => 'jti', '"jti":"x"', 'gate' ],
    [ claims => 'authorization_details', '"authorization_details":[]',
      'gate' ],
    [ claims => 'groups', '"groups":[]', 'admin' ],
    [ claims => 'groups, by escape', '"grou\u0070s":[]', 'admin' ],
    (map { [ claims => $_, qq("$_":1) ] } qw(iss sub aud exp iat)),
    [ claims => 'exp, by escape', '"e\u0078p":1' ],
    [ claims => 'sub, by capital escape', '"\u0073ub":"emil"' ],
    [ claims => 'an unknown claim', '"a":1,"a":1' ],
    [ claims => 'an unknown claim, by pairs of surrogates',
      '"\ud83d\ude00":1,"' . "\xf0\x9f\x98\x80" . '":1' ],
    [ claims => 'a member of a claim', '"x":{"a":1,"a":2}' ],
    [ claims => 'a member of a claim, by escape', '"x":[{"a":1,"\u0061":2}]' ],
    [ claims => 'the empty name', '"":1,"":2' ],
    [ header => 'kid, by escape', '"\u006bid":"x"' ],
    [ header => 'typ, by escape', '"t\u0079p":"JWT"' ],
    [ header => 'crit, by escape, once', '"cr\u0069t":[]' ],
);

try_tokens(map {
    my ($where, $what, $json, @at) = @$_;
    [ "T38 twice: $what", 'malformed_token', first($where => $json),
      map { (at => $_) } @at ];
} @twice);
try_tokens(
    [ 'T38 an item of the access has a member twice', 'malformed_token',
      at => 'gate', claims_text => sub {
          $_[0] =~ s/"service"/"servic\\u0065":"files","service"/r } ],
    [ 'T38 an item of the access, by escape', 'allow', at => 'gate',
      claims_text => sub { $_[0] =~ s/"service"/"servic\\u0065"/r } ],
    map({ [ "T38 once: $_", 'allow', first(claims => $_) ] }
        '"Exp":1', '"tenants":"globex"', '" exp":1', '"x":{"a":1,"b":2}',
        '"":1', '"EXP":1,"eXp":2'),
);


# Depth: sixteen levels, of which the object itself is one

try_tokens(
    (map { value("T39 $_ lists", 'malformed_token', nested($_, '[', ']')) }
         16, 17, 2000),
    (map { value("T39 $_ objects", 'malformed_token',
                 nested($_, '{"x":', '}')) } 16, 700),
    value('T39 15 lists', 'allow', nested(15, '[', ']')),
    value('T39 15 objects', 'allow', nested(15, '{"x":', '}')),
    (map { value("T40 $_ levels", 'malformed_token', nested($_, '[', ']')) }
         3000, 50000),
    (map { value("T40 $_ levels that are not closed", 'malformed_token',
                 '[' x $_) } 15, 3000),
);


# Values

try_tokens(
    (map { value("T40 number $_", 'malformed_token', $_) }
         qw(NaN nan Infinity -Infinity inf 1e400 -1e400 01 -01 +1 .5 5. 1e 1e+
            - -- 0x1 1_000 1E 9223372036854775808 -9223372036854775809)),
    (map { value("T40 number $_", 'allow', $_) }
         qw(0 -0 0.5 1e300 1E+2 1e-400 9223372036854775807
            -9223372036854775808)),
    (map { value("T40 word $_", 'malformed_token', $_) }
         qw(True TRUE None undefined tru truex nul)),
    (map { value("T40 word $_", 'allow', $_) } qw(true false null)),

    both('T40 a comment', 'malformed_token', sub { "/* */$_[0]" }),
    both('T40 a comment within', 'malformed_token',
         sub { $_[0] =~ s{,}{,/* */}r }),
    both('T40 a comment behind', 'malformed_token', sub { "$_[0]// x" }),
    both('T40 a comment with #', 'malformed_token', sub { "$_[0]\n# x" }),
    both('T40 a comma too many', 'malformed_token',
         sub { $_[0] =~ s/\}\z/,}/r }),
    both('T40 a comma in front', 'malformed_token',
         sub { $_[0] =~ s/\{/{,/r }),
    both('T40 two commas', 'malformed_token', sub { $_[0] =~ s/,/,,/r }),
    both('T40 no comma', 'malformed_token', sub { $_[0] =~ s/,/ /r }),
    both('T40 no colon', 'malformed_token', sub { $_[0] =~ s/:/ /r }),
    both('T40 = for a colon', 'malformed_token', sub { $_[0] =~ s/:/=/r }),
    both('T40 single quotes', 'malformed_token', sub { $_[0] =~ tr/"/'/r }),
    both('T40 a name without quotes', 'malformed_token',
         sub { '{x:1,' . substr $_[0], 1 }),
    both('T40 a number for a name', 'malformed_token',
         sub { '{1:1,' . substr $_[0], 1 }),
    value('T40 a comma too many in a list', 'malformed_token', '[1,]'),
    value('T40 no value', 'malformed_token', ''),
    value('T40 a list', 'allow', '[1,2]'),
);


# Texts

my %texts = (
    malformed_token => [
        # bytes that are no UTF-8
        [ 'a bare continuation', "\x80" ], [ '0xff', "\xff" ],
        [ '0xfe', "\xfe" ], [ 'Latin 1', "\xe4" ],
        [ 'a cut sequence', "\xe2\x82" ], [ 'a cut sequence, a', "\xe2\x82a" ],
        [ 'an overlong slash', "\xc0\xaf" ],
        [ 'an overlong slash of three', "\xe0\x80\xaf" ],
        [ 'an overlong slash of four', "\xf0\x80\x80\xaf" ],
        [ 'an overlong NUL', "\xc0\x80" ],
        [ 'a surrogate', "\xed\xa0\x80" ],
        [ 'a pair of surrogates', "\xed\xa0\xbd\xed\xb8\x80" ],
        [ 'beyond Unicode', "\xf4\x90\x80\x80" ],
        [ 'five bytes', "\xf8\x88\x80\x80\x80" ],
        # escapes
        [ 'a lone high surrogate', '\ud800' ],
        [ 'a lone low surrogate', '\udc00' ],
        [ 'surrogates the wrong way round', '\ude00\ud83d' ],
        [ 'two high surrogates', '\ud83d\ud83d' ],
        [ 'a high surrogate and a letter', '\ud83dx' ],
        [ 'a high surrogate and another escape', '\ud83d\u0061' ],
        [ 'NUL', '\u0000' ], [ 'a hexadecimal escape', '\x41' ],
        [ 'an octal escape', '\101' ], [ 'an escaped quote', "\\'" ],
        [ 'three digits', '\u006' ], [ 'no digits', '\u' ],
        [ 'a letter for a digit', '\u00g1' ], [ 'a sign', '\u+061' ],
        [ 'braces', '\u{61}' ], [ 'a capital U', '\U0061' ],
        [ 'a line that goes on', "\\\n" ], [ 'a backslash', '\\' ],
        # control characters as they are
        [ 'a TAB as it is', "\t" ], [ 'a line feed as it is', "\n" ],
        [ 'ESC as it is', "\x1b" ], [ 'an unescaped quote', '"' ],
    ],
    allow => [
        [ 'a euro', "\xe2\x82\xac" ], [ 'a smile', "\xf0\x9f\x98\x80" ],
        [ 'the last code point', "\xf4\x8f\xbf\xbf" ],
        [ 'a pair of surrogates by escape', '\ud83d\ude00' ],
        [ 'an escaped letter', '\u0061' ], [ 'capital digits', '\u20AC' ],
        [ 'all short escapes', '\"\\\\\/\b\f\n\r\t' ], [ 'DEL', "\x7f" ],
    ],
);

for my $said (sort keys %texts) {
    for my $case (@{ $texts{$said} }) {
        my ($name, $text) = @$case;

        try_tokens(
            value("T40 text: $name", $said, qq("$text")),
            both("T40 name: $name", $said,
                 sub { qq({"x$text":1,) . substr $_[0], 1 }));
    }
}


# Other encodings

for my $encoding (qw(UTF-16 UTF-16LE UTF-16BE UTF-32LE UTF-32BE)) {
    try_tokens(both("T40 $encoding", 'malformed_token',
                    sub { encode($encoding, decode('UTF-8', $_[0])) }));
}

all_arrivals_allowed();

done_testing;
