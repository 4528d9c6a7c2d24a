#!/usr/bin/perl

# Why: whoever reads the audit log, by eye or by machine, must read what was
# done, and not what a client would have him read; nor anything that opens a
# door.

use strict;
use warnings;

use Encode qw(decode_utf8 encode_utf8);
use Digest::SHA qw(sha256_hex);
use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Admin;

my $UNSEEN = qr{[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]
                |\p{Default_Ignorable_Code_Point}}x;

my $t = Test::Lockbox->new;

begin($t, server => 'large_client_header_buffers 4 64k;');

my $grant = $t->grant(life => 3600);
my $read = 0;

# The lines since the last call, as bytes.
sub new_lines {
    settle();

    my $text = substr $t->read_file('audit.log'), $read;
    $read += length $text;

    return split /\n/, $text, -1;
}

# Knocks without a grant; the one line that this leaves, and its record.
sub recorded {
    my ($uri, $agent) = @_;

    $t->http('GET', $uri, headers => { 'User-Agent' => $agent // 'perl' });

    my ($line, $rest, @more) = new_lines();

    is_deeply([ $rest, @more ], [ '' ], 'one line');
    is($line =~ tr/\x00-\x1f\x7f//, 0, 'without a control character');
    unlike(decode_utf8($line), $UNSEEN, 'nor one that nobody sees');

    return JSON::PP->new->utf8->decode($line);
}

# Texts, and what is read of them: bytes that are no UTF-8 are replaced.
my %texts = (
    'quotes'          => [ 'a"b\\c' ],
    'a forged record' => [ 'x"}{"event.reason":"allow' ],
    'an escape'       => [ "\e[2J\e]0;owned\a" ],
    'a backspace'     => [ "ab\b\bcd" ],
    'a DEL'           => [ "a\x7fb" ],
    'a TAB'           => [ "a\tb" ],
    'a wrong byte'    => [ "a\xffb", "a\x{fffd}b" ],
    'half a letter'   => [ "a\xc3", "a\x{fffd}" ],
    'an overlong one' => [ "\xc0\xaf", "\x{fffd}" x 2 ],
    'right to left'   => [ encode_utf8("a\x{202e}gpj.exe") ],
    'isolates'        => [ encode_utf8("\x{2066}a\x{2069}") ],
    'no width'        => [ encode_utf8("a\x{200b}b\x{feff}") ],
    'a separator'     => [ encode_utf8("a\x{2028}b") ],
    'tags'            => [ encode_utf8("a\x{e0041}\x{e007f}") ],
    'other scripts'   => [ encode_utf8("\x{20ac}\x{1f600}\x{5d0}") ],
);

for my $name (sort keys %texts) {
    my ($bytes, $want) = @{ $texts{$name} };

    subtest "a User-Agent with $name" => sub {
        is(recorded($MAIL, $bytes)->{'user_agent.original'},
           $want // decode_utf8($bytes), 'is read as it was');
    };

    my $escaped = join '', map { sprintf '%%%02X', ord }
                           split //, $bytes;

    subtest "a path with $name" => sub {
        is(recorded("/tenants/acme/mail/$escaped")->{'url.path'},
           '/tenants/acme/mail/' . ($want // decode_utf8($bytes)),
           'is read as it was');
    };
}

subtest 'a path with a line feed' => sub {
    is(recorded('/tenants/acme/mail/%0A%7B%22a%22:1%7D')->{'url.path'},
       "/tenants/acme/mail/\n{\"a\":1}", 'is one line');
};

for my $length (1024, 1025, 60_000) {
    my $agent = substr 'long-' x $length, 0, $length;
    my $want = $length <= 1024 ? $agent : substr($agent, 0, 1024)
        . "... [$length bytes, sha256 " . sha256_hex($agent) . ']';

    subtest "a User-Agent of $length bytes" => sub {
        is(recorded($MAIL, $agent)->{'user_agent.original'}, $want,
           'whole, or cut with its hash');
    };
}


# What opens doors

my $identity = $t->identity('engineer');
my $id = approved();
my $collected = collect($id);

$t->http('GET', "$MAIL?access_token=queried-$grant",
         headers => { Authorization => "Bearer $grant",
                      Cookie => 'session=cookie-secret',
                      'X-Api-Key' => 'header-secret' });
knock($_) for $collected, $grant =~ s/\.[^.]*\z/.AAAA/r, 'malformed-secret';
ask('engineer', 'POST', $REQUESTS, json => filing(ticket => 'SR-1'));
settle();

my $log = $t->read_file('audit.log');

like($log, qr/"event.reason":"bad_signature"/, 'it is on record');

for my $secret (
    (map { ($_, (split /\./)[1, 2]) } $grant, $identity, $collected),
    qw(queried- cookie-secret header-secret malformed-secret AAAA),
) {
    is(index($log, $secret), -1,
       'no ' . (length $secret > 20 ? 'part of a token' : $secret));
}

done_testing;
