#!/usr/bin/perl

# Why: each of these tokens differs from a good grant in one thing.  It has to
# be refused for that thing, say no more than it may, and never reach the
# tenant API; the last one of each group is the good one.

use strict;
use warnings;

use Lockbox::Jose qw(b64url_decode b64url_encode jwk key sign thumbprint);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $VENDOR = 'https://login.vendor.example';

my $t = Test::Lockbox->new;
my $signing = Test::Lockbox::Conf::signing_key();
my $coming = key('RSA2048', 'coming');

$t->write_file('coming.pub.pem', $coming->{public_pem});
begin($t, server => 'large_client_header_buffers 4 32k;', directives => {
    lockbox_max_duration => '1h',
    lockbox_accept_key => '%%TESTDIR%%/coming.pub.pem',
});

my $now = time;

# What a refusal offers whoever has shown a genuine grant.
my @HELP = qw(asked granted request);

# Knocks with a grant and expects that word, or "allow".
sub judge {
    my ($word, $name, $grant, @more) = @_;

    my $response = ref $grant ? $grant : knock($grant);

    if ($word eq 'allow') {
        let_through($response, $name);
    } else {
        refused($response, $word, $name, @more);
    }

    recorded([ $word ], "$name: on record");
}

sub by_header {
    my ($word, $name, %header) = @_;

    judge($word, "header: $name", $t->grant(header => \%header));
}

sub by_claim {
    my ($word, $name, %claims) = @_;

    my @help = $word =~ /^(?:malformed_token|wrong_issuer)$/ ? () : @HELP;

    judge($word, "claim: $name", $t->grant(claims => \%claims), @help);
}

# A token whose header and payload are texts.
sub by_text {
    my ($word, $name, $header, $payload) = @_;

    my ($good_header, $good_payload) =
        map { b64url_decode($_) } (split /\./, $t->grant)[0, 1];

    judge($word, "text: $name",
          sign($header->($good_header), $payload->($good_payload), $signing,
               alg => 'ES256'));
}


# Type, algorithm, key

by_header(@$_) for (
    [ 'wrong_type', 'no typ', typ => undef ],
    [ 'wrong_type', 'JWT', typ => 'JWT' ],
    [ 'wrong_type', 'at+jwt', typ => 'at+jwt' ],
    [ 'wrong_type', 'a seal', typ => 'lockbox-seal+jwt' ],
    [ 'wrong_type', 'typ in capitals', typ => 'LOCKBOX-GRANT+JWT' ],
    [ 'malformed_token', 'typ is a number', typ => 1 ],
    [ 'unknown_key', 'no kid', kid => undef ],
    [ 'unknown_key', 'an unknown kid', kid => thumbprint(key('P-384')) ],
    [ 'unknown_key', 'kid is a path', kid => '../../../../dev/null' ],
    [ 'unknown_key', 'kid is SQL', kid => "a' OR '1'='1" ],
    [ 'unknown_key', 'kid has CRLF', kid => "a\r\nFLUSHALL\r\n" ],
    [ 'malformed_token', 'kid is a number', kid => 1 ],
    [ 'malformed_token', 'kid is long', kid => 'k' x 9000 ],
    [ 'malformed_token', 'crit', crit => [ 'b64' ], b64 => JSON::PP::false ],
    [ 'malformed_token', 'crit is empty', crit => [] ],
    [ 'malformed_token', 'b64', b64 => JSON::PP::true ],
    [ 'malformed_token', 'zip', zip => 'DEF' ],
    [ 'malformed_token', 'enc', enc => 'A256GCM' ],
    [ 'malformed_token', 'cty', cty => 'JWT' ],
    [ 'malformed_token', 'jku', jku => 'https://evil.example/jwks.json' ],
    [ 'malformed_token', 'x5u', x5u => 'https://evil.example/cert.pem' ],
    [ 'malformed_token', 'x5c', x5c => [ 'MIIB' ] ],
    [ 'malformed_token', 'jwk', jwk => jwk($signing) ],
    [ 'allow', 'a member that does not matter', x5t => 'abc' ],
    [ 'allow', 'nothing changed' ],
);

# The algorithm is the key's, whatever the token says, and whoever signed.
for my $case (
    [ 'malformed_token', 'none', undef, 'none' ],
    [ 'bad_signature', 'none, with a signature', $signing, 'none', 'ES256' ],
    [ 'bad_signature', 'nOnE, with a signature', $signing, 'nOnE', 'ES256' ],
    [ 'bad_signature', 'HS256, the public PEM as secret',
      $signing->{public_pem}, 'HS256' ],
    [ 'bad_signature', 'HS512, the public PEM as secret',
      $signing->{public_pem}, 'HS512' ],
    [ 'bad_signature', 'an RSA signature', $coming, 'RS256' ],
    [ 'bad_signature', 'ES384 by another curve', key('P-384'), 'ES384' ],
    [ 'bad_signature', 'ES256 by secp256k1', key('secp256k1'), 'ES256' ],
    [ 'bad_signature', 'ES256 by P-521', key('P-521'), 'ES256' ],
    [ 'bad_signature', "somebody else's key", key('P-256', 'other'), 'ES256' ],
    [ 'bad_signature', 'es256', $signing, 'es256', 'ES256' ],
    [ 'allow', 'ES256', $signing, 'ES256' ],
) {
    my ($word, $name, $key, $alg, $really) = @$case;

    judge($word, "algorithm: $name",
          $t->grant(key => $key, alg => $really // $alg,
                    header => { alg => $alg, kid => thumbprint($signing) }));
}

judge('bad_signature', 'RS384 by a key for RS256',
      $t->grant(key => $coming, header => { alg => 'RS384' }));
judge('allow', 'an accepted key that does not sign here',
      $t->grant(key => $coming));


# Claims

by_claim(@$_) for (
    [ 'wrong_issuer', 'iss with a slash',
      iss => 'https://lockbox.vendor.example/' ],
    [ 'wrong_issuer', 'iss in other case',
      iss => 'https://Lockbox.vendor.example' ],
    [ 'wrong_issuer', 'iss of the identity provider', iss => $VENDOR ],
    [ 'malformed_token', 'no iss', iss => undef ],
    [ 'malformed_token', 'iss is a list',
      iss => [ 'https://lockbox.vendor.example' ] ],
    [ 'wrong_audience', 'another aud', aud => 'tenant-api2' ],
    [ 'malformed_token', 'no aud', aud => undef ],
    [ 'malformed_token', 'aud is a list', aud => [ 'tenant-api' ] ],
    [ 'malformed_token', 'no sub', sub => undef ],
    [ 'malformed_token', 'sub is empty', sub => '' ],
    [ 'malformed_token', 'sub is a list', sub => [ 'erin' ] ],
    [ 'malformed_token', 'sub is a number', sub => 1 ],
    [ 'malformed_token', 'sub has CRLF', sub => "erin\r\n" ],
    [ 'malformed_token', 'no engineer_iss', engineer_iss => undef ],
    [ 'malformed_token', 'engineer_iss is empty', engineer_iss => '' ],
    [ 'malformed_token', 'no jti', jti => undef ],
    [ 'malformed_token', 'jti is *', jti => '*' ],
    [ 'malformed_token', 'jti has CRLF', jti => "a\r\nb" ],
    [ 'malformed_token', 'jti is a number', jti => 7 ],
    [ 'malformed_token', 'no tenant', tenant => undef ],
    [ 'malformed_token', 'tenant is ..', tenant => '..' ],
    [ 'malformed_token', 'tenant is a list', tenant => [ 'acme' ] ],
    [ 'allow', 'an unknown claim', colour => 'red' ],
);

sub paths {
    return authorization_details => [ {
        type => 'lockbox', service => 'mail', methods => [ 'GET' ],
        paths => [ @_ ],
    } ];
}

by_claim(@$_) for (
    [ 'malformed_token', 'no access', authorization_details => undef ],
    [ 'malformed_token', 'an empty access', authorization_details => [] ],
    [ 'malformed_token', 'no path', paths() ],
    [ 'malformed_token', 'an empty path', paths('') ],
    [ 'malformed_token', 'a relative path', paths('tenants/acme') ],
    [ 'malformed_token', 'a path with ..', paths('/tenants/acme/../') ],
    [ 'malformed_token', 'an escaped path', paths('/tenants/%61cme/') ],
    [ 'malformed_token', 'too many paths',
      paths(map { "/tenants/acme/mail/$_/" } 1 .. 400) ],
    [ 'wrong_path', 'another path', paths('/tenants/acme/files/') ],
    [ 'allow', 'everything below /', paths('/') ],
);


# Times; max_duration is an hour, and there is no leeway

by_claim(@$_) for (
    [ 'malformed_token', 'no exp', exp => undef ],
    [ 'malformed_token', 'exp is real', exp => $now + 300.5 ],
    [ 'malformed_token', 'exp is text', exp => '' . ($now + 300) ],
    [ 'malformed_token', 'exp is true', exp => JSON::PP::true ],
    [ 'malformed_token', 'exp is 2^63-1', exp => 9223372036854775807 ],
    [ 'too_long_lived', 'exp in milliseconds', exp => $now * 1000 ],
    [ 'too_long_lived', 'exp beyond the hour', exp => $now + 7200 ],
    [ 'expired', 'exp is now', iat => $now - 300, exp => $now ],
    [ 'expired', 'exp was', iat => $now - 300, exp => $now - 1 ],
    [ 'malformed_token', 'no nbf', nbf => undef ],
    [ 'malformed_token', 'nbf is text', nbf => "$now" ],
    [ 'not_yet_valid', 'nbf to come', nbf => $now + 250 ],
    [ 'malformed_token', 'no iat', iat => undef ],
    [ 'malformed_token', 'iat is negative', iat => -1 ],
    [ 'not_yet_valid', 'iat to come', iat => $now + 250 ],
    [ 'allow', 'an hour', iat => $now, exp => $now + 3600 ],
);


# JSON

my $same = sub { $_[0] };

by_text(@$_) for (
    [ 'malformed_token', 'alg twice',
      sub { $_[0] =~ s/\{/{"alg":"none",/r }, $same ],
    [ 'malformed_token', 'tenant twice, by escape', $same,
      sub { $_[0] =~ s/\{/{"ten\\u0061nt":"globex",/r } ],
    [ 'malformed_token', 'a list', $same, sub { "[$_[0]]" } ],
    [ 'malformed_token', 'NUL and another object', $same,
      sub { "$_[0]\0{\"tenant\":\"globex\"}" } ],
    [ 'malformed_token', 'two objects', $same, sub { $_[0] . '{}' } ],
    [ 'malformed_token', 'a byte order mark', $same,
      sub { "\xef\xbb\xbf$_[0]" } ],
    [ 'malformed_token', '2000 levels', $same,
      sub { $_[0] =~ s/\{/'{"x":' . '[' x 2000 . ']' x 2000 . ','/er } ],
    [ 'malformed_token', 'NaN', $same, sub { $_[0] =~ s/\{/{"x":NaN,/r } ],
    [ 'malformed_token', 'an overlong slash', $same,
      sub { $_[0] =~ s/\{/{"x":"\xc0\xaf",/r } ],
    [ 'malformed_token', 'a lone surrogate', $same,
      sub { $_[0] =~ s/\{/{"x":"\\ud800",/r } ],
    [ 'malformed_token', 'a NUL in a name', $same,
      sub { $_[0] =~ s/\{/{"x\\u0000":1,/r } ],
    [ 'allow', 'a pair of surrogates', $same,
      sub { $_[0] =~ s/\{/{"x":"\\ud83d\\ude00",/r } ],
    [ 'allow', 'blanks around', $same, sub { " $_[0]\n" } ],
);


# Form

my $good = $t->grant;
my ($header, $payload, $signature) = split /\./, $good;
my $dashed = $t->grant;
$dashed = $t->grant until $dashed =~ /\.[^.]*-[^.]*\z/;

for my $case (
    [ 'malformed_token', 'nothing', '' ],
    [ 'malformed_token', 'two dots', '..' ],
    [ 'malformed_token', 'two segments', "$header.$payload" ],
    [ 'malformed_token', 'no signature', "$header.$payload." ],
    [ 'malformed_token', 'no header', ".$payload.$signature" ],
    [ 'malformed_token', 'no payload', "$header..$signature" ],
    [ 'malformed_token', 'four segments', "$good.$signature" ],
    [ 'malformed_token', 'a dot in front', ".$good" ],
    [ 'malformed_token', 'a JWS in JSON',
      qq({"payload":"$payload","signature":"$signature"}) ],
    [ 'malformed_token', 'a second token', "$good,$good" ],
    [ 'malformed_token', 'a second scheme', "Bearer $good" ],
    [ 'malformed_token', 'two blanks', " $good" ],
    [ 'malformed_token', 'a TAB within', "$header.$payload.\t$signature" ],
    [ 'malformed_token', 'padding', "$header=.$payload.$signature" ],
    [ 'malformed_token', 'the other alphabet', $dashed =~ tr/-/+/r ],
    [ 'malformed_token', 'a character in the signature', "$good*" ],
    [ 'bad_signature', 'a longer signature', "${good}AAAA" ],
    [ 'bad_signature', 'a shorter signature', substr $good, 0, -2 ],
    [ 'bad_signature', 'r and s are 0',
      "$header.$payload." . b64url_encode("\0" x 64) ],
    [ 'bad_signature', 'all ones',
      "$header.$payload." . b64url_encode("\xff" x 64) ],
    [ 'bad_signature', 'the signature of another',
      "$header.$payload." . (split /\./, $t->grant)[2] ],
    [ 'malformed_token', 'too long', 'a' x 8193 ],
    [ 'allow', 'nothing changed', $good ],
) {
    my ($word, $name, $token) = @$case;

    judge($word, "form: $name",
          $t->http('GET', $MAIL, headers => { Authorization => "Bearer $token",
                                              Connection => 'close' }));
}


# The field

for my $case (
    [ 'no_token', 'no field' ],
    [ 'no_token', 'an empty field', '' ],
    [ 'no_token', 'Basic', 'Basic YTpi' ],
    [ 'no_token', 'another scheme', "Bearers $good" ],
    [ 'no_token', 'a TAB behind the scheme', "Bearer\t$good" ],
    [ 'no_token', 'no scheme', $good ],
    [ 'malformed_token', 'nothing behind the scheme', 'Bearer' ],
    [ 'allow', 'bearer in small letters', "bearer $good" ],
    [ 'allow', 'BEARER in capitals', "BEARER $good" ],
) {
    my ($word, $name, @values) = @$case;

    judge($word, "field: $name",
          $t->http('GET', $MAIL,
                   headers => [ map { [ Authorization => $_ ] } @values ]));
}


# Two fields nginx refuses itself, as far as is known in all versions; if not,
# the gate does.
for my $case (
    [ 'twice the same', "Bearer $good", "Bearer $good" ],
    [ 'Basic first', 'Basic YTpi', "Bearer $good" ],
    [ 'an empty one behind', "Bearer $good", '' ],
) {
    my ($name, @values) = @$case;
    my $response = $t->http('GET', $MAIL,
        headers => [ map { [ Authorization => $_ ] } @values ]);

    is($response->status, 400, "two fields: $name");
    recorded([ $response->body =~ /<html>/ ? () : 'two_tokens' ],
             "two fields: $name: on record if the location was known");
}


my @allowed = grep { ($_->{'event.reason'} // '') eq 'allow' }
              $t->json_lines('audit.log');

is(scalar $t->upstream_requests, @allowed,
   'the tenant API saw what was allowed, and nothing else');
is($t->upstream_connections, @allowed, 'and no other connection');

done_testing;
