#!/usr/bin/perl

# Why: the header of a token is written by whoever sends it.  The algorithm,
# the key and the type are what the configuration says, and nothing in the
# header may change that; each token here differs in one thing from one that
# passes.

use strict;
use warnings;

use FindBin;
use MIME::Base64 qw(encode_base64);

use Lockbox::Jose qw(jwk key thumbprint);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Doors;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

open_doors($t, accept => [ 'P-521' ]);

my $ec = Test::Lockbox::Conf::signing_key();
my $stranger = key('P-256', 'stranger');
my @TRUE = (JSON::PP::true, JSON::PP::false);

# One more case for each of the texts, which the alg says.
sub algs {
    my ($id, $word, $options, @algs) = @_;

    return map { [ "$id alg \"$_\"", $word, header => { alg => $_ },
                   @$options ] } @algs;
}

# A header with that member.
sub member {
    my ($id, $word, $name, $value, $what, @more) = @_;

    return [ "$id $name" . ($what // ''), $word, header => { $name => $value },
             @more ];
}

try_tokens([ 'the usual one', 'allow' ],
           [ 'the usual one by an RSA key', 'allow', type => 'RSA2048' ]);


# No algorithm

my @none = qw(none None NONE nOnE);

for my $type ('P-256', 'RSA2048') {
    try_tokens(
        algs('T01', 'malformed_token', [ alg => 'none', type => $type ], @none),
        [ 'T01 none and no kid', 'malformed_token', type => $type,
          header => { alg => 'none', kid => undef }, alg => 'none' ],
        algs('T02', 'bad_signature', [ type => $type ], @none),
        algs('T02', 'malformed_token', [ type => $type ], ''),
        [ 'T02 none, and a signature of one byte', 'bad_signature',
          type => $type, header => { alg => 'none' },
          token => sub { "$_[1].$_[2].AA" } ],
    );
}


# Public keys as secrets.  No key here can be used with an HMAC, and nginx -t
# takes none that could.

try_tokens(
    algs('T03', 'bad_signature', [ token => sub { "$_[1].$_[2].AAAA" } ],
         'HS256'),
    [ 'T03 HS256 with an empty secret', 'bad_signature', key => '',
      alg => 'HS256', header => { alg => 'HS256' } ],
    [ 'T05 HS256 with a short secret', 'bad_signature', key => 'secret',
      alg => 'HS256', header => { alg => 'HS256' } ],
);

# The spellings of a public key that somebody may take for a secret.
sub secrets {
    my ($key) = @_;

    my $pem = $key->{public_pem};
    my $der = Lockbox::Jose::openssl($pem, qw(pkey -pubin -outform DER));

    return (
        'PEM' => $pem, 'PEM without its last line feed' => $pem =~ s/\n\z//r,
        'PEM with CRLF' => $pem =~ s/\n/\r\n/gr, 'DER' => $der,
        'JWK' => Lockbox::Jose::json_encode(jwk($key)),
        'base64' => $pem =~ s/-----.*?-----|\n//gsr,
    );
}

for my $case (
    [ T06 => 'HS256', 'RSA2048', 'bad_signature' ],
    [ T06 => 'HS256', 'P-256', 'bad_signature' ],
    [ T07 => 'HS512', 'RSA2048', 'bad_signature' ],
    [ T08 => 'HS256', 'Ed25519', 'bad_signature' ],
    [ T08 => 'HS256', 'Ed25519', 'unknown_key' ],
) {
    my ($id, $alg, $type, $word) = @$case;
    my $own = $type eq 'RSA2048' ? $type : 'P-256';
    my $foreign = key('Ed25519', 'foreign');

    for my $door ('gate', 'admin') {
        my $key = $type eq 'Ed25519'
            ? $foreign : Test::Lockbox::Doors::usual($door, $own)->{key};
        my %kid = $word eq 'unknown_key' ? (kid => thumbprint($foreign)) : ();
        my %secrets = secrets($key);

        try_tokens(map {
            [ "$id $alg with the $type key in $_ as secret, $word", $word,
              at => $door, type => $own, alg => $alg, key => $secrets{$_},
              header => { alg => $alg, %kid } ]
        } sort keys %secrets);
    }
}


# Another algorithm than the key's

try_tokens(
    algs('T09', 'bad_signature', [], 'es256', 'Es256', 'ES256 ', ' ES256',
         'ES-256', 'SHA256withECDSA', "\x{ff25}S256", "ES256\n"),
    algs('T09', 'bad_signature', [ type => 'RSA2048' ], 'rs256', 'Rs256'),
    [ 'T09 hs256 with the public key as secret', 'bad_signature',
      key => $ec->{public_pem}, alg => 'HS256', header => { alg => 'hs256' } ],
    map({ [ "T09 alg is $_->[0]", 'malformed_token',
            spelt(header => alg => $_->[1]) ] }
        [ 'a number', 256 ], [ 'a list', '["ES256"]' ], [ 'null', 'null' ],
        [ 'an object', '{"alg":"ES256"}' ], [ 'true', 'true' ]),
    [ 'T09 no alg', 'malformed_token', header => { alg => undef } ],

    map({ [ "T10 $_ by a key for ES256", 'bad_signature', alg => $_,
            header => { alg => $_ } ] } 'ES384', 'ES512', 'ES256K'),
    map({ [ "T10 $_ by a key for RS256", 'bad_signature', alg => $_,
            type => 'RSA2048', header => { alg => $_ } ] } 'RS384', 'RS512'),
    map({ [ "T10 $_ with a secret", 'bad_signature', alg => $_,
            key => 'k' x 64, header => { alg => $_ } ] }
        'HS256', 'HS384', 'HS512'),
    algs('T10', 'bad_signature', [], qw(ES384 RS256 EdDSA)),
    algs('T10', 'bad_signature', [ type => 'RSA2048' ], qw(PS256 ES256 RS384)),

    [ 'T11 ES256 by a P-521 key', 'bad_signature', key => key('P-521') ],
    [ 'T11 ES256 by a P-521 key that is accepted', 'bad_signature',
      type => 'P-521', at => 'gate', alg => 'ES256',
      header => { alg => 'ES256' } ],
    [ 'T11 ES512 by it', 'allow', type => 'P-521', at => 'gate' ],
    [ 'T11 ES256 by a P-384 key', 'bad_signature', key => key('P-384') ],
    [ 'T12 ES256 by a secp256k1 key', 'bad_signature',
      key => key('secp256k1') ],
    [ 'T12 ES256K by a secp256k1 key', 'bad_signature', alg => 'ES256K',
      key => key('secp256k1'), header => { alg => 'ES256K' } ],
    [ "ES256 by somebody else's key", 'bad_signature', key => $stranger ],
    [ 'ES256 by the key', 'allow' ],
);


# Twice the same member

try_tokens(map { [ "T13 $_->[0]", 'malformed_token',
                   first(header => $_->[1]) ] } (
    [ 'alg twice', '"alg":"none"' ],
    [ 'alg twice, the same', '"alg":"ES256"' ],
    [ 'alg twice, by escape', '"\u0061lg":"none"' ],
    [ 'alg twice, by the other escape', '"al\u0067":"HS256"' ],
    [ 'kid twice', '"kid":"x"' ], [ 'typ twice', '"typ":"JWT"' ],
    [ 'an unknown member twice', '"x":1,"x":1' ],
));
try_tokens([ 'T13 alg once, by escape', 'allow',
             header_text => sub { $_[0] =~ s/"alg"/"\\u0061lg"/r } ],
           [ 'T13 members in other case', 'allow',
             first(header => '"ALG":"none"') ]);


# The key's name

sub kid_as {
    my ($change) = @_;

    return (header_text => sub {
        $_[0] =~ s/"kid":"\K([^"]+)/$change->($1)/er;
    });
}

try_tokens(
    (map { member(T14 => 'unknown_key', kid => $_, " $_") }
         '../../../../dev/null', '/dev/null', 'file:///dev/null', '.'),
    (map { member(T15 => 'unknown_key', kid => $_, " $_") }
         "a' OR '1'='1", "x' UNION SELECT 'secret'--", 'a;b', '*', '%00'),
    (map { member(T16 => 'unknown_key', kid => $_, ' with CRLF') }
         "a\r\nFLUSHALL\r\n", "\r\n", thumbprint($ec) . "\r\n"),
    member(T17 => 'unknown_key', kid => '1', ' "1"'),
    member(T17 => 'malformed_token', kid => 1, ' 1'),
    member(T17 => 'malformed_token', kid => '', ' ""'),
    member(T17 => 'malformed_token', kid => [ thumbprint($ec) ], ' in a list'),
    member(T17 => 'malformed_token', kid => {}, ' {}'),
    (map { member(T17 => 'malformed_token', kid => $_, " $_") } @TRUE),
    (map { [ "T17 kid $_->[0]", 'unknown_key', kid_as($_->[1]) ] }
         [ 'with a blank behind', sub { "$_[0] " } ],
         [ 'with a blank in front', sub { " $_[0]" } ],
         [ 'in small letters', sub { lc $_[0] } ],
         [ 'cut', sub { substr $_[0], 0, -1 } ],
         [ 'padded', sub { "$_[0]=" } ]),
    [ 'T17 kid and a NUL', 'malformed_token',
      kid_as(sub { "$_[0]\\u0000x" }) ],
    [ 'T17 kid null', 'malformed_token', spelt(header => kid => 'null') ],
    member(T17 => { gate => 'unknown_key', admin => 'allow' }, kid => undef,
           ' missing, of one key'),
    member(T17 => 'unknown_key', kid => thumbprint(key('P-384')),
           " of somebody else's key"),
    member(T18 => 'malformed_token', kid => 'k' x 9000, ' of 9000 bytes'),
    member(T18 => 'unknown_key', kid => 'k' x 500, ' of 500 bytes'),
    [ 'T18 the kid of the key', 'allow' ],
);


# What brings a key along, or changes what the rest means.  The signature is
# genuine, or the attacker's own.

my $certificate = Lockbox::Jose::openssl('', qw(req -x509 -new -subj /CN=evil),
    '-key', $stranger->{file}, qw(-outform DER));
my $x5c = [ encode_base64($certificate, '') ];

for my $mine ({}, { key => $stranger }) {
    my $who = %$mine ? ', by the attacker' : '';

    try_tokens(
        map { member($_->[0], 'malformed_token', $_->[1], $_->[2], $who,
                     %$mine) } (
            [ T19 => x5u => 'https://evil.example/cert.pem' ],
            [ T19 => x5u => '' ],
            [ T19 => jku => 'https://evil.example/jwks.json' ],
            [ T20 => x5c => $x5c ],
            [ T20 => x5c => [] ],
            [ T20 => jwk => jwk($stranger) ],
            [ T20 => jwk => { kty => 'oct', k => 'AA' } ],
        ));
}

try_tokens(
    [ 'T21 crit ["b64"], b64 false', 'malformed_token',
      header => { crit => [ 'b64' ], b64 => $TRUE[1] } ],
    [ 'T21 crit ["b64"], b64 false, and so it is', 'malformed_token',
      header => { crit => [ 'b64' ], b64 => $TRUE[1] },
      token => sub { join '.', $_[1], 'tenant=acme', $_[3] } ],
    (map { member(T21 => 'malformed_token', @$_) }
         [ b64 => $TRUE[1] ], [ b64 => $TRUE[0], ' true' ],
         [ crit => [ 'exp' ], ' of a claim that is known' ],
         [ crit => [ 'x' ] ], [ crit => 'alg', ' is a text' ]),
    member(T22 => 'malformed_token', crit => []),
    (map { member(T23 => 'malformed_token', cty => $_, " $_") }
         'JWT', 'jwt', 'text/plain', ''),
    member(T23 => 'malformed_token', zip => 'DEF'),
    member(T23 => 'malformed_token', enc => 'A256GCM'),
    [ 'T23 a token within a token', 'malformed_token',
      header => { cty => 'JWT' },
      claims_text => sub { '"' . shown('admin') . '"' } ],
    (map { member('', 'allow', $_, 'abc', ', which says nothing here') }
         'x5t', 'x5t#S256', 'X5C', 'url', 'nonce'),
);


# The type

try_tokens(
    (map { member(T24 => $_->[0], typ => $_->[1],
                  ' ' . ($_->[1] // 'missing'), at => 'gate') }
         [ wrong_type => 'at+jwt' ], [ wrong_type => 'JWT' ],
         [ wrong_type => 'jwt' ], [ wrong_type => undef ],
         [ wrong_type => 'lockbox-seal+jwt' ],
         [ wrong_type => 'LOCKBOX-GRANT+JWT' ],
         [ wrong_type => 'lockbox-grant' ],
         [ wrong_type => 'lockbox-grant+jwt ' ],
         [ wrong_type => "lockbox\x{2010}grant+jwt" ],
         [ wrong_type => 'application/lockbox-grant+jwt' ],
         [ allow => 'lockbox-grant+jwt' ]),
    (map { member(T24 => $_->[0], typ => $_->[1],
                  ' ' . ($_->[1] // 'missing'), at => 'admin') }
         [ wrong_type => 'lockbox-grant+jwt' ],
         [ wrong_type => 'lockbox-seal+jwt' ], [ wrong_type => 'logout+jwt' ],
         [ wrong_type => 'dpop+jwt' ], [ wrong_type => 'secevent+jwt' ],
         [ wrong_type => 'JWS' ], [ wrong_type => 'JWT ' ],
         [ wrong_type => 'application/at+jwt' ],
         [ allow => undef ], [ allow => 'JWT' ], [ allow => 'jwt' ],
         [ allow => 'at+jwt' ], [ allow => 'AT+JWT' ]),
    (map { member(T24 => 'malformed_token', typ => $_->[0], " $_->[1]") }
         [ '', '""' ], [ 1, 1 ], [ [ 'JWT' ], 'in a list' ],
         [ $TRUE[0], 'true' ]),
    [ 'T24 an identity token', 'wrong_type', at => 'gate',
      token => sub { shown('admin') } ],
    [ 'T24 a grant', 'wrong_type', at => 'admin',
      token => sub { shown('gate') } ],
);


# T04: libjwt's reader of unverified tokens, and whoever else might read one

my $root = "$FindBin::Bin/..";
my %uses;

for my $file (glob "$root/ngx_lockbox_module/*.c $root/admin/*.c") {
    my $source = Lockbox::Jose::slurp($file);

    $uses{$1}{ $file =~ s{.*/}{}r }++ while $source =~ /\b(jwt_\w+) *\(/g;
}

is_deeply([ grep { /^jwt_decode_/ } keys %uses ], [],
          'T04 jwt_decode_2 is not used');
is_deeply($uses{jwt_decode}, { 'ngx_lockbox_jwt.c' => 1 },
          'T04 one place has libjwt read a token');

all_arrivals_allowed();

done_testing;
