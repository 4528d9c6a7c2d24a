#!/usr/bin/perl

# Why: what a token says is taken at its word, so each word must be there, be
# of its type, and within its bounds; each token here differs in one claim from
# one that passes.

use strict;
use warnings;
use utf8;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Doors;
use Test::Lockbox::Refusal;

my $HOUR = 3600;
my $DAY = 24 * $HOUR;

my $t = Test::Lockbox->new;

# no leeway; the longest life is an hour for grants, a day for identities
my %parts = open_doors($t, take_turns => 1, directives => {
    lockbox_max_duration => '1h',
});

# Cases with each of those values for one claim: [ what it is, value ].
sub claim {
    my ($id, $said, $name, $values, @more) = @_;

    return map { [ "$id $name: $_->[0]", $said, claims => { $name => $_->[1] },
                   @more ] } @$values;
}

# As claim(), with values in JSON.
sub json {
    my ($id, $said, $name, $values, @more) = @_;

    return map { [ "$id $name: $_", $said, spelt(claims => $name => $_),
                   @more ] } @$values;
}

# Claims that count from the moment at which the token is made.
sub timed {
    my ($id, $said, $what, $times, @more) = @_;

    return [ "$id $what", $said, @more, claims => sub {
        my $now = time;

        return { map { ($_ => $now + $times->{$_}) } keys %$times };
    } ];
}

my @NO_TEXTS = qw(1 -1 0 1.5 true false null [] {} "");
my @NO_INTEGERS = qw("1" "" true false null [] {} 1.5 1.0 1e3);
my @MISSING = ([ 'missing', undef ]);

# what is not, or not only, what it looks like
my @CONTROLS = ([ 'with CRLF', "acme\r\nX: y" ], [ 'with LF behind', "acme\n" ],
                [ 'with NUL', "acme\0" ], [ 'with DEL', "acme\x7f" ],
                [ 'with ESC', "\e[2Jacme" ]);
my @LOOK_ALIKES = ([ 'in another script', 'асme' ],
                   [ 'in full width', 'ａｃｍｅ' ],
                   [ 'with U+200B', "ac\x{200b}me" ],
                   [ 'with U+202E', "\x{202e}acme" ],
                   [ 'with a combining mark', "acme\x{301}" ]);


# Times

try_tokens(
    claim(T41 => 'malformed_token', exp => \@MISSING),
    json(T42 => 'malformed_token', exp =>
         [ qw(4102444800.5 4102444800.0 1e10 1e400 0.5) ]),
    json(T43 => 'malformed_token', exp => \@NO_INTEGERS),
    json(T44 => 'malformed_token', exp =>
         [ qw(9223372036854775807 9223372036854775806 9223372036854775808
              18446744073709551615 -9223372036854775808 9007199254740993
              -1 -9007199254740993) ]),
    json(T45 => 'too_long_lived', exp =>
         [ qw(9007199254740992 10000000000 4102444800), time * 1000 ]),
    json(T48 => 'expired', exp => [ qw(0 -0 1) ]),

    json(T46 => 'malformed_token', nbf => [ '"4102444000"', @NO_INTEGERS ],
         claims => { nbf => 0 }),
    json(T46 => 'malformed_token', nbf =>
         [ qw(9223372036854775807 9007199254740993 -1) ],
         claims => { nbf => 0 }),
    json(T46 => 'not_yet_valid', nbf => [ qw(9007199254740992 4102444000) ],
         claims => { nbf => 0 }),
    json(T46 => 'allow', nbf => [ qw(0 1) ], claims => { nbf => 0 }),
    claim(T46 => { gate => 'malformed_token', admin => 'allow' },
          nbf => \@MISSING),

    claim(T47 => 'malformed_token', iat => \@MISSING),
    json(T47 => 'malformed_token', iat =>
         [ @NO_INTEGERS, qw(-1 9223372036854775807 -9223372036854775808
                            9007199254740993) ]),
    json(T45 => 'too_long_lived', iat => [ qw(0 1) ]),

    timed(T47 => 'not_yet_valid', 'iat to come', { iat => 250, exp => 500 }),
    timed(T47 => 'not_yet_valid', 'iat after exp', { iat => 500, exp => 250 }),
    timed(T46 => 'not_yet_valid', 'nbf to come', { nbf => 250, exp => 500 }),
    timed(T46 => 'not_yet_valid', 'nbf after exp', { nbf => 500, exp => 250 }),
    timed(T48 => 'expired', 'exp is now', { iat => -300, exp => 0 }),
    timed(T48 => 'expired', 'exp was', { iat => -300, exp => -1 }),
    timed(T48 => 'expired', 'exp before iat', { iat => 0, exp => -1 }),
    timed(T48 => 'expired', 'exp before nbf', { nbf => 0, iat => 0,
                                                exp => -1 }),
    timed(T48 => 'allow', 'exp to come', { iat => -300, exp => 250 }),

    timed(T45 => 'allow', 'an hour', { iat => 0, exp => $HOUR },
          at => 'gate'),
    timed(T45 => 'too_long_lived', 'an hour and a second',
          { iat => 0, exp => $HOUR + 1 }, at => 'gate'),
    timed(T45 => 'too_long_lived', 'an hour and a second, which began before',
          { iat => -1800, exp => 1801 }, at => 'gate'),
    timed(T45 => 'allow', 'a day', { iat => 0, exp => $DAY }, at => 'admin'),
    timed(T45 => 'too_long_lived', 'a day and a second',
          { iat => 0, exp => $DAY + 1 }, at => 'admin'),
    timed(T45 => 'too_long_lived', 'long, and over', { iat => -2 * $DAY,
                                                       exp => -1 }),
);


# Issuer and audience

for my $case ([ 'gate', 'https://lockbox.vendor.example', 'tenant-api',
                'wrong_issuer' ],
              [ 'admin', 'https://login.vendor.example', 'lockbox',
                'unknown_key' ])
{
    my ($door, $iss, $aud, $word) = @$case;
    my @at = (at => $door);

    try_tokens(
        claim(T49 => 'wrong_issuer', iss => [
            [ 'with a suffix', "$iss.evil.example" ],
            [ 'with a slash', "$iss/" ], [ 'with a path', "$iss/x" ],
            [ 'with a port', "$iss:443" ], [ 'with a blank', "$iss " ],
            [ 'with a user', $iss =~ s{//}{//a@}r ],
            [ 'in other case', $iss =~ s/vendor/Vendor/r ],
            [ 'in capitals', uc $iss ], [ 'cut', substr $iss, 0, -1 ],
            [ 'without TLS', $iss =~ s/https/http/r ],
            [ 'in another script', $iss =~ s/e/е/r ],
            [ 'with a dot behind', "$iss." ], [ 'with LF', "$iss\n" ],
            [ 'a blank', ' ' ], [ 'a pattern', 'https://*' ],
        ], @at),
        claim(T49 => $word, iss =>
              [ [ "of others'", 'https://login.customers.example' ] ], @at),
        claim(T49 => 'malformed_token', iss =>
              [ @MISSING, [ 'in a list', [ $iss ] ],
                [ 'with NUL', "$iss\0" ] ], @at),
        json(T49 => 'malformed_token', iss => \@NO_TEXTS, @at),
        claim(T49 => 'allow', iss => [ [ 'as it is', $iss ] ], @at),

        claim('' => 'wrong_audience', aud => [
            [ 'another', 'other' ], [ 'longer', "${aud}2" ],
            [ 'cut', substr $aud, 0, -1 ], [ 'in capitals', uc $aud ],
            [ 'with a blank', "$aud " ], [ 'two in a text', "$aud other" ],
            [ 'empty', '' ], [ 'a pattern', '*' ],
            [ 'of the other door', $door eq 'gate' ? 'lockbox'
                                                   : 'tenant-api' ],
        ], @at),
        claim('' => 'malformed_token', aud =>
              [ @MISSING, [ 'an object', { $aud => 1 } ],
                [ 'a list with a number', [ $aud, 1 ] ],
                [ 'a list with null', [ undef, $aud ] ],
                [ 'a list in a list', [ [ $aud ] ] ] ], @at),
        json('' => 'malformed_token', aud => [ qw(1 true null) ], @at),
        claim('' => 'allow', aud => [ [ 'as it is', $aud ] ], @at),
    );
}

try_tokens(
    claim('' => 'allow', aud =>
          [ [ 'alone in a list', [ 'lockbox' ] ],
            [ 'one of a list', [ 'other', 'lockbox' ] ] ], at => 'admin'),
    claim('' => 'malformed_token', aud =>
          [ [ 'alone in a list', [ 'tenant-api' ] ],
            [ 'one of a list', [ 'other', 'tenant-api' ] ],
            [ 'an empty list', [] ] ], at => 'gate'),
    claim('' => 'wrong_audience', aud =>
          [ [ 'others in a list', [ 'a', 'b' ] ], [ 'an empty list', [] ] ],
          at => 'admin'),
);


# Subject

try_tokens(
    claim(T50 => 'malformed_token', sub =>
          [ @MISSING, @CONTROLS, [ 'in a list', [ 'erin' ] ],
            [ '256 bytes', 'x' x 256 ], [ '256 bytes, 128 letters',
                                          "\x{e4}" x 128 ] ]),
    json(T50 => 'malformed_token', sub => \@NO_TEXTS),
    claim(T50 => 'allow', sub =>
          [ [ 'another', 'emil' ], [ '255 bytes', 'x' x 255 ],
            [ 'in letters of others', "\x{437}\x{43e}\x{44f}" ] ]),
);


# Whom it is for

my $id = $GRANT_ID;

try_tokens(map { [ @$_, at => 'gate' ] } (
    claim(T52 => 'malformed_token', jti => [
        @MISSING, [ 'with CRLF', "$id\r\n" ], [ '*', '*' ], [ '?', '?' x 36 ],
        [ 'with LF', "$id\n" ], [ 'with NUL', "$id\0" ],
        [ 'in capitals', uc $id =~ s/\d(?=-7)/a/r ],
        [ 'in braces', "{$id}" ], [ 'as URN', "urn:uuid:$id" ],
        [ 'without dashes', $id =~ tr/-//dr ], [ 'cut', substr $id, 0, -1 ],
        [ 'longer', "${id}0" ], [ 'with a colon', $id =~ s/-/:/r ],
        [ 'of version 4', $id =~ s/^.{14}\K7/4/r ],
        [ 'of another variant', $id =~ s/-7...-\K./c/r ],
        [ 'with a letter', $id =~ s/.\z/g/r ],
        [ 'in full width', $id =~ s/-/－/gr ],
        [ 'in a list', [ $id ] ],
    ]),
    json(T52 => 'malformed_token', jti => \@NO_TEXTS),
    claim(T52 => 'not_live', jti =>
          [ [ 'another', Test::Lockbox::Conf::uuid7() ] ]),
    claim(T52 => 'allow', jti => [ [ 'as it is', $id ] ]),

    claim('' => 'malformed_token', tenant => [
        @MISSING, @CONTROLS, @LOOK_ALIKES, [ '..', '..' ], [ '.', '.' ],
        [ 'a slash', 'acme/mail' ], [ 'a backslash', 'acme\\mail' ],
        [ 'an escape', '%61cme' ], [ 'a blank behind', 'acme ' ],
        [ 'a blank', ' ' ], [ 'braces', '{acme}' ], [ 'a colon', 'acme:x' ],
        [ 'a pattern', '*' ], [ 'a comma', 'acme,globex' ],
        [ '65 bytes', 'a' x 65 ], [ 'in a list', [ 'acme' ] ],
        [ 'in an object', { acme => 1 } ],
    ]),
    json('' => 'malformed_token', tenant => \@NO_TEXTS),
    claim('' => 'not_live', tenant =>
          [ [ 'another', 'globex' ], [ '64 bytes', 'a' x 64 ] ]),

    claim('' => 'malformed_token', engineer_iss =>
          [ @MISSING, @CONTROLS, [ 'in a list', [ 'x' ] ],
            [ '256 bytes', 'x' x 256 ] ]),
    json('' => 'malformed_token', engineer_iss => \@NO_TEXTS),
    claim('' => 'allow', engineer_iss => [ [ '255 bytes', 'x' x 255 ] ]),
));

# live for a tenant whose name only looks the same
for my $tenant (qw(Acme ACME acme. acme- acm acmee)) {
    redis('SET', live_key($id, $tenant), 'live', 'EX', $HOUR);
    try_tokens(claim('' => 'wrong_tenant', tenant => [ [ $tenant, $tenant ] ],
                     at => 'gate'));
}

try_tokens(claim('' => 'allow', tenant => [ [ 'as it is', 'acme' ] ],
                 at => 'gate'));


# A leeway is for clocks that are fast, never for the end

my @gate = (at => 'gate');

$parts{directives}{lockbox_leeway} = '60s';
change_conf(%parts);
try_tokens(
    timed(T46 => 'allow', 'nbf within the leeway', { nbf => 40 }, @gate),
    timed(T46 => 'not_yet_valid', 'nbf beyond it', { nbf => 200 }, @gate),
    timed(T47 => 'allow', 'iat within the leeway', { iat => 40 }, @gate),
    timed(T47 => 'not_yet_valid', 'iat beyond it', { iat => 200 }, @gate),
    timed(T48 => 'expired', 'exp is now, leeway', { exp => 0 }, @gate),
    timed(T48 => 'expired', 'exp was, leeway', { exp => -30 }, @gate),
);

all_arrivals_allowed();

done_testing;
