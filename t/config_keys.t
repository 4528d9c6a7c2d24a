#!/usr/bin/perl

# Why: one weak, foreign or misplaced key makes every check behind it worth
# nothing; so it has to be refused, with the file's name, before it is used.

use strict;
use warnings;

use Lockbox::Jose qw(jwk jwks json_encode key thumbprint);
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
            rejected($t, "$directive $file", qr/\Q$dir\E\/$file".*$reason/,
                     \%parts);
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
        rejected($t, "keys $file", qr/\Q$dir\E\/$file".*$reason/, \%parts);
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

done_testing;
