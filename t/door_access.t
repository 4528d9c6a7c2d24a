#!/usr/bin/perl

# Why: what a grant opens is a list that the door has to understand to the last
# item; one that it understood by half would open something else.

use strict;
use warnings;
use utf8;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Doors;
use Test::Lockbox::Refusal;

my $PREFIX = '/tenants/acme/mail/';

my $t = Test::Lockbox->new;

open_doors($t, take_turns => 1);

my %item = (type => 'lockbox', service => 'mail', methods => [ 'GET' ],
            paths => [ $PREFIX ]);

# A case of a grant with that access.
sub access {
    my ($said, $name, $access) = @_;

    return [ $name, $said, at => 'gate',
             claims => { authorization_details => $access } ];
}

# With one item, in which members differ; undef leaves one out.
sub item {
    my ($said, $name, %members) = @_;

    my %changed = (%item, %members);

    delete $changed{$_} for grep { !defined $changed{$_} } keys %changed;

    return access($said, $name, [ \%changed ]);
}

# Cases with each of those values for one member: [ what it is, value ].
sub member {
    my ($said, $id, $name, @values) = @_;

    return map { item($said, "$id $name: $_->[0]", $name => $_->[1]) } @values;
}

# Cases of a list that has that beside what opens the door.
sub beside {
    my ($said, $id, $name, @values) = @_;

    return map { item($said, "$id $name, one of two: $_->[0]",
                      $name => [ @{ $item{$name} // [] }, $_->[1] ]) } @values;
}

my @NO_LISTS = ([ 'missing', undef ], [ 'a text', $PREFIX ], [ '0', 0 ],
                [ 'true', JSON::PP::true ], [ 'an object', { $PREFIX => 1 } ],
                [ 'empty', [] ]);
my @NO_TEXTS = ([ 'empty', '' ], [ 'a number', 1 ],
                [ 'true', JSON::PP::true ], [ 'a list', [ 'a' ] ],
                [ 'an object', {} ], [ 'null', undef ]);


# The list, and its items

try_tokens(
    (map { access('malformed_token', "T51 the access: $_->[0]", $_->[1]) }
         @NO_LISTS, [ 'an item alone', { %item } ],
         [ 'a list in a list', [ [ { %item } ] ] ],
         [ 'a list of texts', [ 'lockbox' ] ],
         [ 'null beside', [ { %item }, undef ] ],
         [ 'a number beside', [ { %item }, 1 ] ],
         [ 'an empty item beside', [ { %item }, {} ] ],
         [ '33 items', [ map { { %item } } 1 .. 33 ] ]),
    access('allow', 'T51 the access: 32 items',
           [ (map { { %item, service => "s$_" } } 1 .. 31), { %item } ]),

    item('malformed_token', 'T51 an unknown member', locations => [ '/' ]),
    item('malformed_token', 'T51 an unknown member, of RFC 9396',
         actions => [ 'read' ]),
    item('malformed_token', 'T51 a member in other case', Paths => [ '/' ]),
    member('malformed_token', T51 => 'type', [ 'missing', undef ],
           [ 'another', 'openid' ], [ 'in other case', 'Lockbox' ],
           [ 'longer', 'lockbox2' ], @NO_TEXTS),
    member('malformed_token', T51 => 'service', [ 'missing', undef ],
           [ 'in capitals', 'MAIL' ], [ 'a dot in front', '.mail' ],
           [ 'a pattern', '*' ], [ 'a slash', 'mail/x' ],
           [ 'a blank behind', 'mail ' ], [ 'in another script', 'mаil' ],
           [ '65 bytes', 'a' x 65 ], @NO_TEXTS),
    member('wrong_service', T51 => 'service', [ 'another', 'files' ],
           [ 'longer', 'mail2' ], [ '64 bytes', 'a' x 64 ]),
    item('allow', 'T51 an item as it is'),
);


# Paths

try_tokens(
    member('malformed_token', T51 => 'paths', @NO_LISTS,
           [ '400', [ map { "/$_" } 1 .. 400 ] ],
           [ '17', [ $PREFIX, map { "/$_" } 1 .. 16 ] ],
           [ 'twice the same', [ ($PREFIX) x 2 ] ]),
    (map { my $path = $_;
           member('malformed_token', T51 => 'paths',
                  [ "[\"$path\"]", [ $path ] ]) }
         '', '.', '..', '*', 'tenants/acme/mail/', './tenants/acme',
         '//tenants/acme/mail/', '/tenants//acme/mail/', '/tenants/acme/..',
         '/tenants/globex/../acme/mail/', '/tenants/./acme/mail/',
         '/tenants/acme/mail/.', '/tenants/%61cme/mail/', '/%', '/a%20b',
         '/tenants/acme%2fmail/', '/tenants\\acme', '/a;b', '/a?b', '/a#b',
         "/a\r\nb", "/a\0", "/a\tb", "/a\x7f", '/．．/', '/a／b', '/a；b',
         'https://tenants.example/', '/' . 'a' x 1024),
    beside('malformed_token', T51 => 'paths', [ '..', '/tenants/../x' ],
           [ 'relative', 'x' ], @NO_TEXTS),
    member('wrong_path', T51 => 'paths',
           [ 'another', [ '/tenants/acme/files/' ] ],
           [ 'in other case', [ '/Tenants/acme/mail/' ] ],
           [ 'no segment', [ '/tenants/acme/mai' ] ],
           [ 'of another tenant', [ '/tenants/globex/mail/' ] ],
           [ 'longer', [ "${PREFIX}inbox/" ] ],
           [ '16 others', [ map { "/$_" } 1 .. 16 ] ],
           [ '1024 bytes', [ '/' . 'a' x 1023 ] ],
           [ 'with a pattern in it', [ '/tenants/*/mail/' ] ]),
    member('allow', T51 => 'paths',
           # a grant for a whole service is one like others
           [ '["/"]', [ '/' ] ],
           [ 'no slash behind', [ '/tenants/acme/mail' ] ],
           [ 'the path itself', [ "${PREFIX}inbox" ] ],
           [ '16, and the last one is right', [ (map { "/$_" } 1 .. 15),
                                                $PREFIX ] ]),
    beside('allow', T51 => 'paths', [ 'with three dots', '/.../' ],
           [ 'with a blank', '/a b/' ], [ 'in letters of others', '/é/' ]),
);


# Methods

try_tokens(
    member('malformed_token', T51 => 'methods', @NO_LISTS,
           [ '17', [ 'GET', map { 'X' x $_ } 1 .. 16 ] ],
           [ 'twice the same', [ ('GET') x 2 ] ]),
    beside('malformed_token', T51 => 'methods',
           (map { [ $_, $_ ] } 'get', 'Get', 'HEAD', 'CONNECT', 'TRACE', '*',
                'GET ', ' GET', 'GET,POST', 'POST1', "POST\n", 'РOST',
                'P' x 33), @NO_TEXTS),
    member('wrong_method', T51 => 'methods', [ 'another', [ 'POST' ] ],
           [ 'longer', [ 'GETX' ] ], [ 'shorter', [ 'GE' ] ],
           [ '16 others', [ map { 'X' x $_ } 1 .. 16 ] ]),
    beside('allow', T51 => 'methods', map { [ $_, $_ ] } 'POST', 'M-SEARCH',
           'X_Y', 'P' x 32),
);


# Labels: they are never more than what a location carries

try_tokens(
    member('malformed_token', T51 => 'labels',
           (grep { $_->[0] !~ /^(?:missing|empty)$/ } @NO_LISTS),
           [ 'a list of a number', [ 1 ] ],
           [ '17', [ map { "l$_" } 1 .. 17 ] ],
           [ 'twice the same', [ ('secret') x 2 ] ]),
    beside('malformed_token', T51 => 'labels',
           (map { [ $_, $_ ] } 'Secret', '.secret', 'secret ', '*', 'a,b',
                'sеcret', 'a' x 65), @NO_TEXTS),
    member('allow', T51 => 'labels', [ 'missing', undef ], [ 'none', [] ],
           [ 'one', [ 'secret' ] ], [ '16', [ map { "l$_" } 1 .. 16 ] ]),
);

all_arrivals_allowed();

done_testing;
