#!/usr/bin/perl

# Why: one weak, foreign or misplaced key makes every check behind it worth
# nothing; so it has to be refused, with the file's name, before it is used.

use strict;
use warnings;

use MIME::Base64 qw(decode_base64 encode_base64);

use Lockbox::Jose qw(b64url_encode jwk jwks json_encode key thumbprint);
use Test::Lockbox;
use Test::Lockbox::Nginxt;

my $t = Test::Lockbox->new;
my $dir = $t->testdir;

# the issuers here may have no customers
%PARTS = (locations => gate(),
          directives => { lockbox_manager_only => 'acme' });
accepted($t, 'the good configuration', {});

my $ec = key('P-256', 'vendor');
my $other = key('P-256', 'other');
my $weak = key('RSA1024');
my %half = (private => 'pem', public => 'public_pem');

$t->write_file('vendor.json', jwks($ec));
$t->write_file('other.json', jwks(key('P-256', 'another')));

# What the names of such files begin with: the id of a published case.
my %ROWS = ('empty.pem' => 'T03 ', 'empty.json' => 'T03 ',
            map { ("$_.json" => 'T05 ') } qw(oct long beside hs256));

sub row {
    my ($file) = @_;

    return $ROWS{$file} // 'W23 ';
}

# The key of a directive, in a file with that text.
sub keyed {
    my ($directive, $file) = @_;

    return { directives => { $directive => $t->testdir . "/$file" } };
}


# PEM files: the key that signs, and one that is accepted besides

$t->write_file('encrypted.pem', Lockbox::Jose::openssl($ec->{pem},
    qw(pkey -aes128 -passout pass:password)));

for my $case ([ lockbox_signing_key => 'private', 'public' ],
              [ lockbox_accept_key => 'public', 'private' ])
{
    my ($directive, $right, $wrong) = @$case;
    my $pem = $ec->{ $half{$right} };

    my %files = (
        'good.pem'      => [ $pem ],
        'blanks.pem'    => [ "$pem\n\n" ],
        'crlf.pem'      => [ $pem =~ s/\n/\r\n/gr ],
        'rsa.pem'       => [ key('RSA2048')->{ $half{$right} } ],
        'p384.pem'      => [ key('P-384')->{ $half{$right} } ],
        'p521.pem'      => [ key('P-521')->{ $half{$right} } ],
        'largest.pem'   => [ $pem . ' ' x (65536 - length $pem) ],
        'empty.pem'     => [ '', qr/is not a file of 1 to 65536 bytes/ ],
        'large.pem'     => [ $pem . ' ' x (65537 - length $pem),
                             qr/is not a file of 1 to 65536 bytes/ ],
        'garbage.pem'   => [ "secret\n", qr/it is no .*$right key in PEM/ ],
        'half.pem'      => [ substr($pem, 0, length($pem) / 2),
                             qr/it is no .*$right key in PEM/ ],
        'misplaced.pem' => [ $ec->{ $half{$wrong} },
                             qr/it is no .*$right key in PEM/ ],
        'two.pem'       => [ $pem . $other->{ $half{$right} },
                             qr/something stands beside the key/ ],
        'both.pem'      => [ $pem . $ec->{ $half{$wrong} },
                             qr/something stands beside the key/ ],
        'other.pem'     => [ $ec->{ $half{$wrong} } . $pem,
                             qr/something stands beside the key/ ],
        'weak.pem'      => [ $weak->{ $half{$right} },
                             qr/an RSA key has less than 2048/ ],
        'ed25519.pem'   => [ key('Ed25519')->{ $half{$right} },
                             qr/a key is neither RSA nor EC/ ],
        'secp256k1.pem' => [ key('secp256k1')->{ $half{$right} },
                             qr/the curve of a key is none of P-256/ ],
    );

    for my $file (sort keys %files) {
        my ($text, $reason) = @{ $files{$file} };

        # the issuer's keys are others, for ec is one of theirs
        my %parts = (%{ keyed($directive, $file) },
                     issuers => issuer(keys => 'other.json'));

        $t->write_file($file, $text);

        if ($reason) {
            rejected($t, row($file) . "$directive $file",
                     qr/\Q$dir\E\/$file".*$reason/, \%parts);
        } else {
            accepted($t, "$directive $file", \%parts);
        }
    }

    rejected($t, "$directive, no file", qr/open\(\) "\Q$dir\E\/none.pem" fail/,
             keyed($directive, 'none.pem'));
    rejected($t, "$directive, a directory",
             qr/"\Q$dir\E" is not a file of 1 to 65536 bytes/,
             { directives => { $directive => $dir } });
}

rejected($t, 'an encrypted key',
         qr/encrypted.pem" cannot be used: it is no unencrypted private key/,
         keyed('lockbox_signing_key', 'encrypted.pem'), {});


# Key sets of issuers

my $jwk = jwk($ec);
my $private = { %$jwk, d => 'AQAB' };
my $oct = { kty => 'oct', k => 'c2VjcmV0', kid => 'a', alg => 'HS256' };
my $json = jwks($ec);

my %sets = (
    'ec.json'        => [ $json ],
    'two.json'       => [ jwks($ec, $other) ],
    'mixed.json'     => [ jwks($ec, jwk($weak, use => 'enc')) ],
    'empty.json'     => [ '', qr/is not a file of 1 to 65536 bytes/ ],
    'garbage.json'   => [ '{"keys":', qr/it is not one JSON object/ ],
    'pem.json'       => [ $ec->{public_pem}, qr/it is not one JSON object/ ],
    'list.json'      => [ "[$json]", qr/it is not one JSON object/ ],
    'twice.json'     => [ $json =~ s/\{/{"keys":[],/r,
                          qr/it is not one JSON object without duplicate/ ],
    'members.json'   => [ $json =~ s/"kid"/"kid":"x","kid"/r,
                          qr/it is not one JSON object without duplicate/ ],
    'jwk.json'       => [ json_encode($jwk), qr/it has no "keys"/ ],
    'none.json'      => [ jwks(), qr/it has no key for signatures/ ],
    'enc.json'       => [ jwks(jwk($ec, use => 'enc')),
                          qr/it has no key for signatures/ ],
    'oct.json'       => [ jwks($oct), qr/a key is private or symmetric/ ],
    'long.json'      => [ jwks({ %$oct, k => 'c2VjcmV0' x 16 }),
                          qr/a key is private or symmetric/ ],
    'beside.json'    => [ jwks($ec, $oct), qr/a key is private or symmetric/ ],
    'private.json'   => [ jwks($private), qr/a key is private or symmetric/ ],
    'weak.json'      => [ jwks($weak), qr/an RSA key has less than 2048/ ],
    'okp.json'       => [ jwks(key('Ed25519')), qr/neither RSA nor EC/ ],
    'curve.json'     => [ jwks(key('secp256k1')), qr/missing or no such key/ ],
    'alg.json'       => [ jwks(jwk($ec, alg => 'RS256')),
                          qr/the "alg" of a key is not one of its kind/ ],
    'hs256.json'     => [ jwks(jwk($ec, alg => 'HS256')),
                          qr/the "alg" of a key is not one of its kind/ ],
    'kid.json'       => [ jwks($ec, jwk($other, kid => $jwk->{kid})),
                          qr/two keys have the same "kid"/ ],
    'nokid.json'     => [ jwks($ec, jwk($other, kid => undef)),
                          qr/there are several keys, and one has no "kid"/ ],
);

for my $file (sort keys %sets) {
    my ($text, $reason) = @{ $sets{$file} };
    my %parts = (issuers => issuer(keys => $file));

    $t->write_file($file, $text);

    if ($reason) {
        rejected($t, row($file) . "keys $file",
                 qr/\Q$dir\E\/$file".*$reason/, \%parts);
    } else {
        accepted($t, "keys $file", \%parts);
    }
}

rejected($t, 'keys, no file', qr/open\(\) "\Q$dir\E\/no.json" failed/,
         { issuers => issuer(keys => 'no.json') });


# A key belongs to one

my $second = issuer(iss => 'https://second.example', keys => 'other.json');
my $print = thumbprint($ec);

$t->write_file('renamed.json', jwks(jwk($ec, kid => 'renamed')));
rejected($t, 'one key under two issuers',
         qr{"$print", .* under "https://second.example" and "https://issuer},
         { issuers => issuer()
               . issuer(iss => 'https://second.example',
                        keys => 'renamed.json') },
         { issuers => issuer() . $second });

$t->write_file('again.json', jwks($ec, jwk($ec, kid => 'again')));
rejected($t, 'one key by two names', qr/one key, .*"$print", .* twice/,
         { issuers => issuer(keys => 'again.json') },
         { issuers => issuer(keys => 'two.json') });

$t->write_file('ours.pem', $ec->{pem});
$t->write_file('ours.pub.pem', $ec->{public_pem});
for my $case ([ lockbox_signing_key => 'ours.pem' ],
              [ lockbox_accept_key => 'ours.pub.pem' ])
{
    my %parts = %{ keyed(@$case) };

    rejected($t, "an issuer's key as $case->[0]",
             qr/one key, .*"$print", .* under "https:\/\/lockbox.vendor.exa/,
             { %parts, issuers => issuer() },
             { %parts, issuers => issuer(keys => 'other.json') });
}

$t->write_file('copy.pem', $ec->{public_pem});
rejected($t, 'an accepted key twice', qr/one key, .*"$print", .* twice/,
         { issuers => issuer(keys => 'other.json'),
           directives => { lockbox_accept_key =>
               [ "$dir/ours.pub.pem", "$dir/copy.pem" ] } },
         { issuers => issuer(keys => 'other.json'),
           directives => { lockbox_signing_key => "$dir/ours.pem",
                           lockbox_accept_key => "$dir/ours.pub.pem" } });


# What is well-formed may still not work, which only trying it shows

my $rsa = key('RSA2048', 'vendor');
my $even = $rsa->{n};
substr($even, -1) = chr(ord(substr $even, -1) & ~1);
my %numbers = (odd => $rsa->{n}, even => $even);

for my $name (keys %numbers) {
    $t->write_file("$name.json", jwks(
        jwk($ec, kid => 'first'),
        jwk($rsa, kid => "the-$name", n => b64url_encode($numbers{$name}))));
}

rejected($t, 'an RSA key that nobody can compute with',
         qr/\Q$dir\E\/even.json".*RS256 key "the-even" cannot verify any sig/,
         { issuers => issuer(keys => 'even.json') },
         { issuers => issuer(keys => 'odd.json') });

# The private half of one key beside the public half of another.
my $mixed = decode_base64($ec->{pem} =~ s/^-.*//mgr);
my ($from, $to) = map { "\x04$_->{x}$_->{y}" } $ec, $other;
die "no point in it\n" unless $mixed =~ s/\Q$from\E/$to/;

$t->write_file('mixed.pem', "-----BEGIN PRIVATE KEY-----\n"
                            . encode_base64($mixed)
                            . "-----END PRIVATE KEY-----\n");
rejected($t, 'a key of two halves that do not match',
         qr/\Q$dir\E\/mixed.pem".*ES256 key ".{43}" does not verify what it/,
         { %{ keyed('lockbox_signing_key', 'mixed.pem') },
           issuers => issuer(keys => 'other.json') },
         { %{ keyed('lockbox_signing_key', 'ours.pem') },
           issuers => issuer(keys => 'other.json') });


# And OpenSSL may be told not to do what it is needed for

sub openssl_conf {
    my ($name, $section, $line) = @_;

    return $t->write_file($name, <<"EOF_CONF");
openssl_conf = openssl_init

[openssl_init]
$section = the_section

[the_section]
$line
EOF_CONF
}

{
    local $ENV{OPENSSL_CONF} =
        openssl_conf('defaults.cnf', 'alg_section', 'default_properties =');

    accepted($t, 'OpenSSL as it comes', {});
}

{
    local $ENV{OPENSSL_CONF} =
        openssl_conf('fips.cnf', 'alg_section',
                     'default_properties = fips=yes');

    rejected($t, 'OpenSSL without algorithms, an issuer',
             qr/\Q$dir\E\/vendor.jwks.json".*OpenSSL, as it is conf.*has none/,
             { directives => { lockbox_signing_key => undef } });
    rejected($t, 'OpenSSL without algorithms, a key',
             qr/\Q$dir\E\/ours.pem".*OpenSSL, as it is configured, has none/,
             keyed('lockbox_signing_key', 'ours.pem'));
}

# ECDSA takes a random number for each signature, and none to verify.
{
    local $ENV{OPENSSL_CONF} =
        openssl_conf('random.cnf', 'random', 'random = none');

    rejected($t, 'OpenSSL without random numbers',
             qr/\Q$dir\E\/ours.pem".*ES256 key ".{43}" cannot sign/,
             { %{ keyed('lockbox_signing_key', 'ours.pem') },
               issuers => issuer(keys => 'other.json') });
    accepted($t, 'where only others sign',
             { directives => { lockbox_accept_key => "$dir/ours.pub.pem",
                               lockbox_signing_key => undef },
               issuers => issuer(keys => 'other.json'), locations => '' });
}

done_testing;
